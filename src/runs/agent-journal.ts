import type { Journal, Outcome } from '../agents/builtin/loop.ts';
import type { Answer } from '../agents/builtin/model.ts';
import type { Hook, ToolCall } from '../agents/builtin/tool-belt.ts';
import type { ContentRef } from '../audit/event.ts';
import type { Json } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import { formatDuration } from '../base/duration.ts';
import { BUILTIN_TOOLS } from '../policy/index.ts';
import { decideCrossing } from './crossing.ts';
import { recorded } from './run-log.ts';
import type { RunScope } from './scope.ts';

/** Characters that stand in an event; the whole is beside the log. */
const EXCERPT = 240;
/** Characters of a call that a person is shown. */
const LONGEST_QUESTION = 4_000;
/** Bytes of one answer, call or result that are kept. */
const MOST = 8 * 1024 * 1024;

/** The built-in agent's transcript in the log, step by step: each durable before the next is taken. */
export class AgentJournal implements Journal {
  readonly #scope: RunScope;
  readonly #show: (line: string) => void;
  #tokens = { input: 0, output: 0 };

  constructor(scope: RunScope, show: (line: string) => void) {
    this.#scope = scope;
    this.#show = show;
  }

  /** The one hook before a tool: the policy decides on it, a person where it asks, and both are in the log before it is done. */
  readonly beforeToolCall: Hook = async (call) => {
    const { tool, id, step, brief, input } = call;
    const action = { action: 'tool.call', server: BUILTIN_TOOLS, tool } as const;
    const whole = JSON.stringify(input);
    // A person says yes to this very call, not to the tool.
    const question = { what: asked(tool, whole), subjectDigest: digest(JSON.stringify({ ...action, input })) };
    const decision = await decideCrossing(this.#scope, action, undefined, question);
    const content = await this.#keep(input as Json);
    const { log } = this.#scope.run;
    const cause = await log.append(
      {
        type: 'tool.requested',
        action: 'tool.call',
        resource: { server: BUILTIN_TOOLS, tool, id, step, input: brief.slice(0, EXCERPT), characters: whole.length },
        decision: recorded(decision),
        ...content,
      },
      'agent',
    );
    if (decision.effect === 'permit')
      return {
        permitted: true,
        done: ({ ok, text }, ms) => this.#ended(call, cause, ok ? 'done' : 'failed', text, ms),
      };
    await this.#ended(call, cause, 'denied', decision.reason, 0);
    return { permitted: false, reason: decision.reason };
  };

  async #ended(
    { tool, id }: ToolCall,
    cause: number,
    result: 'done' | 'failed' | 'denied',
    text: string,
    ms: number,
  ): Promise<void> {
    const content = text.length > EXCERPT ? await this.#keep(text) : {};
    await this.#scope.run.log.append(
      {
        type: 'tool.ended',
        action: 'tool.call',
        resource: { server: BUILTIN_TOOLS, tool, id },
        outcome: { result, text: text.slice(0, EXCERPT), characters: text.length, durationMs: Math.round(ms) },
        cause,
        ...content,
      },
      'agent',
    );
  }

  async answered(_step: number, answer: Answer): Promise<void> {
    const { text, calls, finish, used } = answer;
    this.#tokens = {
      input: this.#tokens.input + (used?.input ?? 0),
      output: this.#tokens.output + (used?.output ?? 0),
    };
    const content = await this.#keep({ text, calls: calls.map((call) => ({ ...call })), finish });
    await this.#message('message', text, content);
    for (const line of text.trim() === '' ? [] : text.trim().split('\n')) this.#show(line);
  }

  async told(_step: number, text: string): Promise<void> {
    await this.#message('trouble', text, {});
    this.#show(`! ${text}`);
  }

  unreadable(_step: number, { name }: { name: string }, why: string): Promise<void> {
    return this.#message('trouble', `a call of ${name.slice(0, 80)} that could not be read: ${why}`, {});
  }

  shown({ tool, brief, ok, note, ms }: Parameters<Journal['shown']>[0]): void {
    const took = ms < 100 ? '' : `(${formatDuration(ms)})`;
    const parts = [ok ? '✓' : '✗', tool, brief, note === '' ? '' : `— ${note}`, took];
    this.#show(parts.filter((part) => part !== '').join(' '));
  }

  /** What it said in the end is shown whole. */
  ended({ success, summary, steps, toolCalls }: Outcome): void {
    for (const line of summary.trim().split('\n')) this.#show(line);
    const reason = success ? null : summary.slice(0, 1_000);
    this.#scope.run.log.enqueue({
      type: 'agent.ended',
      action: null,
      resource: { ok: success, reason, steps, toolCalls, unrecorded: 0, unread: 0, tokens: this.#tokens },
    });
  }

  async #message(kind: 'message' | 'trouble', text: string, content: { content?: ContentRef }): Promise<void> {
    const resource = { kind, text: text.slice(0, EXCERPT), characters: text.length };
    await this.#scope.run.log.append({ type: 'agent.message', action: null, resource, ...content }, 'agent');
  }

  /** Beside the log, encrypted; nothing where the run or its policy keeps no content. */
  async #keep(value: Json): Promise<{ content?: ContentRef }> {
    const { request, loaded, system, run } = this.#scope;
    if (!request.record || loaded.policy.llm.content === 'none') return {};
    // Redacted as values: in JSON's text an escape could hide where a secret begins.
    const bytes = Buffer.from(JSON.stringify(run.log.redacted(value)));
    const options = { mediaType: 'application/json', maxBytes: Math.max(MOST, bytes.length) };
    return { content: await system.content.put(run.id, bytes, options) };
  }
}

/** What a person reads who is to approve of a call: all of it, or that there is more. */
function asked(tool: string, input: string): string {
  const cut = input.length > LONGEST_QUESTION ? ` [… ${input.length - LONGEST_QUESTION} more characters]` : '';
  return `tool.call of ${BUILTIN_TOOLS}/${tool} ${input.slice(0, LONGEST_QUESTION)}${cut}`;
}
