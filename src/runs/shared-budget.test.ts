import { expect, test } from 'vitest';
import { periodStart } from './shared-budget.ts';

test.each([
  ['hour', '2026-11-18T13:00:00.000Z'],
  ['day', '2026-11-18T00:00:00.000Z'],
  ['week', '2026-11-16T00:00:00.000Z'],
  ['month', '2026-11-01T00:00:00.000Z'],
] as const)('a %s begins', (period, start) => {
  expect(new Date(periodStart(period, Date.parse('2026-11-18T13:45:12.345Z'))).toISOString()).toBe(start);
});

test('a Sunday belongs to the week before it, a Monday begins one', () => {
  expect(periodStart('week', Date.parse('2026-11-22T23:59:59Z'))).toBe(Date.parse('2026-11-16T00:00:00Z'));
  expect(periodStart('week', Date.parse('2026-11-23T00:00:00Z'))).toBe(Date.parse('2026-11-23T00:00:00Z'));
});
