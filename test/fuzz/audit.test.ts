import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exportAudit } from '../../src/audit/export.ts';
import { openAuditLog } from '../../src/audit/log.ts';
import { proveRecord } from '../../src/audit/proof.ts';
import { verifyAudit } from '../../src/audit/verify.ts';
import { exited, started } from '../fakes/audit-events.ts';

/**
 * Whatever bytes stand in the files of a log, an export or a proof, the verifier reports and does not throw; and what
 * was changed in any file does not pass for the truth.
 */
let home: string;
let vkey: string;
let files: Record<string, Buffer>;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'cordon-fuzz-'));
  const log = await openAuditLog({ dir: join(home, 'audit'), keys: join(home, 'keys') });
  vkey = log.vkey;
  for (let i = 0; i < 140; i++) log.enqueue(exited(i, log.enqueue(started(i))));
  await log.close();
  await exportAudit({ dir: log.dir, vkey, out: join(home, 'export') });
  await exportAudit({ dir: log.dir, vkey, out: join(home, 'run'), run: '0123456789abcdef' });
  writeFileSync(join(home, 'proof'), JSON.stringify(await proveRecord(log.dir, vkey, 9)));
  const names = [
    'checkpoint',
    'journal/0000000000000000',
    'tile/0/000',
    'tile/0/001.p/24',
    'tile/1/000.p/1',
    'tile/entries/000',
    'tile/entries/001.p/24',
  ];
  files = Object.fromEntries(
    [...names.map((name) => `audit/${name}`), 'export', 'run', 'proof'].map((name) => [
      name,
      readFileSync(join(home, name)),
    ]),
  );
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

type Change = (bytes: Buffer) => Buffer;
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ at: fc.nat(), bit: fc.nat(7) }).map(
    ({ at, bit }): Change =>
      (bytes) => {
        const changed = Buffer.from(bytes);
        const place = at % changed.length;
        changed[place] = (changed[place] as number) ^ (1 << bit);
        return changed;
      },
  ),
  fc.nat().map(
    (at): Change =>
      (bytes) =>
        bytes.subarray(0, at % bytes.length),
  ),
  fc.uint8Array({ minLength: 1, maxLength: 64 }).map(
    (more): Change =>
      (bytes) =>
        Buffer.concat([bytes, more]),
  ),
  fc.record({ at: fc.nat(), put: fc.uint8Array({ minLength: 1, maxLength: 16 }) }).map(
    ({ at, put }): Change =>
      (bytes) => {
        const place = at % bytes.length;
        return Buffer.concat([bytes.subarray(0, place), put, bytes.subarray(place)]);
      },
  ),
  fc.uint8Array({ maxLength: 200 }).map(
    (bytes): Change =>
      () =>
        Buffer.from(bytes),
  ),
);

test('no change to any file passes, and none makes the verifier throw', async () => {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.nat(9), change, async (which, change) => {
      const name = Object.keys(files)[which] as string;
      const original = files[name] as Buffer;
      const changed = change(original);
      fc.pre(!changed.equals(original) && !meansTheSame(name, original, changed));
      seen.add(name);
      writeFileSync(join(home, name), changed);
      try {
        const report = await verifyAudit(name.startsWith('audit/') ? join(home, 'audit') : join(home, name), { vkey });
        expect(report.ok).toBe(false);
        expect(report.problems.length).toBeGreaterThan(0);
      } finally {
        writeFileSync(join(home, name), original);
      }
    }),
    { seed: 20_261_122, numRuns: 300 },
  );
  expect(seen.size).toBe(Object.keys(files).length);
});

/** White space around JSON changes nothing that is said; a line end within it neither, but where each line is a JSON of its own. */
function meansTheSame(name: string, original: Buffer, changed: Buffer): boolean {
  if (name.startsWith('audit/')) return false;
  const lines = (bytes: Buffer) => {
    try {
      return JSON.stringify(
        (name === 'proof' ? [bytes.toString()] : bytes.toString().trimEnd().split('\n')).map(
          (text) => JSON.parse(text) as unknown,
        ),
      );
    } catch {
      return null;
    }
  };
  return lines(changed) !== null && lines(changed) === lines(original);
}
