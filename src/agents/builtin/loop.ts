import type { Clock } from '../../base/clock.ts';
import { compact } from './compaction.ts';
import { type AskedCall, encode, type Message, type Mode } from './conversation.ts';
import type { Guest } from './guest.ts';
import { type Answer, type Model, ModelError } from './model.ts';
import { CUT, EMPTY, NUDGE, SYSTEM } from './prompt.ts';
import { LONGEST_ID, type Resumed } from './resumed.ts';
import { Progress } from './stuck.ts';
import { callsInText } from './text-calls.ts';
import { type Hook, ToolBelt } from './tool-belt.ts';
import { tools } from './tools/index.ts';
import { describe, type Tool, type ToolDescription, type Workbench } from './tools/tool.ts';
import { Window } from './window.ts';

export const DEFAULT_MAX_STEPS = 200;

export interface LoopOptions {
  readonly model: Model;
  readonly guest: Guest;
  /** Of every command. */
  readonly env: Readonly<Record<string, string>>;
  /** The first message: what is to be done, with whose word each part of it is (prompt.ts). */
  readonly task: string;
  /** Tokens; null where the settings do not say. */
  readonly context: number | null;
  readonly maxOutput: number | null;
  /** Answers of the model's. */
  readonly maxSteps: number;
  /** Ends the work at once; `runLoop` rejects with its reason. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Resolves after so many milliseconds, or rejects with the signal's reason. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Every tool call passes here first. */
  readonly beforeToolCall: Hook;
  readonly journal: Journal;
  /** Besides its own. */
  readonly tools?: readonly Tool[];
  /** Where a loop whose process died was. */
  readonly resumed?: Resumed | undefined;
}

/** Keeps the transcript as it comes about. What it could not keep has not happened: the loop ends when it throws. */
export interface Journal {
  /** The model's answer, before any of its calls is made. */
  answered(step: number, answer: Answer, mode: Mode): Promise<void>;
  /** What the model is told besides results, and what was done to its conversation. */
  told(step: number, text: string): Promise<void>;
  /** A call that was none: an unknown tool, or arguments that cannot be read. */
  unreadable(step: number, call: AskedCall, why: string): Promise<void>;
  /** One step of a tool, for a person. */
  shown(entry: {
    readonly tool: string;
    readonly brief: string;
    readonly ok: boolean;
    readonly note: string;
    readonly ms: number;
  }): void;
}

export interface Outcome {
  /** `words`: it stopped calling tools without saying that it is done. */
  readonly end: 'finished' | 'words' | 'stuck' | 'steps' | 'silent';
  readonly success: boolean;
  readonly summary: string;
  readonly steps: number;
  readonly toolCalls: number;
}

/** Answers without a call, or without anything, that are answered with a reminder. */
const NUDGES = 2;
const BUSY_TRIES = 6;
const BROKEN_TRIES = 3;
const CONTEXT_TRIES = 3;
/** Milliseconds. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 60_000;

/**
 * The built-in agent: asks the model, does what it asks for, until it is done. Resolves with how that ended; throws `ModelError` when the model
 * cannot be asked any more, and the signal's reason.
 */
export function runLoop(options: LoopOptions): Promise<Outcome> {
  return new Loop(options).run();
}

class Loop {
  readonly #options: LoopOptions;
  readonly #descriptions: readonly ToolDescription[];
  readonly #names: ReadonlySet<string>;
  readonly #window: Window;
  readonly #progress = new Progress();
  readonly #belt: ToolBelt;
  readonly #bench: Workbench;
  readonly #ids = new Set<string>();
  #messages: readonly Message[];
  #mode: Mode = 'native';
  #knowsTools = false;
  #steps = 0;
  #idle = 0;

  constructor(options: LoopOptions) {
    this.#options = options;
    const all = [...tools, ...(options.tools ?? [])];
    this.#descriptions = all.map(describe);
    this.#names = new Set(all.map(({ name }) => name));
    const fixed = SYSTEM.length + JSON.stringify(this.#descriptions).length;
    this.#window = new Window(options.context, options.maxOutput, fixed);
    const { guest, env, signal } = options;
    this.#bench = { guest, env, signal, shown: this.#window.shown, cwd: '/workspace', kept: 0, plan: [] };
    this.#belt = new ToolBelt(this.#bench, options, all);
    this.#messages = [{ kind: 'user', text: options.task, pinned: true }];
    if (options.resumed !== undefined) this.#takeUp(options.resumed);
  }

  #takeUp({ messages, steps, toolCalls, plan, words, results }: Resumed): void {
    this.#messages = [...this.#messages, ...messages];
    this.#steps = steps;
    this.#belt.calls = toolCalls;
    this.#bench.plan = plan;
    if (words) this.#mode = 'words';
    for (const message of messages)
      if (message.kind === 'assistant') for (const { id } of message.calls) this.#ids.add(id);
    // What went round in circles before goes on to.
    for (const { tool, arguments: args, ok, text } of results) this.#progress.note(tool, args, { ok, text });
  }

