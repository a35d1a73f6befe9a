import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { CordonError } from '../base/errors.ts';
import { ModelPatience } from './patience.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function patience() {
  const stopped: CordonError[] = [];
  const work = { commands: 0 };
  const models = new ModelPatience(
    (why) => stopped.push(why),
    () => work.commands,
    1_000,
  );
  return { stopped, work, models };
}

test('a model that never answers ends the run, whether the agent asks again or stands still', () => {
  const { stopped, models } = patience();
  models.answered('unreachable', 'connection refused');
  vi.advanceTimersByTime(600);
  models.answered('failed', 'status 503');
  expect(stopped).toEqual([]);
  vi.advanceTimersByTime(400);
  expect(stopped).toMatchObject([{ code: 'outside_failed', message: expect.stringContaining('status 503') }]);
});

test('one answer is enough to begin anew, and what the caller broke off is no failure', () => {
  const { stopped, models } = patience();
  models.answered('cancelled', null);
  vi.advanceTimersByTime(5_000);
  models.answered('failed', null);
  vi.advanceTimersByTime(900);
  models.answered('completed', null);
  vi.advanceTimersByTime(5_000);
  models.answered('budget', null);
  models.answered('denied', null);
  vi.advanceTimersByTime(5_000);
  expect(stopped).toEqual([]);
});

test('an agent that starts programs meanwhile is at work', () => {
  const { stopped, work, models } = patience();
  models.answered('cut', null);
  work.commands = 3;
  vi.advanceTimersByTime(1_500);
  expect(stopped).toEqual([]);
  vi.advanceTimersByTime(500);
  expect(stopped).toHaveLength(1);
});
