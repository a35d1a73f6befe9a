import { formatDuration } from '../base/duration.ts';
import { type CordonError, OutsideError } from '../base/errors.ts';
import type { ModelResult } from '../gateways/llm/ledger.ts';

/** Milliseconds without an answer of any model; each request waits for its provider by itself before that. */
const PATIENCE = 5 * 60_000;

/** What a provider, or the way to it, is at fault for. */
const FAULTS: ReadonlySet<ModelResult> = new Set(['failed', 'cut', 'timeout', 'unreachable']);

/**
 * Ends a run whose agent waits for models that do not answer: some try for ever, some stand still for ever. It begins with a request
 * that failed and ends with the next that did not. An agent that meanwhile starts programs is at work: its time begins anew. Refusals by
 * policy or budget do not count: requests on the side are refused to many an agent that goes on.
 */
export class ModelPatience {
  readonly #stop: (why: CordonError) => void;
  /** Programs started so far. */
  readonly #activity: () => number;
  readonly #time: number;
  #before = 0;
  #timer: NodeJS.Timeout | null = null;
  #reason = '';

  constructor(stop: (why: CordonError) => void, activity: () => number, time = PATIENCE) {
    this.#stop = stop;
    this.#activity = activity;
    this.#time = time;
  }

  answered(result: ModelResult, reason: string | null): void {
    if (result === 'completed') this.end();
    else if (FAULTS.has(result)) {
      this.#reason = reason ?? result;
      if (this.#timer === null) this.#begin();
    }
  }

  #begin(): void {
    this.#before = this.#activity();
    this.#timer = setTimeout(() => this.#over(), this.#time).unref();
  }

  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #over(): void {
    if (this.#activity() !== this.#before) {
      this.#begin();
      return;
    }
    const message = `no language model has answered for ${formatDuration(this.#time)}: ${this.#reason}`;
    this.#stop(new OutsideError(message, { remedy: 'cordon providers test NAME asks one; then run it again' }));
  }
}
