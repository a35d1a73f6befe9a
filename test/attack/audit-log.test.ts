/** Tampering with the log of a real run. Every case first verifies the untouched copy, which must hold. */
import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signCheckpoint, signerFromSeed } from '../../src/audit/checkpoint.ts';
import { emptyFrontier, extend, frontierRoot, leafHash } from '../../src/audit/merkle.ts';
import type { VerifyReport } from '../../src/audit/problem.ts';
import { decodeBundle, encodeBundle } from '../../src/audit/tiles.ts';
import { verifyAudit } from '../../src/audit/verify.ts';
import { Installation, Project } from '../fakes/project.ts';

const installation = new Installation();
let vkey: string;
let early: string;
let count = 0;

beforeAll(() => {
  const project = new Project(join(installation.root, 'project')).write('a', 'x\n').commit();
  const first = installation.run(project, 'true', '--deliver', 'none');
  expect(first.status).toBe(0);
  early = first.result.auditCheckpoint;
  expect(installation.run(project, 'echo changed > a; cat a; ls').status).toBe(0);
  vkey = readFileSync(join(installation.home, 'keys/audit.vkey'), 'utf8').trim();
});
afterAll(() => installation.dispose());

const verify = (dir: string, trusted: string[] = []): Promise<VerifyReport> => verifyAudit(dir, { vkey, trusted });

/** A copy of the log, as an attacker with the whole disk has it. */
async function copy(): Promise<string> {
  const dir = join(installation.root, `copy-${++count}`);
  cpSync(join(installation.home, 'audit'), dir, { recursive: true });
  expect(await verify(dir, [early])).toMatchObject({ ok: true, problems: [], openIntents: [] });
  return dir;
}

const numberOf = (path: string) => Number(/(\d+)$/.exec(path)?.[1] ?? 0);

