import type { Amounts } from '../../policy/index.ts';
import { dollars, type Spent } from './amounts.ts';

/** One budget: a run's own, or one that runs share. */
export interface Budget {
  /** For a person: `this run`, `user:alice this day`. */
  readonly name: string;
  readonly limits: Amounts;
  /** What a person can do when it is used up. */
  readonly remedy: string;
  /**
   * Takes the amount if it fits beside what is spent and reserved, in one step that no other caller comes between. Otherwise takes
   * nothing and says what there is. Throws when it cannot be known: then nothing is sent.
   */
  reserve(most: Spent): Promise<Reserved>;
}

export type Reserved = { readonly reservation: Reservation } | { readonly exceeded: Exceeded };

export interface Reservation {
  /** In place of what was reserved; once. Returns all that is spent and reserved then. */
  settle(actual: Spent): Promise<Spent>;
}

export interface Exceeded {
  readonly what: keyof Amounts;
  readonly limit: number;
  /** Spent and reserved, in the unit of the limit. */
  readonly used: number;
}

/** Cents → nano-dollars. */
const CENT = 10_000_000;

/** What would go beyond its limit; null when all fits. */
export function exceeds(limits: Amounts, used: Spent, more: Spent): Exceeded | null {
  if (limits.requests !== null && used.requests + more.requests > limits.requests)
    return { what: 'requests', limit: limits.requests, used: used.requests };
  if (limits.tokens !== null && used.tokens + more.tokens > limits.tokens)
    return { what: 'tokens', limit: limits.tokens, used: used.tokens };
  if (limits.usd !== null && used.nanoUsd + more.nanoUsd > limits.usd * CENT)
    return { what: 'usd', limit: limits.usd * CENT, used: used.nanoUsd };
  return null;
}

/** The share of its limit that is used, 0 to 1 and above; of the fullest. */
function fullness(limits: Amounts, used: Spent): number {
  return Math.max(
    0,
    ...(limits.requests === null ? [] : [used.requests / limits.requests]),
    ...(limits.tokens === null ? [] : [used.tokens / limits.tokens]),
    ...(limits.usd === null ? [] : [used.nanoUsd / (limits.usd * CENT)]),
  );
}

function exceededText(name: string, { what, limit, used }: Exceeded): string {
  if (what === 'usd') return `the budget of ${name} is ${dollars(limit)}; ${dollars(used)} are spent or reserved`;
  return `the budget of ${name} is ${limit} ${what}; ${used} are spent or reserved`;
}

const NOTHING: Spent = { nanoUsd: 0, tokens: 0, requests: 0 };

function plus(a: Spent, b: Spent, sign: 1 | -1 = 1): Spent {
  return {
    nanoUsd: a.nanoUsd + sign * b.nanoUsd,
    tokens: a.tokens + sign * b.tokens,
    requests: a.requests + sign * b.requests,
  };
}

/** A budget of one run, which one process drives. */
export class RunBudget implements Budget {
  readonly name = 'this run';
  readonly limits: Amounts;
  readonly remedy = 'raise llm_policy.budget in the policy, or make the task smaller';
  #used: Spent;

  /** `used`: before, by a process of this run's work that died. */
  constructor(limits: Amounts, used: Spent = NOTHING) {
    this.#used = used;
    this.limits = limits;
  }

  get used(): Spent {
    return this.#used;
  }

  async reserve(most: Spent): Promise<Reserved> {
    const exceeded = exceeds(this.limits, this.#used, most);
    if (exceeded !== null) return { exceeded };
    this.#used = plus(this.#used, most);
    let open = true;
    const settle = async (actual: Spent) => {
      if (open) this.#used = plus(plus(this.#used, most, -1), actual);
      open = false;
      return this.#used;
    };
    return { reservation: { settle } };
  }
}

/** A budget has no room for a request: which and why, and what a person can do. */
export interface Spending {
  readonly refused: string;
  readonly what: keyof Amounts;
  readonly remedy: string;
  /** The request alone is more than the whole budget: it would not fit where nothing was used. */
  readonly never: boolean;
}

/** Reserves with all budgets or with none. */
export class Budgets {
  readonly #budgets: readonly Budget[];
  readonly #warned = new Set<Budget>();
  readonly #onWarning: (name: string, percent: number) => void;

  /** `onWarning` is told once a budget, at 80 %. */
  constructor(budgets: readonly Budget[], onWarning: (name: string, percent: number) => void) {
    this.#budgets = budgets;
    this.#onWarning = onWarning;
  }

  /** True when money is counted somewhere: then models without a price cannot be used. */
  get money(): boolean {
    return this.#budgets.some(({ limits }) => limits.usd !== null);
  }

  /** True when the length of an answer matters. */
  get bounded(): boolean {
    return this.#budgets.some(({ limits }) => limits.usd !== null || limits.tokens !== null);
  }

  async reserve(most: Spent): Promise<{ readonly reservation: Reservation } | Spending> {
    const held: { budget: Budget; reservation: Reservation }[] = [];
    const release = (actual: Spent) =>
      Promise.all(held.map(async ({ budget, reservation }) => ({ budget, used: await reservation.settle(actual) })));
    for (const budget of this.#budgets) {
      const result = await budget.reserve(most).catch(async (error: unknown) => {
        await release(NOTHING);
        throw error;
      });
      if ('exceeded' in result) {
        await release(NOTHING);
        const never = exceeds(budget.limits, NOTHING, most) !== null;
        const { what } = result.exceeded;
        return { refused: exceededText(budget.name, result.exceeded), what, remedy: budget.remedy, never };
      }
      held.push({ budget, reservation: result.reservation });
    }
    const settle = async (actual: Spent) => {
      for (const { budget, used } of await release(actual)) this.#warn(budget, used);
      return actual;
    };
    return { reservation: { settle } };
  }

  #warn(budget: Budget, used: Spent): void {
    const share = fullness(budget.limits, used);
    if (share < 0.8 || this.#warned.has(budget)) return;
    this.#warned.add(budget);
    this.#onWarning(budget.name, Math.floor(share * 100));
  }
}
