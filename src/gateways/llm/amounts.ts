import type { ModelFacts, Price } from './providers/provider.ts';
import type { Ask, Usage, Wanted } from './wire/wire.ts';

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
  const { longContext } = price;
  if (longContext !== undefined && usage.input > longContext.above) return flat(longContext, usage);
  return flat(price, usage);
}

function flat(price: Omit<Price, 'longContext'>, usage: Usage): number {
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
function longPrice({ cacheWrite, cacheWriteLong }: Pick<Price, 'cacheWrite' | 'cacheWriteLong'>): number {
  return cacheWriteLong ?? cacheWrite * 1.6;
}

export function spent(price: Price | null, usage: Usage): Spent {
  return { nanoUsd: cost(price, usage), tokens: usage.input + usage.output, requests: 1 };
}

/** Tokens that an answer may have at most: what the caller set, or what we set for it. */
export function outputBound(ask: Ask, model: ModelFacts): number {
  return ask.maxOutput ?? model.maxOutput ?? DEFAULT_MAX_OUTPUT;
}

/** Tokens of one picture at most, however few bytes it is packed into. */
const PICTURE = 5_000;
/** Tokens of a prompt whose length its bytes do not tell, where the settings state no context. */
const UNKNOWN_CONTEXT = 1_000_000;

const isPicture = ({ feature }: Wanted) => feature === 'images' || feature === 'image_urls';
/** What makes a prompt longer than its bytes tell. */
const isUntold = (one: Wanted) => !isPicture(one) && one.feature !== 'priority_service';

/** For which feature a context is assumed that the settings do not state, and could; null where none is. */
export function assumesContext({ wants }: Ask, { context }: ModelFacts): string | null {
  return context === null ? (wants.find(isUntold)?.feature ?? null) : null;
}

/**
 * The most tokens a request can have: no token of a text is shorter than a byte, and no prompt longer than the model's context. What is
 * packed, lies elsewhere or is fetched by the provider may fill the context.
 */
export function mostTokens(
  ask: Ask,
  model: ModelFacts,
  bodyBytes: number,
): { readonly input: number; readonly output: number } {
  const { rounds = 1, answers, wants } = ask;
  const rest = wants.filter(isUntold);
  const told = rest.length > 0 ? UNKNOWN_CONTEXT + bodyBytes : bodyBytes + (wants.length - rest.length) * PICTURE;
  return {
    input: Math.min(told, model.context ?? Number.POSITIVE_INFINITY) * rounds,
    output: outputBound(ask, model) * answers * rounds,
  };
}

/** The most a request can use; the dearest of the prices of a prompt's tokens counts. */
export function mostSpent(ask: Ask, model: ModelFacts, bodyBytes: number): Spent {
  const { longCache = false } = ask;
  const { input, output } = mostTokens(ask, model, bodyBytes);
  const { price } = model;
  if (price === null) return spent(null, { input, output, cached: 0, cacheWrite: 0 });
  // A prompt whose tokens could be more than the border costs the dearer of both prices: it may be shorter than it could be.
  const { longContext } = price;
  const applying = longContext !== undefined && input > longContext.above ? [price, longContext] : [price];
  const perInput = ({ input: fresh, cacheWrite, ...rest }: Omit<Price, 'longContext'>) =>
    Math.max(fresh, cacheWrite, longCache ? longPrice({ cacheWrite, ...rest }) : 0);
  const dearest = {
    input: Math.max(...applying.map(perInput)),
    output: Math.max(...applying.map((one) => one.output)),
    cached: 0,
    cacheWrite: 0,
  };
  return spent(dearest, { input, output, cached: 0, cacheWrite: 0 });
}

/** Bytes of text → tokens, for answers that broke off before they told: four bytes a token is what English has. */
export function estimate(bytesIn: number, bytesOut: number): Usage {
  return { input: Math.ceil(bytesIn / 4), output: Math.ceil(bytesOut / 4), cached: 0, cacheWrite: 0 };
}

/** Tokens a second that no model writes more than. */
const FASTEST = 1_000;

/**
 * Of an answer that its caller did not wait for: what the provider may have written, and goes on writing where it is no stream. `seconds`
 * since the provider was asked.
 */
export function unheard(ask: Ask, model: ModelFacts, bodyBytes: number, seconds: number): Usage {
  const { input, output } = mostTokens(ask, model, bodyBytes);
  const written = ask.stream ? Math.min(output, Math.ceil(seconds * FASTEST) * ask.answers) : output;
  return { input, output: written, cached: 0, cacheWrite: 0 };
}

export function dollars(nanoUsd: number): string {
  return `$${(nanoUsd / 1e9).toFixed(nanoUsd > 0 && nanoUsd < 1e7 ? 4 : 2)}`;
}
