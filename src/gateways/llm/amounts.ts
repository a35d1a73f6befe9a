import type { ModelFacts, Price } from './providers/provider.ts';
import type { Ask, Usage } from './wire/wire.ts';

/** What requests use up. Money in nano-dollars, whole, so that sums are exact. */
export interface Spent {
  readonly nanoUsd: number;
  readonly tokens: number;
  readonly requests: number;
}

/** Tokens of an answer where neither the caller nor the settings bound it. */
export const DEFAULT_MAX_OUTPUT = 32_768;

/** US dollars a million tokens are a thousand nano-dollars a token. */
export function cost(price: Price | null, usage: Usage): number {
  if (price === null) return 0;
  const fresh = Math.max(0, usage.input - usage.cached - usage.cacheWrite);
  const { cacheWriteLong: long = 0 } = usage;
  const dollarsPerMillion =
    fresh * price.input +
    usage.cached * price.cached +
    (usage.cacheWrite - long) * price.cacheWrite +
    long * longPrice(price) +
    usage.output * price.output;
  return Math.ceil(dollarsPerMillion * 1000);
}

/** Anthropic's is 1.6 times that of five minutes. */
function longPrice({ cacheWrite, cacheWriteLong }: Price): number {
  return cacheWriteLong ?? cacheWrite * 1.6;
}

export function spent(price: Price | null, usage: Usage): Spent {
  return { nanoUsd: cost(price, usage), tokens: usage.input + usage.output, requests: 1 };
}

/** Tokens that an answer may have at most: what the caller set, or what we set for it. */
export function outputBound(ask: Ask, model: ModelFacts): number {
  return ask.maxOutput ?? model.maxOutput ?? DEFAULT_MAX_OUTPUT;
}

/**
 * The most a request can use: no token is shorter than a byte, and no prompt longer than the model's context. The dearest of the prices
 * of a prompt's tokens counts.
 */
export function mostSpent(ask: Ask, model: ModelFacts, bodyBytes: number): Spent {
  const { rounds = 1, answers, longCache = false } = ask;
  const input = Math.min(bodyBytes, model.context ?? Number.POSITIVE_INFINITY) * rounds;
  const output = outputBound(ask, model) * answers * rounds;
  const dearest = ({ input: fresh, cacheWrite, ...rest }: Price) =>
    Math.max(fresh, cacheWrite, longCache ? longPrice({ input: fresh, cacheWrite, ...rest }) : 0);
  const price = model.price === null ? null : { ...model.price, input: dearest(model.price) };
  return spent(price, { input, output, cached: 0, cacheWrite: 0 });
}

/** Bytes of text → tokens, for answers that broke off before they told: four bytes a token is what English has. */
export function estimate(bytesIn: number, bytesOut: number): Usage {
  return { input: Math.ceil(bytesIn / 4), output: Math.ceil(bytesOut / 4), cached: 0, cacheWrite: 0 };
}

export function dollars(nanoUsd: number): string {
  return `$${(nanoUsd / 1e9).toFixed(nanoUsd > 0 && nanoUsd < 1e7 ? 4 : 2)}`;
}
