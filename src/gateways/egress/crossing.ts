/** One crossing of the boundary while it lasts: what passes is counted against its budgets, and it ends once, with one outcome. */
import type { Clock } from '../../base/clock.ts';
import type { Decision } from '../../policy/index.ts';
import type { CrossingClosed } from './log.ts';
import { Refusal, type Result } from './refusal.ts';
import type { Target } from './target.ts';

/** Bytes that crossings of one run share. */
export interface Budget {
  up: number;
  down: number;
  readonly maxUp: number;
  readonly maxDown: number;
}

function overBudget(target: Target, name: 'max_upload' | 'max_download', limit: number): Refusal {
  const where = `${target.host}:${target.port}`;
  return new Refusal('budget', `more than the ${limit} bytes of ${name} for ${where} in this run`, {
    ...target,
    remedy: `where the policy lists it: {host: "${target.host}", port: ${target.port}, ${name}: …}`,
  });
}

interface CrossingOptions {
  readonly target: Target;
  readonly decision: Decision;
  readonly token: unknown;
  readonly clock: Clock;
  /** Asked when the first bytes cross. */
  budgets(): readonly Budget[];
  /** Called once. */
  close(event: CrossingClosed): void;
}

export class Crossing {
  readonly target: Target;
  readonly decision: Decision;
  address: string | null = null;
  status: number | null = null;
  #bytesOut = 0;
  #bytesIn = 0;
  #ended = false;
  /** What the log gave for its decision. */
  readonly token: unknown;
  readonly #clock: Clock;
  readonly #started: number;
  readonly #budgetsOf: () => readonly Budget[];
  #budgets: readonly Budget[] | null = null;
  readonly #close: (event: CrossingClosed) => void;
  #cutters: ((refusal: Refusal) => void)[] = [];
  readonly #enders: (() => void)[] = [];
  #cause: Refusal | null = null;

  constructor({ target, decision, token, clock, budgets, close }: CrossingOptions) {
    this.target = target;
    this.decision = decision;
    this.token = token;
    this.#clock = clock;
    this.#started = clock.monotonic();
    this.#budgetsOf = budgets;
    this.#close = close;
  }

  /** What is torn down when the crossing is cut from outside. Called at once when it has been cut already. */
  onCut(cutter: (refusal: Refusal) => void): void {
    if (this.#cause !== null) cutter(this.#cause);
    else this.#cutters.push(cutter);
  }

  /** What is given up when it is over, however it ended. Called at once when it is. */
  onEnd(ender: () => void): void {
    if (this.#ended) ender();
    else this.#enders.push(ender);
  }

  /** Ends it whatever it is doing: revocation, budget, time, the run's end. */
  cut(refusal: Refusal): void {
    if (this.#ended || this.#cause !== null) return;
    this.#cause = refusal;
    for (const cutter of this.#cutters) cutter(refusal);
    this.end(refusal.result);
  }

  /**
   * Counts bytes before they go out. Throws `Refusal` when a budget would be exceeded, and when the crossing was cut: what was
   * revoked while a connection was being made, or a name looked up, sends nothing over it.
   */
  up(bytes: number): void {
    if (this.#cause !== null) throw this.#cause;
    this.#bytesOut += bytes;
    for (const budget of this.#counted()) {
      budget.up += bytes;
      if (budget.up > budget.maxUp) throw overBudget(this.target, 'max_upload', budget.maxUp);
    }
  }

  /** Likewise for what comes back. */
  down(bytes: number): void {
    if (this.#cause !== null) throw this.#cause;
    this.#bytesIn += bytes;
    for (const budget of this.#counted()) {
      budget.down += bytes;
      if (budget.down > budget.maxDown) throw overBudget(this.target, 'max_download', budget.maxDown);
    }
  }

  /** Not before something crosses: of hosts that are denied a guest can think of any number. */
  #counted(): readonly Budget[] {
    this.#budgets ??= this.#budgetsOf();
    return this.#budgets;
  }

  /** The outcome event, once. */
  end(result: Result): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cutters = [];
    for (const after of this.#enders.splice(0)) after();
    this.#close({
      ...this.target,
      address: this.address,
      result,
      status: this.status,
      bytesOut: this.#bytesOut,
      bytesIn: this.#bytesIn,
      durationMs: Math.max(0, Math.round(this.#clock.monotonic() - this.#started)),
    });
  }

  /** Ends it as refused, and gives back what the guest is told: why it was cut, when it was. */
  fail(refusal: Refusal): Refusal {
    const told = this.#cause ?? refusal;
    this.status ??= told.status;
    this.end(told.result);
    return told;
  }
}
