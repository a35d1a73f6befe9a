import { expect, test } from 'vitest';
import type { AuditEvent } from '../audit/event.ts';
import { callsOf, elapsedOf, refuseOverTime } from './used-before.ts';

const at = (second: number, type: string, resource: object = {}, effect = 'permit') =>
  ({ type, time: new Date(second * 1000).toISOString(), resource, decision: { effect } }) as unknown as AuditEvent;
const call = (server: string, effect?: string) => at(0, 'tool.requested', { server }, effect);

test('its time goes from its start to the last that is recorded of it, and is counted on', () => {
  const first = [at(1, 'run.created'), at(3, 'run.started'), at(9, 'llm.request'), at(5_000, 'run.lost')];
  expect(elapsedOf(first)).toBe(6_000);
  const second = [at(6_000, 'run.started'), at(6_001, 'agent.resumed', { elapsedMs: 6_000 }), at(6_004, 'tool.ended')];
  expect(elapsedOf([...second, at(9_999, 'run.lost')])).toBe(10_000);
  expect(elapsedOf([at(1, 'run.created')])).toBe(0);
});

test('a night between two events is not time at work', () => {
  const night = [at(10, 'run.started'), at(20, 'llm.request'), at(40_000, 'llm.response'), at(40_010, 'tool.ended')];
  expect(elapsedOf(night)).toBe(10_000 + 300_000 + 10_000);
  // Nor does a clock that is set back take any away.
  expect(elapsedOf([at(100, 'run.started'), at(50, 'llm.request'), at(60, 'tool.ended')])).toBe(10_000);
});

test('calls of each server are counted on; its own tools and what was denied are not', () => {
  const events = [call('docs'), call('docs', 'deny'), call('builtin'), call('docs', 'ask'), call('tracker')];
  expect(callsOf(events)).toEqual({ docs: 2, tracker: 1 });
  expect(callsOf([at(0, 'agent.resumed', { calls: { docs: 7 } }), ...events])).toEqual({ docs: 9, tracker: 1 });
});

test('a run whose time is used up does not go on', () => {
  const policy = { limits: { wallClock: 10_000 } };
  refuseOverTime({ run: 'r', elapsedMs: 9_999 }, policy);
  expect(() => refuseOverTime({ run: 'r', elapsedMs: 10_000 }, policy)).toThrow('run r has used its 10.0 s');
});
