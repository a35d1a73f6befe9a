/** What an agent says it does, step by step: shown as a transcript, and recorded. */
import type { AgentStep } from '../agents/agent.ts';
import { transcript } from '../agents/transcript.ts';
import { timestamp } from '../base/clock.ts';
import { redactedJson } from './redaction.ts';
import type { RunScope } from './scope.ts';

/** Steps of one run that are recorded one by one. */
const MAX_STEPS = 5_000;
/** Characters of a step that stand in its record. */
const EXCERPT = 240;

export class StepRecord {
  readonly #scope: RunScope;
  #steps = 0;
  #toolCalls = 0;
  #tokens = { input: 0, output: 0 };
  #closed = false;
  /** The agent's own verdict. */
  end: Extract<AgentStep, { kind: 'end' }> | null = null;

  constructor(scope: RunScope) {
    this.#scope = scope;
  }

  /** Redacted as a whole before any of it is cut: the stream was, but JSON can hide a secret that its text shows. */
  readonly take = (said: AgentStep): void => {
    const step = redactedJson(said, this.#scope.redactor);
    for (const line of transcript(step)) this.#scope.io.onOutput('stdout', Buffer.from(`${line}\n`));
    if (step.kind === 'end') this.end = step;
    else if (step.kind === 'usage') {
      this.#tokens = { input: this.#tokens.input + step.input, output: this.#tokens.output + step.output };
    } else {
      if (step.kind === 'tool_call') this.#toolCalls++;
      if (++this.#steps <= MAX_STEPS) this.#record(step);
    }
  };

  /**
   * Records how it ended, once. `unread`: lines that were no part of its stream. `at`: when it had said all, in milliseconds since the Unix
   * epoch; for one whose program ends then, nothing.
   */
  close(reason: string | null, unread: number, at?: number): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#scope.run.log.enqueue({
      type: 'agent.ended',
      action: null,
      resource: {
        ok: reason === null,
        reason: reason?.slice(0, 1_000) ?? null,
        steps: this.#steps,
        toolCalls: this.#toolCalls,
        unrecorded: Math.max(0, this.#steps - MAX_STEPS),
        unread,
        tokens: this.#tokens,
        ...(at === undefined ? {} : { at: timestamp(at) }),
      },
    });
  }

  #record(step: Exclude<AgentStep, { kind: 'end' | 'usage' }>): void {
    const { log } = this.#scope.run;
    switch (step.kind) {
      case 'tool_call': {
        const { id, tool, input } = step;
        const resource = { id, tool, input: input.slice(0, EXCERPT), characters: input.length };
        log.enqueue({ type: 'agent.tool.called', action: null, resource });
        break;
      }
      case 'tool_result': {
        const { id, ok, text } = step;
        const resource = { id, ok, text: text.slice(0, EXCERPT), characters: text.length };
        log.enqueue({ type: 'agent.tool.returned', action: null, resource });
        break;
      }
      default: {
        const { kind, text } = step;
        log.enqueue({
          type: 'agent.message',
          action: null,
          resource: { kind, text: text.slice(0, EXCERPT), characters: text.length },
        });
      }
    }
  }
}
