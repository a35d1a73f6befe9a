import {
  cpSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { exited, newHome, principal, run, started, state } from '../../test/fakes/audit-home.ts';
import { signCheckpoint, signerFromSeed } from './checkpoint.ts';
import { batchEnd, encodeBatch, readBatches } from './journal.ts';
import { openAuditLog } from './log.ts';
import { emptyFrontier, extend, frontierRoot, leafHash } from './merkle.ts';
import type { VerifyReport } from './problem.ts';
import { TileEdge } from './publish.ts';
import { readEvents } from './read.ts';
import { decodeBundle, encodeBundle } from './tiles.ts';
import { verifyAudit } from './verify.ts';

/** 600 records in tiles (two full bundles and a partial one), and 20 in the journal only. */
const PUBLISHED = 600;
const JOURNAL_ONLY = 20;
let original: { dir: string; keys: string };
let vkey: string;
let early: string;

beforeAll(async () => {
  const { mkdtempSync } = await import('node:fs');
  const { tmpdir } = await import('node:os');
  const home = mkdtempSync(join(tmpdir(), 'cordon-tamper-'));
  original = { dir: join(home, 'audit'), keys: join(home, 'keys') };
  const log = await openAuditLog(original);
  vkey = log.vkey;
  for (let i = 0; i < PUBLISHED / 2; i++) log.enqueue(exited(i, log.enqueue(started(i))));
  await log.flush();
  early = log.checkpoint() as string;
  await log.publish();
  for (let i = 0; i < JOURNAL_ONLY; i++) await log.append(state(String(i)));
  // The process dies here: what came last is in the journal only.
  cpSync(home, `${home}.copy`, { recursive: true });
  await log.close();
  original = { dir: join(`${home}.copy`, 'audit'), keys: join(`${home}.copy`, 'keys') };
  return () => [home, `${home}.copy`].forEach((path) => void rmSync(path, { recursive: true }));
});

function copy(): string {
  const { dir } = newHome();
  cpSync(original.dir, dir, { recursive: true });
  return dir;
}

const flip = (path: string, at: number): void => {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] as number) ^ 1;
  writeFileSync(path, bytes);
};
const journal = (dir: string) => join(dir, 'journal', readdirSync(join(dir, 'journal'))[0] as string);
const codes = (report: VerifyReport) => report.problems.map(({ code }) => code);
const verify = (dir: string, trusted: string[] = []) => verifyAudit(dir, { vkey, trusted });

function rewrite(path: string, count: number, change: (records: Buffer[]) => Buffer[]): void {
  writeFileSync(path, encodeBundle(change(decodeBundle(readFileSync(path), count))));
}

test('the untouched log verifies, with an earlier checkpoint too', async () => {
  expect(await verify(copy(), [early])).toMatchObject({
    ok: true,
    kind: 'log',
    size: 620,
    records: 620,
    problems: [],
    openIntents: [],
  });
});

describe('one bit', () => {
  test('of a record names that record', async () => {
    const dir = copy();
    const path = join(dir, 'tile/entries/001');
    const bundle = readFileSync(path);
    flip(path, bundle.indexOf('"id":150,') + 6);
    const report = await verify(dir);
    expect(report.problems[0]).toMatchObject({ code: 'tile_mismatch', seq: 300, where: 'tile/0/001' });
  });

  test('of a leaf hash names that record', async () => {
    const dir = copy();
    flip(join(dir, 'tile/0/000'), 32 * 77 + 5);
    expect((await verify(dir)).problems).toMatchObject([{ code: 'tile_mismatch', seq: 77 }]);
  });

  test('of a higher tile names the records below it', async () => {
    const dir = copy();
    flip(join(dir, 'tile/1/000.p/2'), 32 + 3);
    expect((await verify(dir)).problems).toMatchObject([
      { code: 'tile_mismatch', seq: 256, message: expect.stringContaining('records 256 to 511') },
    ]);
  });

  test('anywhere in the checkpoint', async () => {
    const length = readFileSync(join(original.dir, 'checkpoint')).length;
    for (let at = 0; at < length; at += 7) {
      const dir = copy();
      flip(join(dir, 'checkpoint'), at);
      const report = await verify(dir);
      expect(report.ok, `byte ${at}`).toBe(false);
      expect(report.problems[0]).toMatchObject({ code: 'checkpoint_invalid', where: 'checkpoint' });
    }
  });

  test('anywhere in the journal', async () => {
    const length = readFileSync(journal(original.dir)).length;
    for (let at = 3; at < length; at += Math.floor(length / 40)) {
      const dir = copy();
      flip(journal(dir), at);
      const report = await verify(dir);
      expect(report.ok, `byte ${at}`).toBe(false);
      expect(report.problems[0]?.where).toMatch(/^journal/);
    }
  });
});

