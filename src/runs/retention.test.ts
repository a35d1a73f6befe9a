import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { newRun } from '../../test/conformance/store.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { type ContentStore, openContentStore } from '../audit/content.ts';
import { openAuditLog } from '../audit/log.ts';
import { readEvents } from '../audit/read.ts';
import { verifyAudit } from '../audit/verify.ts';
import { ConflictError, NotFoundError, StorageError } from '../base/errors.ts';
import { newRunId } from '../base/ids.ts';
import { openStore } from '../store/index.ts';
import { deleteContent, type Keeper, keepUntil, sweepExpired } from './retention.ts';

const DAY = 86_400_000;
const who = { id: 'system:cordon', kind: 'system' } as const;
const options = { mediaType: 'text/plain', maxBytes: 100 };
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function keeper() {
  const root = mkdtempSync(join(tmpdir(), 'cordon-retention-'));
  closing.push(async () => rmSync(root, { recursive: true }));
  const dir = join(root, 'audit');
  const keys = join(root, 'keys');
  const clock = new ManualClock();
  const log = await openAuditLog({ dir, keys });
  const store = await openStore('sqlite', { path: join(root, 'cordon.db') });
  closing.push(() => store.close());
  const content = openContentStore({ dir: join(dir, 'content'), keys });
  const run = async (days: number, state = 'succeeded') => {
    const id = newRunId(clock.now());
    await store.createRun(newRun(id, { created: clock.now(), state, keepUntil: keepUntil(clock.now(), days) }));
    return { id, ref: await content.put(id, Buffer.from(`said in ${id}`), options) };
  };
  return { dir, clock, log, run, keep: { store, log, content, clock } satisfies Keeper };
}

test('each run’s content goes with its own retention, is recorded, and the log still verifies', async () => {
  const { dir, clock, log, run, keep } = await keeper();
  const short = await run(7);
  const long = await run(180);
  const going = await run(7, 'running');
  clock.advance(7 * DAY - 1);
  expect(await sweepExpired(keep, who, 10)).toEqual({ deleted: [], failed: [] });
  clock.advance(1);
  expect(await sweepExpired(keep, who, 10)).toEqual({ deleted: [short.id], failed: [] });
  expect(await sweepExpired(keep, who, 10)).toEqual({ deleted: [], failed: [] });
  await expect(keep.content.readAll(short.id, short.ref, 100)).rejects.toThrow(NotFoundError);
  expect(String(await keep.content.readAll(long.id, long.ref, 100))).toContain(long.id);
  expect(String(await keep.content.readAll(going.id, going.ref, 100))).toContain(going.id);
  clock.advance(173 * DAY);
  expect((await sweepExpired(keep, who, 10)).deleted).toEqual([long.id]);
  await log.close();
  const told = [...readEvents(dir)].map(({ event }) => [event.type, (event.resource as { run?: string }).run]);
  expect(told).toEqual([
    ['content.delete', short.id],
    ['content.deleted', short.id],
    ['content.delete', long.id],
    ['content.deleted', long.id],
  ]);
  expect(await verifyAudit(dir, { vkey: log.vkey })).toMatchObject({ ok: true, openIntents: [] });
});

test('what cannot be deleted is said, kept in mind, and holds up nothing else', async () => {
  const { clock, log, run, keep } = await keeper();
  const [first, second] = [await run(1), await run(2)];
  clock.advance(2 * DAY);
  let broken = true;
  const content: ContentStore = {
    put: keep.content.put.bind(keep.content),
    read: keep.content.read.bind(keep.content),
    readAll: keep.content.readAll.bind(keep.content),
    async deleteRun(id) {
      if (broken && id === first.id) throw new StorageError('the disk is gone');
      await keep.content.deleteRun(id);
    },
  };
  const pruned = await sweepExpired({ ...keep, content }, who, 10);
  expect(pruned).toEqual({ deleted: [second.id], failed: [{ run: first.id, reason: 'the disk is gone' }] });
  broken = false;
  expect((await sweepExpired({ ...keep, content }, who, 10)).deleted).toEqual([first.id]);
  await log.close();
});

test('before its time only when it has ended', async () => {
  const { log, run, keep } = await keeper();
  const { id, ref } = await run(180, 'running');
  const record = async () => (await keep.store.getRun(id)) ?? expect.fail('it is there');
  await expect(deleteContent(keep, await record(), who, 'asked for')).rejects.toThrow(ConflictError);
  expect(String(await keep.content.readAll(id, ref, 100))).toContain(id);
  await keep.store.updateRun(id, 'running', { at: 1, state: 'failed' });
  await deleteContent(keep, await record(), who, 'asked for');
  await expect(keep.content.readAll(id, ref, 100)).rejects.toThrow(NotFoundError);
  await log.close();
});
