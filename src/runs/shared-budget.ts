/** Budgets for language models that runs share: of a requester, a repository, the organisation, in a period of UTC. */
import type { Spent } from '../gateways/llm/amounts.ts';
import { type Budget, exceeds, type Reserved } from '../gateways/llm/budget.ts';
import type { SharedBudget } from '../policy/index.ts';
import type { SpendingEntry, Store } from '../store/index.ts';
import type { RunScope } from './scope.ts';

export function sharedBudgets(scope: RunScope): Budget[] {
  const { system, loaded, request, repository, run } = scope;
  const whose = {
    requester: request.requester.id,
    repository: repository.name,
    organisation: 'the organisation',
  };
  let count = 0;
  const newId = () => `${run.id} ${count++}`;
  return loaded.policy.llm.budgets.map(
    (budget) => new StoredBudget(budget, whose[budget.scope], system.store, () => system.clock.now(), newId),
  );
}

const CENT = 10_000_000;

/** A run that died leaves what it had reserved: rather too much is counted than too little. */
class StoredBudget implements Budget {
  readonly name: string;
  readonly limits: SharedBudget;
  readonly remedy: string;
  readonly #key: string;
  readonly #store: Store;
  readonly #now: () => number;
  readonly #newId: () => string;

  constructor(limits: SharedBudget, whose: string, store: Store, now: () => number, newId: () => string) {
    this.limits = limits;
    this.name = `${whose} for this ${limits.period}`;
    this.remedy = `wait for the next ${limits.period} (of UTC), or raise the ${limits.scope}’s budget in llm_policy.budgets of the policy`;
    this.#key = `${limits.scope} ${whose} ${limits.period}`;
    this.#store = store;
    this.#now = now;
    this.#newId = newId;
  }

  async reserve(most: Spent): Promise<Reserved> {
    const { period, usd, tokens, requests } = this.limits;
    const at = this.#now();
    const since = periodStart(period, at);
    const entry: SpendingEntry = { id: `${this.#key} ${this.#newId()}`, budget: this.#key, at, ...most };
    const bounds = { since, nanoUsd: usd === null ? null : usd * CENT, tokens, requests };
    const { added, before } = await this.#store.reserveSpending(entry, bounds);
    if (added)
      return { reservation: { settle: (actual) => this.#store.settleSpending({ ...entry, ...actual }, since) } };
    const exceeded = exceeds(this.limits, before, most);
    if (exceeded === null) throw new RangeError('a budget refused what fits into it');
    return { exceeded };
  }
}

/** Where the period that a moment lies in began, in UTC; a week begins on Monday. */
export function periodStart(period: SharedBudget['period'], at: number): number {
  const time = new Date(at);
  const day = Date.UTC(time.getUTCFullYear(), time.getUTCMonth(), time.getUTCDate());
  switch (period) {
    case 'hour':
      return day + time.getUTCHours() * 3_600_000;
    case 'day':
      return day;
    case 'week':
      return day - ((time.getUTCDay() + 6) % 7) * 86_400_000;
    case 'month':
      return Date.UTC(time.getUTCFullYear(), time.getUTCMonth(), 1);
  }
}