describe('records', () => {
  test('swapped', async () => {
    const dir = copy();
    rewrite(join(dir, 'tile/entries/000'), 256, ([a, b, ...rest]) => [b as Buffer, a as Buffer, ...rest]);
    const report = await verify(dir);
    expect(report.problems[0]).toMatchObject({ code: 'tile_mismatch', seq: 0 });
    expect(codes(report)).toContain('record_seq');
  });

  test('left out, put in, or with a byte after them', async () => {
    const changes: ((records: Buffer[]) => Buffer[])[] = [
      (r) => r.slice(1),
      (r) => [...r, r[0] as Buffer],
      (r) => [...r, Buffer.of()],
    ];
    for (const change of changes) {
      const dir = copy();
      rewrite(join(dir, 'tile/entries/001'), 256, change);
      expect((await verify(dir)).problems[0]).toMatchObject({
        code: 'file_malformed',
        seq: 256,
        where: 'tile/entries/001',
      });
    }
  });

  test('changed together with every hash above them: the signature is what does not fit', async () => {
    const dir = copy();
    rebuild(dir, (records) => {
      records[10] = Buffer.from((records[10] as Buffer).toString().replace('true', 'fals'));
      return records;
    });
    expect(codes(await verify(dir))).toEqual(expect.arrayContaining(['root_mismatch']));
  });

  test('rewritten and signed with another key', async () => {
    const dir = copy();
    const forger = signerFromSeed(vkey.split('+')[0] as string, Buffer.alloc(32, 1));
    rebuild(dir, (records) => records, forger);
    expect((await verify(dir)).problems[0]).toMatchObject({ code: 'checkpoint_invalid', where: 'checkpoint' });
    expect((await verifyAudit(dir, { vkey: forger.vkey })).problems[0]?.where).toMatch(/^journal/);
  });
});

/** Writes new tiles over those there, of changed records, and a checkpoint if there is somebody to sign it. */
function rebuild(
  dir: string,
  change: (records: Buffer[]) => Buffer[],
  signer?: Parameters<typeof signCheckpoint>[1],
): void {
  const records = ['000', '001', '002.p/88'].flatMap((n, i) =>
    decodeBundle(readFileSync(join(dir, 'tile/entries', n)), i === 2 ? 88 : 256),
  );
  const edge = TileEdge.empty();
  for (const record of change(records))
    for (const [path, bytes] of edge.add(record)) writeFileSync(join(dir, path), bytes);
  for (const [path, bytes] of edge.partial()) writeFileSync(join(dir, path), bytes);
  if (signer !== undefined)
    writeFileSync(join(dir, 'checkpoint'), signCheckpoint({ size: edge.size, root: edge.root() }, signer));
}

describe('what is missing', () => {
  test.each([
    ['a bundle', (dir: string) => rmSync(join(dir, 'tile/entries/001')), 'file_missing'],
    ['a leaf tile', (dir: string) => rmSync(join(dir, 'tile/0/000')), 'file_missing'],
    ['a higher tile', (dir: string) => rmSync(join(dir, 'tile/1/000.p/2')), 'file_missing'],
    ['the journal', (dir: string) => rmSync(journal(dir)), 'file_missing'],
    ['the checkpoint', (dir: string) => rmSync(join(dir, 'checkpoint')), 'journal_mismatch'],
    ['half a tile', (dir: string) => truncateSync(join(dir, 'tile/0/000'), 4096), 'file_malformed'],
    [
      'a record of the last bundle',
      (dir: string) => truncateSync(join(dir, 'tile/entries/002.p/88'), 900),
      'file_malformed',
    ],
  ] as [string, (dir: string) => void, string][])('%s', async (what, harm, code) => {
    const dir = copy();
    harm(dir);
    const report = await verify(dir, what === 'the checkpoint' ? [early] : []);
    expect(report.ok).toBe(what === 'the checkpoint' ? report.ok : false);
    if (what !== 'the checkpoint') expect(codes(report)).toContain(code);
    else expect(report).toMatchObject({ size: 620, records: 620 }); // this journal still holds it all
  });
});

