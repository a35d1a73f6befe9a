import type * as z from 'zod';
import type { Clock } from '../../base/clock.ts';
import { clip } from '../../base/term.ts';
import { BUILTIN_TOOLS } from '../../policy/index.ts';
import type { AskedCall } from './conversation.ts';
import { tools } from './tools/index.ts';
import { failure, type Tool, type ToolResult, type Workbench } from './tools/tool.ts';

/** A call that could be read, before it is made. */
export interface ToolCall {
  readonly step: number;
  readonly id: string;
  /** Whose tool it is, and what it calls it. */
  readonly server: string;
  readonly tool: string;
  readonly input: Readonly<Record<string, unknown>>;
  /** In a few words. */
  readonly brief: string;
}

/** Decides on a call and records that. `done` records what came of it, and is called exactly once for a call that was permitted. */
export type Hook = (
  call: ToolCall,
) => Promise<
  | { readonly permitted: true; done(result: ToolResult, ms: number): Promise<void> }
  | { readonly permitted: false; readonly reason: string }
>;

interface Surroundings {
  readonly clock: Clock;
  readonly beforeToolCall: Hook;
  readonly journal: {
    unreadable(step: number, call: AskedCall, why: string): Promise<void>;
    shown(entry: { tool: string; brief: string; ok: boolean; note: string; ms: number }): void;
  };
}

/** What stands between a server and its tool in a name that a model is told. */
export const OTHERS = '__';

const BRIEF = 200;
/** Of nesting in arguments: what records and shows them must not run out of stack. */
const MOST_LEVELS = 100;

/** The one way to a tool: read, decided upon, recorded, done, recorded. */
export class ToolBelt {
  readonly #bench: Workbench;
  readonly #around: Surroundings;
  readonly #tools: readonly Tool[];
  calls = 0;

  constructor(bench: Workbench, around: Surroundings, tools: readonly Tool[]) {
    this.#tools = tools;
    this.#bench = bench;
    this.#around = around;
  }

  async use(step: number, call: AskedCall): Promise<ToolResult> {
    this.calls++;
    const { journal, clock, beforeToolCall } = this.#around;
    const read = readCall(this.#tools, call);
    if ('why' in read) {
      await journal.unreadable(step, call, read.why);
      journal.shown({ tool: call.name, brief: '', ok: false, note: read.why, ms: 0 });
      return failure(read.why);
    }
    const { tool, input } = read;
    const whole = oneLine(tool.brief(input as never));
    const brief = clip(whole, BRIEF);
    const permission = await beforeToolCall({ step, id: call.id, ...ownerOf(tool), input, brief: whole });
    if (!permission.permitted) {
      journal.shown({ tool: tool.name, brief, ok: false, note: `not permitted: ${permission.reason}`, ms: 0 });
      return failure(notPermitted(permission.reason));
    }
    const start = clock.monotonic();
    let result = failure('interrupted');
    try {
      result = await tool.run(input as never, this.#bench);
      return result;
    } finally {
      const ms = clock.monotonic() - start;
      await permission.done(result, ms);
      journal.shown({ tool: tool.name, brief, ok: result.ok, note: result.ok ? '' : lastLine(result.text), ms });
    }
  }
}

/** Why a call is none; null for one that can be made, and for one of another's tool, which that other reads. */
export function whyUnreadable(call: AskedCall): string | null {
  if (call.name.includes(OTHERS)) return null;
  const read = readCall(tools, call);
  return 'why' in read ? read.why : null;
}

/** As the model reads it. */
export const notPermitted = (reason: string) => `This call is not permitted: ${reason}`;

function ownerOf({ name, from }: Tool): { readonly server: string; readonly tool: string } {
  return from === undefined ? { server: BUILTIN_TOOLS, tool: name } : { server: from.server, tool: from.tool };
}

function readCall(
  tools: readonly Tool[],
  call: AskedCall,
): { readonly tool: Tool; readonly input: Record<string, unknown> } | { readonly why: string } {
  const tool = tools.find(({ name }) => name === call.name);
  if (tool === undefined)
    return {
      why: `there is no tool ${clip(oneLine(call.name), 80)}: there are ${tools.map(({ name }) => name).join(', ')}`,
    };
  let value: unknown;
  try {
    value = JSON.parse(call.arguments.trim() === '' ? '{}' : call.arguments);
  } catch (error) {
    return { why: `the arguments of ${tool.name} are no JSON: ${(error as Error).message.slice(0, 200)}` };
  }
  if (deeper(value, MOST_LEVELS))
    return { why: `the arguments of ${tool.name} are nested deeper than ${MOST_LEVELS} levels` };
  const parsed = tool.schema.safeParse(value);
  if (parsed.success) return { tool, input: parsed.data };
  return { why: `the arguments of ${tool.name} are wrong: ${problems(parsed.error)}` };
}

function deeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((item) => deeper(item, levels - 1));
}

function problems(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`))
    .join('; ');
}

function oneLine(text: string): string {
  return text
    .slice(0, BRIEF * 8)
    .replace(/\s+/g, ' ')
    .trim();
}

function lastLine(text: string): string {
  return clip(oneLine(text.trimEnd().split('\n').at(-1) ?? ''), BRIEF);
}
