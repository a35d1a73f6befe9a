import type { Journal, Outcome } from '../agents/builtin/loop.ts';
import type { Answer } from '../agents/builtin/model.ts';
import type { Hook } from '../agents/builtin/tool-belt.ts';
import type { ContentRef } from '../audit/event.ts';
import { formatDuration } from '../base/duration.ts';
import { BUILTIN_TOOLS } from '../policy/index.ts';
import type { RunScope } from './scope.ts';
import { EXCERPT, ToolGate } from './tool-gate.ts';

/** The built-in agent's transcript in the log, step by step: each durable before the next is taken. */
export class AgentJournal implements Journal {
  readonly #scope: RunScope;
  readonly #gate: ToolGate;
  readonly #show: (line: string) => void;
  #tokens = { input: 0, output: 0 };

  constructor(scope: RunScope, show: (line: string) => void) {
    this.#scope = scope;
    this.#gate = new ToolGate(scope);
    this.#show = show;
  }

  /** The one hook before a tool. */
  readonly beforeToolCall: Hook = (call) => this.#gate.judge({ ...call, server: BUILTIN_TOOLS });

  async answered(_step: number, answer: Answer): Promise<void> {
    const { text, calls, finish, used } = answer;
    this.#tokens = {
      input: this.#tokens.input + (used?.input ?? 0),
      output: this.#tokens.output + (used?.output ?? 0),
    };
    const content = await this.#gate.keep({ text, calls: calls.map((call) => ({ ...call })), finish });
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
}