describe('rollback', () => {
  test('records taken from the end of the journal show against a checkpoint kept from earlier', async () => {
    const dir = copy();
    const bytes = readFileSync(journal(dir));
    const { batches } = readBatches(bytes);
    const last = batches.at(-1);
    const cut = bytes.lastIndexOf('CAJ1');
    truncateSync(journal(dir), cut);
    expect((await verify(dir)).ok).toBe(true); // a log that ends earlier is a valid log: that is why checkpoints are kept
    expect((await verify(dir, [last?.note as string])).problems).toMatchObject([{ code: 'rollback', seq: 619 }]);
  });

  test('another history under the same key shows too, in tiles and in the journal', async () => {
    const other = { dir: newHome().dir, keys: original.keys };
    const log = await openAuditLog(other);
    for (let i = 0; i < 650; i++) log.enqueue(state(`other ${i}`));
    await log.flush();
    expect(codes(await verify(other.dir, [early]))).toEqual(['rollback']);
    await log.publish();
    expect(codes(await verify(other.dir, [early]))).toEqual(['rollback']);
    await log.close();
  });

  test('a trusted checkpoint that is forged is said to be', async () => {
    expect(codes(await verify(copy(), [early.replace('600', '601')]))).toEqual(['checkpoint_invalid']);
  });
});

describe('a writer with the key that lies', () => {
  /** A log of records as given, correctly hashed and signed. */
  function signed(records: readonly string[]): string {
    const { dir, keys } = newHome();
    cpSync(original.keys, keys, { recursive: true });
    const skey = readFileSync(join(keys, 'audit.key'), 'utf8').trim();
    const seed = Buffer.from(skey.split('+').slice(4).join('+'), 'base64').subarray(1);
    const signer = signerFromSeed(vkey.split('+')[0] as string, seed);
    const tree = extend(
      emptyFrontier,
      records.map((r) => leafHash(Buffer.from(r))),
    );
    const note = signCheckpoint({ size: tree.size, root: frontierRoot(tree) }, signer);
    cpSync(original.dir, dir, { recursive: true });
    for (const old of ['journal', 'tile', 'checkpoint']) rmSync(join(dir, old), { recursive: true });
    cpSync(join(original.dir, 'journal'), join(dir, 'journal'), { recursive: true });
    writeFileSync(
      journal(dir),
      encodeBatch(
        0,
        note,
        tree,
        records.map((r) => Buffer.from(r)),
      ),
    );
    return dir;
  }
  const event = (seq: number, more: object) => ({
    seq,
    time: '2026-01-01T00:00:00.000Z',
    run,
    principal,
    action: null,
    ...more,
    cause: null,
  });
  const plain = JSON.stringify(event(0, { type: 'run.state', resource: { from: null, to: 'x' } }));

  test.each([
    ['no JSON', 'not json', 'record_malformed'],
    ['a duplicate key', plain.replace('"seq":0', '"seq":0,"seq":0'), 'record_malformed'],
    ['white space', plain.replace(',', ', '), 'record_malformed'],
    ['an inexact number', plain.replace('"seq":0', '"seq":9007199254740993'), 'record_malformed'],
    ['an unknown type', plain.replace('run.state', 'run.stat'), 'record_malformed'],
    ['an unknown key', plain.replace('"cause":null', '"cause":null,"more":1'), 'record_malformed'],
    ['another seq', plain.replace('"seq":0', '"seq":1'), 'record_seq'],
    ['a later cause', plain.replace('"cause":null', '"cause":5'), 'cause_unknown'],
  ])('%s is reported', async (_, record, code) => {
    expect((await verify(signed([record]))).problems).toMatchObject([{ code, seq: 0 }]);
  });
  test('invalid UTF-8 is reported', async () => {
    expect(codes(await verify(signed([plain])))).toEqual([]);
  });
});

