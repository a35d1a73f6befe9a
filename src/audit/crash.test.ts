import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newHome, state } from '../../test/fakes/audit-home.ts';
import { CrashDisk, type Fate } from '../../test/fakes/crash-disk.ts';
import { type AuditLog, openAuditLog } from './log.ts';
import { readEvents } from './read.ts';
import { verifyAudit } from './verify.ts';

type Home = { dir: string; keys: string };

/** Appends one by one, publishing now and then; what was acknowledged, until the power goes. */
async function work(home: Home, disk: CrashDisk, segmentBytes: number, name: string): Promise<string[]> {
  const acknowledged: string[] = [];
  let log: AuditLog | undefined;
  try {
    log = await openAuditLog({ ...home, disk, segmentBytes });
    for (let i = 0; i < 6; i++) {
      const batch = [0, 1, 2].map((k) => `${name}.${i}.${k}`);
      const done = batch.map((text) => (log as AuditLog).append(state(text)).then(() => acknowledged.push(text)));
      await Promise.all(done);
      if (i % 2 === 1) await log.publish();
    }
    await log.close();
  } catch (error) {
    if (!disk.crashed) throw error;
    await log?.close().catch(() => {});
  }
  return acknowledged;
}

async function check(home: Home, acknowledged: readonly string[]): Promise<void> {
  const log = await openAuditLog(home);
  await log.append(state('after'));
  await log.close();
  const kept = [...readEvents(home.dir, { types: ['run.state'] })].map(
    ({ event }) => (event.resource as { to: string }).to,
  );
  expect(acknowledged.filter((text) => !kept.includes(text))).toEqual([]);
  expect(kept.at(-1)).toBe('after');
  const vkey = readFileSync(join(home.keys, 'audit.vkey'), 'utf8');
  expect(await verifyAudit(home.dir, { vkey })).toMatchObject({
    ok: true,
    problems: [],
    records: kept.length + recovered(home),
  });
}

const recovered = (home: Home) => [...readEvents(home.dir, { types: ['audit.recovered'] })].length;

async function changes(segmentBytes: number): Promise<number> {
  const disk = new CrashDisk(Number.POSITIVE_INFINITY, 'all kept');
  expect(await work(newHome(), disk, segmentBytes, 'count')).toHaveLength(18);
  disk.dispose();
  return disk.count;
}

const fates: Fate[] = ['all kept', 'cut in half', 'unsynced lost'];

// With short segments every other batch begins one, and publishing removes the old ones.
test.each([
  ['one segment', 1_000_000],
  ['many segments', 1_000],
])(
  '%s: whatever was acknowledged survives a power cut at every change, and the log verifies',
  async (_, segmentBytes) => {
    const total = await changes(segmentBytes);
    expect(total).toBeGreaterThan(40);
    const points = fates.flatMap((fate) => Array.from({ length: total }, (_, i) => ({ fate, at: i + 1 })));
    await inParallel(points, async ({ fate, at }) => {
      const home = newHome();
      const disk = new CrashDisk(at, fate);
      const acknowledged = await work(home, disk, segmentBytes, 'first');
      expect(disk.crashed).toBe(true);
      disk.dispose();
      await check(home, acknowledged).catch((error: Error) => {
        throw new Error(`after a crash at change ${at} of ${total}, ${fate}: ${error.message}`, { cause: error });
      });
    });
  },
);

/** Each waits for the disk most of the time. */
async function inParallel<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const item of rest) await act(item);
    }),
  );
}

test('a second crash while recovering from the first loses nothing either', async () => {
  const pairs = [8, 13, 18, 23, 28, 33].flatMap((first) =>
    Array.from({ length: 11 }, (_, i) => ({ first, second: i + 1 })),
  );
  await inParallel(pairs, async ({ first, second }) => {
    const home = newHome();
    const [one, two] = [new CrashDisk(first, 'cut in half'), new CrashDisk(second, 'cut in half')];
    const acknowledged = [...(await work(home, one, 1_000, 'first')), ...(await work(home, two, 1_000, 'second'))];
    one.dispose();
    two.dispose();
    await check(home, acknowledged);
  });
});

test('a torn batch is removed, and that it was there is on record', async () => {
  const home = newHome();
  const probe = new CrashDisk(Number.POSITIVE_INFINITY, 'all kept');
  const log = await openAuditLog({ ...home, disk: probe });
  await log.append(state('kept'));
  await log.close();
  probe.dispose();
  const disk = new CrashDisk(2 + 1, 'cut in half'); // opening makes two folders; then comes the write
  const broken = await openAuditLog({ ...home, disk });
  await expect(broken.append(state('torn'))).rejects.toMatchObject({ code: 'audit_unavailable' });
  await broken.close().catch(() => {});
  disk.dispose();
  const vkey = log.vkey;
  expect(await verifyAudit(home.dir, { vkey })).toMatchObject({
    ok: false,
    problems: [{ code: 'journal_torn', seq: 1 }],
  });
  const next = await openAuditLog(home);
  await next.append(state('next'));
  await next.close();
  expect([...readEvents(home.dir)].map(({ event }) => event.type)).toEqual([
    'run.state',
    'audit.recovered',
    'run.state',
  ]);
  expect(await verifyAudit(home.dir, { vkey })).toMatchObject({ ok: true, records: 3 });
});
