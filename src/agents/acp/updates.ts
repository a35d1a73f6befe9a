/** What an agent tells of its work in `session/update`, as steps. It is an attacker's word: what is not as expected is nothing. */
import * as z from 'zod';
import type { AgentStep } from '../agent.ts';
import { amount, plain, some, text } from '../profiles/shared.ts';
import { type ToldCall, toldPart } from './permission.ts';

/** Tool calls whose names are remembered; the oldest go first. */
const MOST_CALLS = 4_096;
/** Characters of a message that comes in pieces. */
const LONGEST_MESSAGE = 64 << 10;

const block = z.object({ type: text, text, path: text, content: some });
const update = z.object({
  sessionUpdate: z.string(),
  content: z
    .union([block, z.array(block).max(1_000)])
    .optional()
    .catch(undefined),
  toolCallId: text,
  title: text,
  kind: text,
  status: text,
  rawInput: some,
  locations: some,
  rawOutput: some,
  entries: z
    .array(z.object({ content: text, status: text }))
    .max(1_000)
    .catch([]),
  used: amount,
});
type Update = z.infer<typeof update>;
const notification = z.object({ update });

/** As Gemini CLI tells it with its last answer. */
const quota = z.object({
  quota: z.object({ token_count: z.object({ input_tokens: amount, output_tokens: amount }) }),
});

export interface KnownCall extends ToldCall {
  readonly kind: string;
}

const NOTHING: KnownCall = { kind: '', title: '', rawInput: '', locations: '', content: '' };

interface Call extends KnownCall {
  readonly ended: boolean;
}

const CHUNKS: Readonly<Record<string, 'message' | 'reasoning'>> = {
  agent_message_chunk: 'message',
  agent_thought_chunk: 'reasoning',
};

export class Updates {
  readonly #calls = new Map<string, Call>();
  #said: { readonly kind: 'message' | 'reasoning'; readonly text: string } | null = null;
  #tokens = { input: 0, output: 0 };

  read(params: unknown): readonly AgentStep[] {
    const parsed = notification.safeParse(params);
    if (!parsed.success) return [];
    const one = parsed.data.update;
    const kind = Object.hasOwn(CHUNKS, one.sessionUpdate) ? CHUNKS[one.sessionUpdate] : undefined;
    if (kind !== undefined) return this.#chunk(kind, contentText(one));
    const steps = this.#step(one, (params as { update: { content?: unknown } }).update.content);
    return steps.length === 0 ? [] : [...this.#flush(), ...steps];
  }

  /** What was still coming when the turn ended. */
  end(): readonly AgentStep[] {
    return [...this.#flush(), { kind: 'usage', ...this.#tokens }];
  }

  /** What comes with the answer to the prompt, beside the protocol. */
  used(meta: unknown): void {
    const parsed = quota.safeParse(meta);
    if (!parsed.success) return;
    const { input_tokens: input, output_tokens: output } = parsed.data.quota.token_count;
    this.#tokens = { input, output };
  }

  /** What it said of a tool call, before it asks for it. */
  known(id: string): KnownCall {
    return this.#calls.get(id) ?? NOTHING;
  }

  /** A message comes in pieces: it is told when something else follows. */
  #chunk(kind: 'message' | 'reasoning', piece: string): readonly AgentStep[] {
    const before = this.#said?.kind === kind ? this.#said.text : '';
    const steps = this.#said?.kind === kind ? [] : this.#flush();
    this.#said = { kind, text: before.length < LONGEST_MESSAGE ? before + piece : before };
    return steps;
  }

  #flush(): readonly AgentStep[] {
    const said = this.#said;
    this.#said = null;
    return said === null || said.text.trim() === '' ? [] : [said];
  }

  #step(one: Update, content: unknown): AgentStep[] {
    switch (one.sessionUpdate) {
      case 'tool_call':
      case 'tool_call_update':
        return this.#call(one, content);
      case 'plan':
        return [{ kind: 'plan', text: one.entries.map(planLine).join('\n') }];
      case 'usage_update':
        this.#tokens = { input: one.used, output: 0 }; // of its context, not of each request
        return [];
      default:
        return [];
    }
  }

  #call(one: Update, content: unknown): AgentStep[] {
    const id = one.toolCallId.slice(0, 128);
    const before = this.#calls.get(id);
    const title = one.title || (before?.title ?? '');
    const kind = one.kind || (before?.kind ?? '');
    const over = one.status === 'completed' || one.status === 'failed';
    this.#remember(id, {
      title: title.slice(0, LONGEST_MESSAGE),
      kind: kind.slice(0, 64),
      rawInput: told(one.rawInput) || (before?.rawInput ?? ''),
      locations: told(one.locations) || (before?.locations ?? ''),
      content: told(content) || (before?.content ?? ''),
      ended: over || before?.ended === true,
    });
    const input = title || asText(one.rawInput);
    return [
      ...(before === undefined ? [{ kind: 'tool_call', id, tool: kind || 'other', input } as const] : []),
      ...(over && before?.ended !== true
        ? [
            {
              kind: 'tool_result',
              id,
              ok: one.status === 'completed',
              text: contentText(one) || asText(one.rawOutput),
            } as const,
          ]
        : []),
    ];
  }

  #remember(id: string, call: Call): void {
    this.#calls.set(id, call);
    const [oldest] = this.#calls.keys();
    if (this.#calls.size > MOST_CALLS && oldest !== undefined) this.#calls.delete(oldest);
  }
}

function planLine({ content, status }: { content: string; status: string }): string {
  return `[${status === 'completed' ? 'x' : status === 'in_progress' ? '>' : ' '}] ${content}`;
}

function contentText({ content = [] }: Update): string {
  const blocks = Array.isArray(content) ? content : [content];
  return blocks
    .map((one) =>
      one.type === 'diff' ? `changes ${one.path}` : one.type === 'content' ? innerText(one.content) : one.text,
    )
    .filter((line) => line !== '')
    .join('\n');
}

function innerText(content: unknown): string {
  const parsed = block.safeParse(content);
  return parsed.success ? parsed.data.text : '';
}

function told(value: unknown): string {
  try {
    return toldPart(value);
  } catch {
    return '';
  }
}

/** JSON that is nested without end has no text. */
function asText(value: unknown): string {
  try {
    return plain(value);
  } catch {
    return '';
  }
}