describe('intents and outcomes', () => {
  const lost = 'fedcba9876543210';

  test('each intent without an outcome is listed, and excused only when its run is alive or lost', async () => {
    const { dir, keys } = newHome();
    const log = await openAuditLog({ dir, keys });
    await log.append(started(1)); // 0: nothing excuses it
    await log.append(started(2, lost)); // 1
    const begun = await log.append({
      type: 'run.started',
      run: lost,
      principal,
      action: 'run.start',
      resource: {
        base: 'c0ffee',
        policyDigest: `sha256:${'0'.repeat(64)}`,
        toolboxDigest: null,
        driver: 'd',
        controls: [],
      },
    });
    await log.append({
      type: 'run.lost',
      run: lost,
      principal,
      action: null,
      resource: {},
      outcome: { reason: 'killed' },
      cause: begun.seq,
    });
    const report = await verifyAudit(dir, { vkey: log.vkey });
    expect(report.openIntents).toEqual([
      { seq: 0, type: 'command.started', run, excuse: null },
      { seq: 1, type: 'command.started', run: lost, excuse: 'lost' },
    ]);
    expect(report.problems).toMatchObject([{ code: 'outcome_missing', seq: 0 }]);
    expect(await verifyAudit(dir, { vkey: log.vkey, aliveRuns: new Set([run]) })).toMatchObject({ ok: true });
    await log.close();
  });

  test('outcomes of nothing, of the wrong thing, of another run, and twice', async () => {
    const { dir, keys } = newHome();
    const log = await openAuditLog({ dir, keys });
    await log.append(started(1)); // 0
    await log.append(exited(1, 0)); // 1
    await log.append(exited(1, 0)); // 2: twice
    await log.append(exited(1, 1)); // 3: of an outcome
    await log.append({ ...exited(1, 0), cause: null }); // 4: of nothing
    await log.append(started(5)); // 5
    await log.append(exited(5, 5, lost)); // 6: of another run
    await log.close();
    const report = await verifyAudit(dir, { vkey: log.vkey });
    expect(report.problems.map(({ code, seq }) => [code, seq])).toEqual([
      ['outcome_twice', 2],
      ['cause_wrong', 3],
      ['cause_unknown', 4],
      ['outcome_missing', 5],
      ['cause_wrong', 6],
    ]);
  });

  test('a run that was lost before it started names no cause, and excuses what it had open', async () => {
    const { dir, keys } = newHome();
    const log = await openAuditLog({ dir, keys });
    await log.append(started(1, lost));
    await log.append({
      type: 'run.lost',
      run: lost,
      principal,
      action: null,
      resource: {},
      outcome: { reason: 'killed' },
    });
    await log.close();
    await log.close();
    const openIntents = [{ seq: 0, type: 'command.started', run: lost, excuse: 'lost' }];
    expect(await verifyAudit(dir, { vkey: log.vkey })).toMatchObject({ ok: true, openIntents });
  });

  test('threads find what one thread finds', async () => {
    const dir = copy();
    flip(join(dir, 'tile/0/001'), 5);
    rmSync(join(dir, 'tile/1/000.p/2'));
    const options = { vkey, trusted: [early] };
    const [alone, together] = [
      await verifyAudit(dir, { ...options, threads: 0 }),
      await verifyAudit(dir, { ...options, threads: 2 }),
    ];
    expect(together).toEqual(alone);
    expect(alone.problems).toHaveLength(2);
  });

  test('a denied intent needs no outcome', async () => {
    const { dir, keys } = newHome();
    const log = await openAuditLog({ dir, keys });
    const digest = `sha256:${'0'.repeat(64)}`;
    await log.append({
      ...started(1),
      decision: { effect: 'deny', rules: [], policyDigest: digest, subjectDigest: digest, reason: 'r' },
    } as ReturnType<typeof started>);
    await log.close();
    expect(await verifyAudit(dir, { vkey: log.vkey })).toMatchObject({ ok: true, openIntents: [] });
  });
});

describe('hostile files do not harm the verifier', () => {
  test('links and other things in place of files', async () => {
    const dir = copy();
    renameSync(join(dir, 'tile/entries/000'), join(dir, 'elsewhere'));
    symlinkSync(join(dir, 'elsewhere'), join(dir, 'tile/entries/000'));
    expect((await verify(dir)).problems[0]).toMatchObject({ code: 'file_malformed', seq: 0 });
  });

  test('a signed size that nothing backs ends at the first missing bundle', async () => {
    const dir = copy();
    const liar = signerFromSeed('cordon/liar', Buffer.alloc(32, 9));
    writeFileSync(
      join(dir, 'checkpoint'),
      signCheckpoint({ size: Number.MAX_SAFE_INTEGER, root: Buffer.alloc(32) }, liar),
    );
    rmSync(join(dir, 'tile/entries/002.p'), { recursive: true });
    const report = await verifyAudit(dir, { vkey: liar.vkey, threads: 1 });
    expect(report.problems.find(({ code }) => code === 'file_missing')).toMatchObject({ seq: 512 });
  });
});

test('a batch in the middle that is none inside, with the checksum mended: reading and publishing refuse, and verify names it', async () => {
  const dir = copy();
  const path = journal(dir);
  const bytes = readFileSync(path);
  const { batches } = readBatches(bytes);
  const wanted = batches.length - 5;
  let at = 0;
  for (let i = 0; i < wanted; i++) at = batchEnd(bytes, at) as number;
  const end = batchEnd(bytes, at) as number;
  bytes.writeUInt16BE(bytes.readUInt16BE(at + 22) + 1, at + 22); // the length of its note
  bytes.writeUInt32BE(crc32(bytes.subarray(at + 12, end)), at + 8);
  writeFileSync(path, bytes);
  const first = batches[wanted]?.first as number;
  expect(() => [...readEvents(dir)]).toThrow(`has lost record ${first}`);
  expect((await verify(dir)).problems[0]).toMatchObject({ code: 'journal_damaged', seq: first });
  const log = await openAuditLog({ dir, keys: original.keys });
  await expect(log.publish()).rejects.toThrow(`records from ${first} on do not fit`);
  await log.close().catch(() => {});
});
