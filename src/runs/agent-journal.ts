import type { Mode } from '../agents/builtin/conversation.ts';
import type { Journal, Outcome } from '../agents/builtin/loop.ts';
import type { Answer } from '../agents/builtin/model.ts';
import { CHANGING } from '../agents/builtin/resumed.ts';
import type { Hook } from '../agents/builtin/tool-belt.ts';
import type { ContentRef } from '../audit/event.ts';
import { systemClock, timestamp } from '../base/clock.ts';
import { formatDuration } from '../base/duration.ts';
import { BUILTIN_TOOLS } from '../policy/index.ts';
import type { RunScope } from './scope.ts';
import { EXCERPT, ToolGate } from './tool-gate.ts';
import type { WorkspaceKeeper } from './workspace-keeper.ts';

/** The built-in agent's transcript in the log, step by step: each durable before the next is taken. */
export class AgentJournal implements Journal {
  readonly #scope: RunScope;
  readonly #gate: ToolGate;
  readonly #show: (line: string) => void;
  readonly #keeper: WorkspaceKeeper | null;
  #tokens = { input: 0, output: 0 };
  #steps = 0;
  #toolCalls = 0;
  #closed = false;

  /** `keeper`: keeps what tools leave in the workspace; null where nothing is kept. */
  constructor(scope: RunScope, show: (line: string) => void, keeper: WorkspaceKeeper | null) {
    this.#scope = scope;
    this.#gate = new ToolGate(scope);
    this.#show = show;
    this.#keeper = keeper;
    this.#steps = scope.resumption?.taken.resumed.steps ?? 0;
    this.#toolCalls = scope.resumption?.taken.resumed.toolCalls ?? 0;
  }

  /** The one hook before a tool. */
  readonly beforeToolCall: Hook = async (call) => {
    const passed = await this.#gate.judge(call);
    if (!passed.permitted || call.server !== BUILTIN_TOOLS || !CHANGING.has(call.tool)) return passed;
    const done: typeof passed.done = async (result, ms) => {
      // First what it left, then that it is done: a call with an outcome has all of it kept.
      await this.#keeper?.keep();
      await passed.done(result, ms);
    };
    return { permitted: true, done };
  };

  async answered(step: number, answer: Answer, mode: Mode): Promise<void> {
    const { text, calls, finish, used } = answer;
    this.#tokens = {
      input: this.#tokens.input + (used?.input ?? 0),
      output: this.#tokens.output + (used?.output ?? 0),
    };
    const content = await this.#gate.keep({
      text,
      calls: calls.map((call) => ({ ...call })),
      finish,
      words: mode === 'words',
    });
    await this.#message('message', text, content);
    this.#steps = step;
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
    this.#toolCalls++;
    const took = ms < 100 ? '' : `(${formatDuration(ms)})`;
    const parts = [ok ? '✓' : '✗', tool, brief, note === '' ? '' : `— ${note}`, took];
    this.#show(parts.filter((part) => part !== '').join(' '));
  }

  /** What it said in the end is shown whole. */
  ended({ success, summary }: Outcome): void {
    for (const line of summary.trim().split('\n')) this.#show(line);
    this.close(success ? null : summary, systemClock.now());
  }

  /** Once, however it ended: how far it came. `reason`: why not to its end; null when it did. `at`: milliseconds since the Unix epoch. */
  close(reason: string | null, at?: number): void {
    if (this.#closed) return;
    this.#closed = true;
    const [steps, toolCalls] = [this.#steps, this.#toolCalls];
    this.#scope.run.log.enqueue({
      type: 'agent.ended',
      action: null,
      resource: {
        ok: reason === null,
        reason: reason?.slice(0, 1_000) ?? null,
        steps,
        toolCalls,
        unrecorded: 0,
        unread: 0,
        tokens: this.#tokens,
        ...(at === undefined ? {} : { at: timestamp(at) }),
      },
    });
  }

  async #message(kind: 'message' | 'trouble', text: string, content: { content?: ContentRef }): Promise<void> {
    const resource = { kind, text: text.slice(0, EXCERPT), characters: text.length };
    await this.#scope.run.log.append({ type: 'agent.message', action: null, resource, ...content }, 'agent');
  }
}