  async run(): Promise<Outcome> {
    const { resumed } = this.#options;
    if (resumed?.finished != null) return this.#end('finished', resumed.finished.success, resumed.finished.summary);
    for (;;) {
      if (this.#steps >= this.#options.maxSteps)
        return this.#end('steps', false, `it was not done after ${this.#steps} steps`);
      const answer = await this.#ask();
      this.#steps++;
      await this.#options.journal.answered(this.#steps, answer, this.#mode);
      this.#add({ kind: 'assistant', text: answer.text, calls: answer.calls });
      const ended = answer.calls.length === 0 ? await this.#remind(answer) : await this.#carryOut(answer);
      if (ended !== null) return ended;
    }
  }

  #end(end: Outcome['end'], success: boolean, summary: string): Outcome {
    return { end, success, summary: summary.slice(0, 20_000), steps: this.#steps, toolCalls: this.#belt.calls };
  }

  #add(message: Message): void {
    this.#messages = [...this.#messages, message];
  }

  async #tell(text: string): Promise<void> {
    await this.#options.journal.told(this.#steps, text);
    this.#add({ kind: 'user', text });
  }

  /** Resolves with an answer whose calls are read, whatever form the model gave them. */
  async #ask(): Promise<Answer> {
    const answer = await this.#insist();
    const found = answer.calls.length === 0 ? callsInText(answer.text, this.#names) : null;
    if (answer.calls.length > 0) this.#knowsTools = true;
    // A model that never called a tool by the protocol's means is spoken to in its own.
    else if (found !== null && found.calls.length > 0 && !this.#knowsTools) this.#mode = 'words';
    const asked = found === null ? answer.calls : found.calls.map((call) => ({ ...call, id: '' }));
    return { ...answer, text: found?.rest ?? answer.text, calls: asked.map((call, i) => this.#named(call, i)) };
  }

  /** Providers want each call's id once, and the record has no more of it. */
  #named(call: AskedCall, index: number): AskedCall {
    const id =
      call.id === '' || call.id.length > LONGEST_ID || this.#ids.has(call.id)
        ? `call_${this.#steps + 1}_${index + 1}`
        : call.id;
    this.#ids.add(id);
    return { ...call, id };
  }

  async #insist(): Promise<Answer> {
    const { model, signal, journal } = this.#options;
    const tries = { busy: 0, broken: 0, context: 0 };
    for (;;) {
      signal.throwIfAborted();
      await this.#makeRoom(tries.context > 0);
      const messages = this.#messages;
      try {
        const answer = await model.ask(encode(SYSTEM, messages, this.#descriptions, this.#mode), signal);
        if (answer.used !== null) this.#window.learn(messages, answer.used.input);
        return answer;
      } catch (error) {
        if (!(error instanceof ModelError)) throw error;
        const { fault } = error;
        if (fault === 'tools' && this.#mode === 'native') this.#mode = 'words';
        else if (fault === 'context' && ++tries.context <= CONTEXT_TRIES) this.#window.refused(messages);
        else if (fault === 'broken' && ++tries.broken < BROKEN_TRIES) {
          await journal.told(this.#steps, `asked again: ${error.message}`);
        } else if (fault === 'busy' && ++tries.busy < BUSY_TRIES) await this.#wait(error, tries.busy);
        else throw error;
      }
    }
  }

  async #wait({ after, message }: ModelError, turn: number): Promise<void> {
    const pause = Math.min(after ?? FIRST_PAUSE * 2 ** (turn - 1), LONGEST_PAUSE);
    await this.#options.journal.told(this.#steps, `waiting ${Math.ceil(pause / 1000)} s for the model: ${message}`);
    await this.#options.sleep(pause, this.#options.signal);
  }

  async #makeRoom(forced: boolean): Promise<void> {
    if (!forced && !this.#window.isFull(this.#messages)) return;
    const { model, signal, journal } = this.#options;
    const { messages, how } = await compact(this.#messages, this.#window, model, this.#bench.plan, signal);
    this.#messages = messages;
    if (how !== null) await journal.told(this.#steps, `made room in the model's window: ${how}`);
  }

  /** An answer without a call. */
  async #remind({ text, finish }: Answer): Promise<Outcome | null> {
    const empty = text.trim() === '';
    if (++this.#idle > NUDGES) {
      return empty
        ? this.#end('silent', false, 'the model gives empty answers')
        : this.#end('words', true, text.trim());
    }
    await this.#tell(finish === 'length' ? CUT : empty ? EMPTY : NUDGE);
    return null;
  }

  async #carryOut({ calls }: Answer): Promise<Outcome | null> {
    this.#idle = 0;
    const warnings: string[] = [];
    for (const call of calls) {
      const result = await this.#belt.use(this.#steps, call);
      this.#add({ kind: 'result', call: call.id, tool: call.name, text: result.text });
      if (result.finished !== undefined) return this.#end('finished', result.finished.success, result.finished.summary);
      const standstill = this.#progress.note(call.name, call.arguments, result);
      if (standstill?.kind === 'stop') return this.#end('stuck', false, `it went round in circles: ${standstill.why}`);
      if (standstill?.kind === 'told') warnings.push(standstill.why);
    }
    for (const warning of warnings) await this.#tell(warning);
    return null;
  }
}
