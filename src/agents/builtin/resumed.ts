/** A conversation that was cut off by the death of its process, put together again from what was recorded of it. */
import * as z from 'zod';
import type { AskedCall, Message } from './conversation.ts';
import { CUT, EMPTY, NUDGE } from './prompt.ts';
import { notPermitted, OTHERS, whyUnreadable } from './tool-belt.ts';
import type { PlanStep } from './tools/tool.ts';

/** One answer of the model's, as it was kept. */
export const keptAnswer = z.object({
  text: z.string(),
  calls: z.array(z.object({ id: z.string(), name: z.string(), arguments: z.string() })),
  finish: z.string().nullable(),
  words: z.boolean().optional(),
});
export type KeptAnswer = z.output<typeof keptAnswer>;

/** What is known of one call. */
export interface KeptCall {
  readonly brief: string;
  /** Null when the process died before the call had an outcome: nobody knows how far it came. */
  readonly outcome: { readonly result: 'done' | 'failed' | 'denied'; readonly text: string } | null;
  /** True when what it left in the workspace was kept. */
  readonly kept: boolean;
}

/** The same, as it stands beside the log for the next time. */
export const resumedSchema = z.object({
  /** Behind the task. */
  messages: z.array(
    z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('user'), text: z.string() }),
      z.object({ kind: z.literal('assistant'), text: z.string(), calls: keptAnswer.shape.calls }),
      z.object({ kind: z.literal('result'), call: z.string(), tool: z.string(), text: z.string() }),
    ]),
  ),
  steps: z.int().min(0),
  toolCalls: z.int().min(0),
  plan: z.array(z.object({ step: z.string(), status: z.enum(['pending', 'active', 'done']) })),
  words: z.boolean(),
  /** Of every call with an outcome, oldest first. */
  results: z.array(z.object({ tool: z.string(), arguments: z.string(), ok: z.boolean(), text: z.string() })),
  /** Set when it had said that it is done. */
  finished: z.object({ summary: z.string(), success: z.boolean() }).nullable(),
});
export type Resumed = z.output<typeof resumedSchema>;

const NOTHING: Resumed = { messages: [], steps: 0, toolCalls: 0, plan: [], words: false, results: [], finished: null };

/** Characters of a call's id that the record has. */
export const LONGEST_ID = 200;

/** Tools that may change something. */
export const CHANGING: ReadonlySet<string> = new Set(['shell', 'edit']);

export interface TakenUp {
  readonly resumed: Resumed;
  /** What is not certain, one line a call; the model is told the same. */
  readonly uncertain: readonly string[];
}

/**
 * `before`: where a run that was itself taken up began. `answers`: oldest first, with what is known of their calls by id. Nothing is done
 * again: what had no outcome gets one that says so.
 */
export function takeUp(
  before: Resumed | null,
  answers: readonly { readonly answer: KeptAnswer; readonly calls: ReadonlyMap<string, KeptCall> }[],
): TakenUp {
  const story = new Story(before ?? NOTHING);
  answers.forEach(({ answer, calls }, i) => {
    story.add(answer, calls, i === answers.length - 1);
  });
  return story.told();
}

class Story {
  readonly #messages: Message[];
  readonly #results: Resumed['results'];
  readonly #uncertain: string[] = [];
  readonly #lost: string[] = [];
  #now: Resumed;

  constructor(before: Resumed) {
    this.#now = before;
    this.#messages = [...before.messages];
    this.#results = [...before.results];
  }

  add(answer: KeptAnswer, calls: ReadonlyMap<string, KeptCall>, last: boolean): void {
    const { text, finish, words = false } = answer;
    this.#now = { ...this.#now, steps: this.#now.steps + 1, words: words || this.#now.words };
    this.#messages.push({ kind: 'assistant', text, calls: answer.calls });
    if (answer.calls.length === 0) {
      this.#messages.push({ kind: 'user', text: finish === 'length' ? CUT : text.trim() === '' ? EMPTY : NUDGE });
      return;
    }
    for (const call of answer.calls) {
      const result = this.#resultOf(call, calls.get(call.id.slice(0, LONGEST_ID)), last);
      this.#messages.push({ kind: 'result', call: call.id, tool: call.name, text: result });
    }
  }

  #resultOf(call: AskedCall, known: KeptCall | undefined, last: boolean): string {
    const why = whyUnreadable(call);
    if (why !== null) {
      this.#count(call, false, why);
      return why;
    }
    if (known === undefined) {
      if (last) this.#uncertain.push(`${call.name} was asked for and not begun: call it again if it is needed`);
      return 'This call was not made: the process that drives the work ended before. Call it again if it is needed.';
    }
    const what = `${call.name} ${JSON.stringify(known.brief)}`;
    if (known.outcome === null) {
      const left = call.name.includes(OTHERS)
        ? 'what it did at its server stays'
        : `what it changed in /workspace is ${known.kept ? 'there as it was kept' : 'not there'}`;
      this.#uncertain.push(`${what} was under way: whether all, some or nothing of it was done is not known; ${left}`);
      return 'This call was under way when the process that drives the work ended. Whether all, some or nothing of it was done is not known.';
    }
    const { result, text } = known.outcome;
    const shown = result === 'denied' ? notPermitted(text) : text;
    this.#count(call, result === 'done', shown);
    if (result !== 'denied' && !known.kept && CHANGING.has(call.name)) this.#lost.push(what);
    if (result === 'done') this.#remember(call);
    return shown;
  }

  #count({ name, arguments: args }: AskedCall, ok: boolean, text: string): void {
    this.#now = { ...this.#now, toolCalls: this.#now.toolCalls + 1 };
    this.#results.push({ tool: name, arguments: args, ok, text });
  }

  /** What two tools leave in the loop itself. The arguments have passed their schemas before. */
  #remember({ name, arguments: args }: AskedCall): void {
    const input = JSON.parse(args.trim() === '' ? '{}' : args) as Record<string, unknown>;
    if (name === 'plan') {
      const plan = (input.steps as Partial<PlanStep>[]).map(({ step = '', status = 'pending' }) => ({ step, status }));
      this.#now = { ...this.#now, plan };
    }
    if (name === 'finish') {
      const { summary = '', success = true } = input as { summary?: string; success?: boolean };
      this.#now = { ...this.#now, finished: { summary, success } };
    }
  }

  told(): TakenUp {
    const uncertain = [
      ...this.#lost.map((what) => `${what} was done, but what it changed in /workspace is not there any more`),
      ...this.#uncertain,
    ];
    const finished = uncertain.length === 0 ? this.#now.finished : null; // what it said it had done is not all there
    const messages = this.#messages as Resumed['messages'];
    return { resumed: { ...this.#now, messages, results: this.#results, finished }, uncertain };
  }
}

/** What the model is told of that, behind the conversation. */
export function resumptionNote(uncertain: readonly string[], withheld: readonly string[]): string {
  const told = [
    'The process that drives your work ended, and the work goes on in a new sandbox. /workspace is as your calls left it, but for what is named below. ' +
      'Commits, branches and stashes that you made are undone: what they changed is there, uncommitted. Gone are /tmp, your home folder, and everything that ran ' +
      'in the background; the shell is in /workspace again.',
    ...uncertain.map((line) => `- ${line}`),
    ...withheld.map((path) => `- the file ${JSON.stringify(path)} was not kept, since it holds what may be a secret`),
  ];
  if (uncertain.length > 0)
    told.push('Look at how things are before you do any of it again: something outside may have been done already.');
  return told.join('\n');
}
