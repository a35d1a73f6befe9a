import { describe, expect, test } from 'vitest';
import { cost, mostSpent } from './amounts.ts';
import type { ModelFacts, Price } from './providers/provider.ts';
import type { Ask } from './wire/wire.ts';

const flat: Price = { input: 3, output: 15, cached: 0.3, cacheWrite: 3.75 };
const long = { above: 200, input: 6, output: 22.5, cached: 0.6, cacheWrite: 7.5 };
const tiered: Price = { ...flat, longContext: long };
const usage = (input: number, cached = 0) => ({ input, output: 10, cached, cacheWrite: 0 });

describe('a price for long prompts', () => {
  test('counts for all of a request whose prompt is longer, cached tokens and answer too', () => {
    expect(cost(tiered, usage(200))).toBe(cost(flat, usage(200)));
    expect(cost(tiered, usage(201, 100))).toBe(Math.ceil((101 * 6 + 100 * 0.6 + 10 * 22.5) * 1000));
  });

  const most = (price: Price, bytes: number) => {
    const ask = { answers: 1, wants: [], maxOutput: 10 } as unknown as Ask;
    const model = { name: 'm', upstream: 'm', context: null, maxOutput: null, price } as unknown as ModelFacts;
    return mostSpent(ask, model, bytes).nanoUsd;
  };

  test('is reserved as soon as the prompt could be longer, and no sooner', () => {
    expect(most(tiered, 200)).toBe(most(flat, 200));
    expect(most(tiered, 201)).toBe(Math.ceil((201 * 7.5 + 10 * 22.5) * 1000));
    // Longer is cheaper here: what is reserved is still the dearest that could be.
    expect(most({ ...flat, longContext: { ...long, input: 1, output: 1, cacheWrite: 1 } }, 201)).toBe(most(flat, 201));
  });
});
