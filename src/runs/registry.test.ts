import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newRun } from '../../test/conformance/store.ts';
import { ConflictError, NotFoundError, UsageError } from '../base/errors.ts';
import { currentProcess } from '../base/process-identity.ts';
import { openStore, type Store } from '../store/index.ts';
import { closeLostRuns, findRun, moveRun } from './registry.ts';
import { hasEnded, transitions, unfinishedStates } from './run.ts';

const clock = { now: () => 5_000, monotonic: () => 0 };
const dead = { ...currentProcess(), startTime: '1' };
let folder: string;
let store: Store;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cordon-registry-'));
  store = await openStore('sqlite', { path: join(folder, 'cordon.db') });
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true });
});

test('a run moves only along the table', async () => {
  await store.createRun(newRun('0001'));
  await expect(moveRun(store, '0001', 'created', 'succeeded', { at: 1 })).rejects.toThrow(ConflictError);
  await moveRun(store, '0001', 'created', 'preparing', { at: 2, base: 'abc' });
  expect(await store.getRun('0001')).toMatchObject({ state: 'preparing', base: 'abc', updated: 2 });
});

test('every unfinished state reaches an end and can be lost; an end stays', () => {
  for (const state of unfinishedStates) expect(transitions[state]).toContain('lost');
  for (const state of ['succeeded', 'failed', 'lost', 'denied'] as const) expect(hasEnded(state)).toBe(true);
  const named = Object.values(transitions).flat();
  for (const state of named) expect(Object.hasOwn(transitions, state)).toBe(true);
});

test('a person types the beginning of an id', async () => {
  for (const id of ['aa1', 'aa2', 'aa']) await store.createRun(newRun(id));
  expect((await findRun(store, 'aa1')).id).toBe('aa1');
  await expect(findRun(store, 'zz')).rejects.toThrow(NotFoundError);
  await expect(findRun(store, 'a')).rejects.toThrow(UsageError);
});

test('runs of a dead process are cleaned, then closed as lost; those of a living one and ended ones are not', async () => {
  await store.createRun(newRun('0001', { owner: dead, state: 'running' }));
  await store.createRun(newRun('0002', { state: 'running' }));
  await store.createRun(newRun('0003', { owner: dead, state: 'succeeded' }));
  const cleaned: string[] = [];
  const closed = await closeLostRuns(store, clock, async (run) => {
    cleaned.push(`${run.id} ${(await store.getRun(run.id))?.state}`);
    return { lastAuditSeq: 3 };
  });
  expect(cleaned).toEqual(['0001 running']);
  expect(closed.map((r) => r.id)).toEqual(['0001']);
  expect(await store.getRun('0001')).toMatchObject({ state: 'lost', updated: 5_000, lastAuditSeq: 3 });
  expect((await store.getRun('0002'))?.state).toBe('running');
});

test('a run whose remains could not be ended stays open for the next start', async () => {
  await store.createRun(newRun('0001', { owner: dead, state: 'running' }));
  const failing = closeLostRuns(store, clock, async () => Promise.reject(new Error('EBUSY')));
  await expect(failing).rejects.toThrow('EBUSY');
  expect((await store.getRun('0001'))?.state).toBe('running');
});

test('two processes that find the same lost run close it once', async () => {
  for (let i = 0; i < 5; i++) await store.createRun(newRun(`000${i}`, { owner: dead, state: 'running' }));
  const other = await openStore('sqlite', { path: join(folder, 'cordon.db') });
  const both = await Promise.all([store, other].map((s) => closeLostRuns(s, clock, async () => ({}))));
  await other.close();
  expect(both.flat()).toHaveLength(5);
});
