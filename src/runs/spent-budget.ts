import { AgentFailedError, type CordonError, LimitError } from '../base/errors.ts';

/** Refusals in a row, with nothing of a model's between them, after which an agent that does nothing else is not waited for. */
const ENOUGH = 3;

export interface SpentRefusal {
  readonly message: string;
  readonly remedy: string | null;
  /** The budget is not used up: this request alone is more than all of it, and a smaller one may fit. */
  readonly never?: boolean;
}

/**
 * What a run learns of a budget that is used up. Agents say it in words of their own, or not at all, and several ask again for minutes.
 * A refusal that an answer follows means nothing: requests on the side, or too long ones, are refused to many an agent that goes on.
 */
export class SpentBudget {
  readonly #stop: (why: CordonError) => void;
  /** Programs started so far: an agent that starts some is at work. */
  readonly #activity: () => number;
  #last: SpentRefusal | null = null;
  #row = 0;
  #before = 0;
  #open = 0;

  constructor(stop: (why: CordonError) => void, activity: () => number) {
    this.#stop = stop;
    this.#activity = activity;
  }

  /** A request, on its way; answered with what came of it, whatever that was. */
  asked(): void {
    this.#open++;
  }

  answered(completed: boolean): void {
    this.#open--;
    if (!completed) return;
    this.#last = null;
    this.#row = 0;
  }

  refused(refusal: SpentRefusal): void {
    this.#last = refusal;
    if (refusal.never === true) return;
    const activity = this.#activity();
    this.#row = activity === this.#before ? this.#row + 1 : 1;
    this.#before = activity;
    // What another request has reserved may come back.
    if (this.#row >= ENOUGH && this.#open === 0) this.#stop(this.error(refusal));
  }

  /** What was refused last, where no answer followed. */
  get last(): SpentRefusal | null {
    return this.#last;
  }

  /** The budget, where the end of an agent is explained by it; otherwise the failure as it is. */
  explained(failure: unknown): unknown {
    if (this.#last === null) return failure;
    const own = failure instanceof AgentFailedError || (failure instanceof LimitError && failure.limit === 'models');
    return own ? this.error(this.#last, failure) : failure;
  }

  error({ message, remedy }: SpentRefusal, cause?: unknown): LimitError {
    return new LimitError('models', message, { ...(remedy === null ? {} : { remedy }), cause });
  }
}
