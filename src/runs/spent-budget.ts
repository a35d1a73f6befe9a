import { AgentFailedError, type CordonError, LimitError } from '../base/errors.ts';
import type { ModelAnswered, ModelRequested } from '../gateways/llm/ledger.ts';

/** Refusals of one and the same request, with nothing of a model's between them, after which an agent that does nothing else is not waited for. */
const ENOUGH = 3;
/** Requests that are remembered. */
const MOST = 1_000;
/** Characters of an agent's own words that go with the budget. */
const SAID = 500;

export interface SpentRefusal {
  readonly code: string;
  readonly message: string;
  readonly remedy: string | null;
  /** The budget is not used up: this request alone is more than all of it, and a smaller one may fit. */
  readonly never?: boolean;
}

/** How one request was refused. */
interface Repeated {
  readonly times: number;
  readonly reason: string | null;
}

export interface SpentBudgetOptions {
  /** Ends the run. */
  stop(why: CordonError): void;
  /** Programs started so far: an agent that starts some is at work. */
  activity(): number;
  /** Names of the budgets that other runs take from, too. */
  readonly shared?: readonly string[];
}

/**
 * What a run learns of a budget that is used up. Agents say it in words of their own, or not at all, and several ask again for minutes.
 * A refusal that an answer follows means nothing: requests on the side, or too long ones, are refused to many an agent that goes on.
 * Nor do refusals of several requests: only who repeats one has nothing else to ask.
 */
export class SpentBudget {
  readonly #options: SpentBudgetOptions;
  #last: SpentRefusal | null = null;
  readonly #refused = new Map<string, Repeated>();
  #before = 0;
  /** Requests on their way, by what the log calls them; `refusals`: how many there were when one was made. */
  readonly #open = new Map<unknown, { readonly digest: string; readonly refusals: number }>();
  #refusals = 0;

  constructor(options: SpentBudgetOptions) {
    this.#options = options;
  }

  /** A request, on its way. Counting tokens spends none: it says nothing of a budget, also when it is answered. */
  requested(token: unknown, { operation, requestDigest }: Pick<ModelRequested, 'operation' | 'requestDigest'>): void {
    if (operation === 'generate') this.#open.set(token, { digest: requestDigest, refusals: this.#refusals });
  }

  /** What came of it, whatever that was. */
  answered(token: unknown, { result, reason }: Pick<ModelAnswered, 'result' | 'reason'>): void {
    const request = this.#open.get(token);
    if (request === undefined) return;
    this.#open.delete(token);
    if (result === 'completed') {
      // The answer to what was asked before the refusal, a title for instance, does not follow it.
      if (request.refusals !== this.#refusals) return;
      this.#last = null;
      this.#refused.clear();
    } else if (result === 'budget') this.#count(request.digest, reason);
  }

  #count(digest: string, reason: string | null): void {
    const activity = this.#options.activity();
    if (activity !== this.#before || this.#refused.size >= MOST) this.#refused.clear();
    this.#before = activity;
    // Another run may give back at any time what it has reserved.
    const shared = this.#options.shared?.some((name) => reason?.startsWith(`the budget of ${name} `)) ?? false;
    if (!shared) this.#refused.set(digest, { times: (this.#refused.get(digest)?.times ?? 0) + 1, reason });
  }

  refused(refusal: SpentRefusal): void {
    if (refusal.code !== 'budget_exceeded') return;
    this.#last = refusal;
    this.#refusals++;
    if (refusal.never === true) return;
    const repeats = [...this.#refused.values()].some(
      ({ times, reason }) => times >= ENOUGH && reason !== null && refusal.message.startsWith(reason),
    );
    // What another request has reserved may come back.
    if (repeats && this.#open.size === 0) this.#options.stop(this.error(refusal));
  }

  /** What was refused last, where no answer followed. */
  get last(): SpentRefusal | null {
    return this.#last;
  }

  /** The budget, where an agent's own end is explained by it, with what the agent said; otherwise the failure as it is. */
  explained(failure: unknown): unknown {
    if (this.#last === null) return failure;
    const own =
      (failure instanceof AgentFailedError && failure.ownEnd) ||
      (failure instanceof LimitError && failure.limit === 'models');
    return own ? this.error(this.#last, failure) : failure;
  }

  error({ message, remedy }: SpentRefusal, cause?: Error): LimitError {
    const said = cause === undefined || cause.message.includes(message) ? null : cause.message.slice(0, SAID);
    const whole = said === null ? message : `${message}; the agent’s end: ${said}`;
    return new LimitError('models', whole, { ...(remedy === null ? {} : { remedy }), cause });
  }
}