/** Files of a part of the log, the newest partial tile last: older ones stay beside it. */
const files = (dir: string, part: string) =>
  readdirSync(join(dir, part), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort((a, b) => numberOf(a) - numberOf(b));

function bundle(dir: string): { path: string; records: Buffer[] } {
  const path = files(dir, 'tile/entries').at(-1) as string;
  return { path, records: decodeBundle(readFileSync(path), numberOf(path)) };
}

/** Rewrites the records, and with them nothing else. */
async function rewritten(change: (records: Buffer[]) => Buffer[]): Promise<VerifyReport> {
  const dir = await copy();
  const { path, records } = bundle(dir);
  writeFileSync(path, encodeBundle(change(records)));
  return verify(dir, [early]);
}

const codes = (report: VerifyReport) => report.problems.map((problem) => problem.code);

describe('a record', () => {
  test.each([
    ['what ran', '"argv":["', '"argv":["x'],
    ['who asked for it', '"principal":{"id":"', '"principal":{"id":"x'],
    ['what was decided', '"effect":"permit"', '"effect":"denied"'],
    ['when', '"time":"2', '"time":"1'],
  ])('edited to say something else of %s is found, and named', async (_, from, to) => {
    let at = -1;
    const report = await rewritten((records) => {
      at = records.findIndex((record) => record.includes(from));
      return records.map((record, i) => (i === at ? Buffer.from(record.toString().replace(from, to)) : record));
    });
    expect(at).toBeGreaterThanOrEqual(0);
    expect(report.ok).toBe(false);
    expect(report.problems[0]?.seq).toBe(at);
  });

  test('with one bit flipped is named, whichever it is', async () => {
    const { records } = bundle(await copy());
    for (let at = 0; at < records.length; at += 3) {
      const report = await rewritten((all) =>
        all.map((record, i) => {
          if (i === at) record[record.length >> 1] = (record[record.length >> 1] as number) ^ 1;
          return record;
        }),
      );
      expect(report.problems.find((problem) => problem.code === 'tile_mismatch')?.seq).toBe(at);
    }
  });

  test.each([
    ['taken out of the middle', (r: Buffer[]) => r.filter((_, i) => i !== 3)],
    ['put in', (r: Buffer[]) => [...r.slice(0, 3), r[2] as Buffer, ...r.slice(3)]],
    ['taken off the end', (r: Buffer[]) => r.slice(0, -1)],
    ['put in another order', (r: Buffer[]) => [r[0], r[2], r[1], ...r.slice(3)] as Buffer[]],
    ['in the place of another', (r: Buffer[]) => r.map((x, i) => (i === 4 ? (r[5] as Buffer) : x))],
  ])('%s is found', async (_, change) => {
    expect((await rewritten(change)).ok).toBe(false);
  });
});

describe('the tree', () => {
  test('a hash of it', async () => {
    const dir = await copy();
    const path = files(dir, 'tile/0').at(-1) as string;
    const bytes = readFileSync(path);
    bytes[70] = (bytes[70] as number) ^ 1;
    writeFileSync(path, bytes);
    expect((await verify(dir)).problems).toMatchObject([{ code: 'tile_mismatch', seq: 2 }]);
  });

  test('a tile taken away', async () => {
    const dir = await copy();
    for (const path of files(dir, 'tile/0')) rmSync(path);
    expect(codes(await verify(dir))).toContain('file_missing');
  });

  test('everything recomputed and signed with another key', async () => {
    const dir = await copy();
    const { path, records } = bundle(dir);
    const forged = records.map((r) => Buffer.from(r.toString().replace('"permit"', '"denied"')));
    writeFileSync(path, encodeBundle(forged));
    const tree = forged.reduce((frontier, record) => extend(frontier, [leafHash(record)]), emptyFrontier);
    writeFileSync(files(dir, 'tile/0').at(-1) as string, Buffer.concat(forged.map(leafHash)));
    const name = vkey.split('+')[0] as string;
    writeFileSync(
      join(dir, 'checkpoint'),
      signCheckpoint({ size: forged.length, root: frontierRoot(tree) }, signerFromSeed(name, Buffer.alloc(32, 7))),
    );
    expect((await verify(dir)).problems[0]).toMatchObject({ code: 'checkpoint_invalid' });
  });

  test('rolled back to an earlier state, signed by the right key: an earlier checkpoint tells', async () => {
    const dir = await copy();
    const late = readFileSync(join(dir, 'checkpoint'), 'utf8');
    const size = Number(early.split('\n')[1]);
    const { path, records } = bundle(dir);
    rmSync(path);
    writeFileSync(join(path, '..', String(size)), encodeBundle(records.slice(0, size)));
    const leaf = files(dir, 'tile/0').at(-1) as string;
    const hashes = readFileSync(leaf).subarray(0, 32 * size);
    rmSync(leaf);
    writeFileSync(join(leaf, '..', String(size)), hashes);
    rmSync(join(dir, 'journal'), { recursive: true });
    writeFileSync(join(dir, 'checkpoint'), early);
    expect((await verify(dir)).ok, 'by itself it is a log that holds').toBe(true);
    expect((await verify(dir, [late])).problems[0]).toMatchObject({ code: 'rollback' });
  });
});

describe('the journal and what was kept', () => {
  test('a journal cut off, or with a byte changed, is found', async () => {
    const dir = await copy();
    const [segment] = files(dir, 'journal');
    const bytes = readFileSync(segment as string);
    if (bytes.length < 10) return; // everything is in the tiles already
    truncateSync(segment as string, bytes.length - 5);
    expect((await verify(dir)).ok).toBe(false);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
    writeFileSync(segment as string, bytes);
    expect((await verify(dir)).ok).toBe(false);
  });

  test('the output of the agent, kept beside the tree, cannot be exchanged', async () => {
    const report = JSON.parse(installation.cordon('runs', 'list', '--json').stdout) as unknown;
    const [run] = (Array.isArray(report) ? report : (report as { runs: unknown[] }).runs) as {
      id?: string;
      runId?: string;
    }[];
    const id = run?.id ?? run?.runId ?? '';
    expect(installation.cordon('runs', 'logs', id).stdout).toContain('changed');
    for (const path of files(installation.home, 'audit/content')) {
      const bytes = readFileSync(path);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
      writeFileSync(path, bytes);
    }
    const shown = installation.cordon('runs', 'logs', id);
    expect(shown.status).not.toBe(0);
    expect(shown.stdout).not.toContain('changed');
  });
});
