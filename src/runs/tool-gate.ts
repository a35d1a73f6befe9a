/** The one hook before a tool that Cordon carries out itself, or has an MCP server carry out. */
import type { ContentRef } from '../audit/event.ts';
import type { Json } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import { decide } from '../policy/index.ts';
import { decideCrossing } from './crossing.ts';
import { keepContent } from './keep-content.ts';
import { recorded } from './run-log.ts';
import type { RunScope } from './scope.ts';

/** Characters that stand in an event; the whole is beside the log. */
export const EXCERPT = 240;
/** Characters of a call that a person is shown. */
const LONGEST_QUESTION = 4_000;

export interface GateCall {
  readonly server: string;
  readonly tool: string;
  readonly id: string;
  /** Answers of the model so far; null where an agent inside calls. */
  readonly step: number | null;
  readonly input: Readonly<Record<string, unknown>>;
  /** In a few words. */
  readonly brief: string;
}

/** `done` records what came of a call that was permitted, and is called exactly once. */
export type Passed =
  | {
      readonly permitted: true;
      done(result: { readonly ok: boolean; readonly text: string }, ms: number): Promise<void>;
    }
  | { readonly permitted: false; readonly reason: string };

export class ToolGate {
  readonly #scope: RunScope;
  #asking: Promise<unknown> = Promise.resolve();

  constructor(scope: RunScope) {
    this.#scope = scope;
  }

  /** The policy decides on it, a person where it asks, and both are in the log before it is done. `until`: nobody waits any more. */
  async judge(call: GateCall, until?: AbortSignal): Promise<Passed> {
    const { server, tool, id, step, brief, input } = call;
    const { log } = this.#scope.run;
    const whole = JSON.stringify(log.redacted(input));
    const decision = await this.#decide(call, whole, until);
    const content = await this.keep(input as Json);
    const cause = await log.append(
      {
        type: 'tool.requested',
        action: 'tool.call',
        resource: {
          server,
          tool,
          id: id.slice(0, 200),
          step,
          input: log.excerpt(brief, EXCERPT),
          characters: whole.length,
        },
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
  }

  /** A person says yes to this very call, not to the tool; and to one at a time. */
  #decide({ server, tool, input }: GateCall, whole: string, until: AbortSignal | undefined) {
    const action = { action: 'tool.call', server, tool } as const;
    const question = { what: asked(server, tool, whole), subjectDigest: digest(JSON.stringify({ ...action, input })) };
    const make = () => decideCrossing(this.#scope, action, undefined, question, until);
    if (decide(this.#scope.loaded.policy, action).effect !== 'ask') return make();
    const mine = this.#asking.then(make);
    this.#asking = mine.catch(() => {});
    return mine;
  }

  async #ended(
    { server, tool, id }: GateCall,
    cause: number,
    result: 'done' | 'failed' | 'denied',
    text: string,
    ms: number,
  ): Promise<void> {
    const content = text.length > EXCERPT ? await this.keep(text) : {};
    await this.#scope.run.log.append(
      {
        type: 'tool.ended',
        action: 'tool.call',
        resource: { server, tool, id: id.slice(0, 200) },
        outcome: {
          result,
          text: this.#scope.run.log.excerpt(text, EXCERPT),
          characters: text.length,
          durationMs: Math.round(ms),
        },
        cause,
        ...content,
      },
      'agent',
    );
  }

  keep(value: Json): Promise<{ content?: ContentRef }> {
    return keepContent(this.#scope, value);
  }
}

/** What a person reads who is to approve of a call: all of it, or that there is more. */
function asked(server: string, tool: string, input: string): string {
  const cut = input.length > LONGEST_QUESTION ? ` [… ${input.length - LONGEST_QUESTION} more characters]` : '';
  return `tool.call of ${server}/${tool} ${input.slice(0, LONGEST_QUESTION)}${cut}`;
}
