import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConflictError, NotFoundError } from '../../src/base/errors.ts';
import { currentProcess } from '../../src/base/process-identity.ts';
import type { NewRun, Store } from '../../src/store/store.ts';

/** One installation's storage: `open` may be called several times, as several processes would. */
export interface StoreUnderTest {
  open(): Promise<Store>;
  dispose(): Promise<void>;
}

const owner = currentProcess();

export function newRun(id: string, fields: Partial<NewRun> = {}): NewRun {
  const request = { task: 'fix “it”\u0000', paths: ['a/**'] };
  return {
    id,
    created: 1_000,
    state: 'created',
    requester: 'user:ann',
    repository: '/src/app',
    request,
    owner,
    ...fields,
  };
}

/** What every driver of the store promises (src/store/store.ts). */
export function storeConformance(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`store conformance: ${name}`, () => {
    let installation: StoreUnderTest;
    let store: Store;

    beforeEach(async () => {
      installation = await make();
      store = await installation.open();
    });
    afterEach(async () => {
      await store.close();
      await installation.dispose();
    });

    test('keeps a run whole', async () => {
      await store.createRun(newRun('0001', { base: 'abc', policyDigest: 'sha256:1', cgroup: '/c', firstAuditSeq: 7 }));
      expect(await store.getRun('0001')).toEqual({
        ...newRun('0001'),
        updated: 1_000,
        base: 'abc',
        branch: null,
        head: null,
        policyDigest: 'sha256:1',
        result: null,
        firstAuditSeq: 7,
        lastAuditSeq: null,
        cgroup: '/c',
        keepUntil: null,
      });
      expect(await store.getRun('0002')).toBeNull();
    });

    test('finds runs that are due, the longest due first, until they are no more', async () => {
      await store.createRun(newRun('0001', { keepUntil: 3_000 }));
      await store.createRun(newRun('0002', { keepUntil: 2_000 }));
      await store.createRun(newRun('0003', { keepUntil: 3_001 }));
      await store.createRun(newRun('0004'));
      const due = async (at: number, limit = 10) => (await store.dueRuns(at, limit)).map(({ id }) => id);
      expect([await due(1_999), await due(3_000), await due(3_000, 1)]).toEqual([[], ['0002', '0001'], ['0002']]);
      await store.updateRun('0002', 'created', { at: 4_000, keepUntil: null });
      expect(await due(3_000)).toEqual(['0001']);
      expect((await store.getRun('0001'))?.keepUntil).toBe(3_000);
    });

    test('refuses an id that is taken', async () => {
      await store.createRun(newRun('0001'));
      await expect(store.createRun(newRun('0001', { requester: 'user:eve' }))).rejects.toThrow(ConflictError);
      expect((await store.getRun('0001'))?.requester).toBe('user:ann');
    });

    test('changes only what the patch names', async () => {
      await store.createRun(newRun('0001', { base: 'abc' }));
      await store.updateRun('0001', 'created', { at: 2_000, state: 'running', result: { ok: true }, lastAuditSeq: 9 });
      expect(await store.getRun('0001')).toMatchObject({
        state: 'running',
        base: 'abc',
        updated: 2_000,
        created: 1_000,
        result: { ok: true },
        lastAuditSeq: 9,
        owner,
      });
    });

    test('compare-and-set: of many writers in several connections exactly one moves the run', async () => {
      await store.createRun(newRun('0001'));
      const others = await Promise.all([installation.open(), installation.open()]);
      const writers = [store, ...others].flatMap((s, i) => [
        s.updateRun('0001', 'created', { at: 1, state: `a${i}` }),
        s.updateRun('0001', 'created', { at: 1, state: `b${i}` }),
      ]);
      const outcomes = await Promise.allSettled(writers);
      await Promise.all(others.map((s) => s.close()));
      expect(outcomes.filter((o) => o.status === 'fulfilled')).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(ConflictError);
      }
    });

    test('an unknown run cannot be changed', async () => {
      await expect(store.updateRun('0404', 'created', { at: 1 })).rejects.toThrow(NotFoundError);
    });

    test('another connection sees a write as soon as it has resolved', async () => {
      const other = await installation.open();
      await store.createRun(newRun('0001'));
      expect((await other.getRun('0001'))?.id).toBe('0001');
      await other.close();
    });

    test('finds by the beginning of the id, and takes no character of it as a pattern', async () => {
      for (const id of ['aa1', 'aa2', 'ab1']) await store.createRun(newRun(id));
      expect((await store.findRuns('aa', 5)).map((r) => r.id)).toEqual(['aa2', 'aa1']);
      expect((await store.findRuns('a', 2)).map((r) => r.id)).toEqual(['ab1', 'aa2']);
      expect(await store.findRuns('a%', 5)).toEqual([]);
      expect(await store.findRuns('__1', 5)).toEqual([]);
    });

    test('pages newest first, without a gap or a repeat while runs are added', async () => {
      for (let i = 10; i < 20; i++) await store.createRun(newRun(`00${i}`));
      const first = await store.listRuns({ limit: 4 });
      await store.createRun(newRun('0099'));
      const seen = first.runs.map((r) => r.id);
      for (let cursor = first.next; cursor !== null; ) {
        const page = await store.listRuns({ limit: 4, cursor });
        seen.push(...page.runs.map((r) => r.id));
        cursor = page.next;
      }
      expect(seen).toEqual(['0019', '0018', '0017', '0016', '0015', '0014', '0013', '0012', '0011', '0010']);
    });

    test('lists by state and repository', async () => {
      await store.createRun(newRun('0001', { state: 'running' }));
      await store.createRun(newRun('0002', { repository: '/src/other' }));
      await store.createRun(newRun('0003'));
      const ids = async (query: { states?: string[]; repository?: string }) =>
        (await store.listRuns({ limit: 10, ...query })).runs.map((r) => r.id);
      expect(await ids({ states: ['created'] })).toEqual(['0003', '0002']);
      expect(await ids({ repository: '/src/app' })).toEqual(['0003', '0001']);
      expect(await ids({ states: ['running', 'created'], repository: '/src/app' })).toEqual(['0003', '0001']);
    });

    test('spending: what fits is added, what does not is not, and others’ budgets and other periods do not count', async () => {
      const entry = (id: string, tokens: number, at = 100, budget = 'run ann') => ({
        id,
        budget,
        at,
        nanoUsd: 5,
        tokens,
        requests: 1,
      });
      const bounds = { since: 50, nanoUsd: null, tokens: 100, requests: 3 };
      await store.reserveSpending(entry('old', 90, 10), bounds);
      await store.reserveSpending(entry('bob', 90, 100, 'run bob'), bounds);
      expect(await store.reserveSpending(entry('a', 60), bounds)).toEqual({
        added: true,
        before: { nanoUsd: 0, tokens: 0, requests: 0 },
      });
      expect(await store.reserveSpending(entry('b', 60), bounds)).toEqual({
        added: false,
        before: { nanoUsd: 5, tokens: 60, requests: 1 },
      });
      expect(await store.settleSpending({ ...entry('a', 20), nanoUsd: 1 }, 50)).toEqual({
        nanoUsd: 1,
        tokens: 20,
        requests: 1,
      });
      expect((await store.reserveSpending(entry('b', 80), bounds)).added).toBe(true);
      expect((await store.reserveSpending(entry('c', 1), bounds)).added).toBe(false);
    });

    test('spending: many at once, from two processes, never go beyond the bound', async () => {
      const other = await installation.open();
      const bounds = { since: 0, nanoUsd: 1_000, tokens: null, requests: null };
      const all = Array.from({ length: 60 }, (_, i) =>
        (i % 2 === 0 ? store : other).reserveSpending(
          { id: `${i}`, budget: 'b', at: 1, nanoUsd: 100, tokens: 0, requests: 1 },
          bounds,
        ),
      );
      expect((await Promise.all(all)).filter(({ added }) => added)).toHaveLength(10);
      await other.close();
    });
  });
}
