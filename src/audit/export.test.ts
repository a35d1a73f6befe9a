import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { exited, newHome, run, started, state } from '../../test/fakes/audit-home.ts';
import { AuditInvalidError, ConflictError, NotFoundError } from '../base/errors.ts';
import { exportAudit } from './export.ts';
import { openAuditLog } from './log.ts';
import { parseProof, proveRecord, verifyProof } from './proof.ts';
import { verifyAudit } from './verify.ts';

const other = 'fedcba9876543210';

/** Two runs side by side; some records in tiles, the last ones in the journal only. */
async function filled(published = 300, more = 10) {
  const home = newHome();
  const log = await openAuditLog(home);
  for (let i = 0; i < published / 2; i++)
    log.enqueue(exited(i, log.enqueue(started(i, i % 3 ? other : run)), i % 3 ? other : run));
  await log.flush();
  const early = log.checkpoint() as string;
  await log.publish();
  for (let i = 0; i < more; i++) await log.append(state(String(i)));
  return { ...home, log, early, vkey: log.vkey, out: join(home.dir, '..', 'out') };
}

describe('proofs', () => {
  test('of any record hold with nothing but the document and the key', async () => {
    const { dir, vkey, log } = await filled();
    for (const seq of [0, 1, 255, 256, 299, 300, 309]) {
      const text = JSON.stringify(await proveRecord(dir, vkey, seq));
      const { event, size } = verifyProof(parseProof(text), vkey);
      expect([event.seq, size]).toEqual([seq, 310]);
    }
    await expect(proveRecord(dir, vkey, 310)).rejects.toThrow(NotFoundError);
    await log.close();
  });

  test('that were changed do not', async () => {
    const { dir, vkey, log, out } = await filled();
    const proof = await proveRecord(dir, vkey, 7);
    const wrong = [
      { ...proof, seq: 8 },
      { ...proof, record: proof.record.replace('true', 'fals') },
      { ...proof, proof: proof.proof.slice(1) },
      { ...proof, proof: proof.proof.with(0, proof.proof[1] as string) },
      { ...proof, checkpoint: proof.checkpoint.replace('310', '311') },
    ];
    for (const each of wrong) expect(() => verifyProof(each, vkey)).toThrow(AuditInvalidError);
    expect(() => parseProof(`{"seq":7,${JSON.stringify(proof).slice(1)}`)).toThrow(AuditInvalidError);
    writeFileSync(out, JSON.stringify(proof, null, 2));
    expect(await verifyAudit(out, { vkey })).toMatchObject({ ok: true, kind: 'proof', records: 1 });
    writeFileSync(out, JSON.stringify(wrong[1]));
    expect((await verifyAudit(out, { vkey })).problems).toMatchObject([{ code: 'proof_invalid' }]);
    await log.close();
  });

  test('cannot be made from files that were changed', async () => {
    const { dir, vkey, log } = await filled();
    writeFileSync(join(dir, 'tile/0/000'), Buffer.alloc(8192));
    await expect(proveRecord(dir, vkey, 7)).rejects.toThrow(AuditInvalidError);
    await log.close().catch(() => {});
  });
});

describe('exports', () => {
  test('of the whole log verify, as a file and as tiles', async () => {
    const { dir, vkey, log, out, early } = await filled();
    expect(await exportAudit({ dir, vkey, out })).toMatchObject({ records: 310, from: 0, to: 309 });
    expect(await verifyAudit(out, { vkey, trusted: [early] })).toMatchObject({
      ok: true,
      kind: 'export',
      size: 310,
      records: 310,
    });
    expect(await exportAudit({ dir, vkey, out: `${out}.d`, as: 'folder' })).toMatchObject({ records: 310 });
    expect(await verifyAudit(`${out}.d`, { vkey, trusted: [early] })).toMatchObject({
      ok: true,
      kind: 'export',
      records: 310,
    });
    await expect(exportAudit({ dir, vkey, out })).rejects.toThrow(ConflictError);
    await log.close();
  });

  test('of one run hold its records with a proof each', async () => {
    const { dir, vkey, log, out } = await filled();
    const exported = await exportAudit({ dir, vkey, out, run: other });
    const report = await verifyAudit(out, { vkey });
    expect(report).toMatchObject({ ok: true, kind: 'run', size: 310, records: exported.records });
    expect(exported.records).toBe(200);
    await expect(exportAudit({ dir, vkey, out: `${out}2`, run: '0000000000000000' })).rejects.toThrow(NotFoundError);
    expect(existsSync(`${out}2`)).toBe(false);
    await log.close();
  });

  test.each([
    [
      'a changed record',
      (lines: string[]) => lines.with(5, (lines[5] as string).replace('true', 'fals')),
      { log: 'root_mismatch', run: 'proof_invalid' },
    ],
    ['a missing line', (lines: string[]) => lines.toSpliced(5, 1), { log: 'record_seq', run: 'file_malformed' }],
    [
      'two lines swapped',
      (lines: string[]) => lines.with(5, lines[6] as string).with(6, lines[5] as string),
      { log: 'record_seq', run: 'record_seq' },
    ],
    ['a missing end', (lines: string[]) => lines.slice(0, -3), { log: 'file_malformed', run: 'file_malformed' }],
    [
      'a line of something else',
      (lines: string[]) => lines.with(5, '{}'),
      { log: 'file_malformed', run: 'file_malformed' },
    ],
    [
      'a duplicate key',
      (lines: string[]) => lines.with(5, (lines[5] as string).replace('{', '{"seq":4,')),
      { log: 'file_malformed', run: 'file_malformed' },
    ],
    [
      'another checkpoint',
      (lines: string[]) => lines.with(0, (lines[0] as string).replace('\\n310\\n', '\\n309\\n')),
      { log: 'checkpoint_invalid', run: 'checkpoint_invalid' },
    ],
  ])('%s is reported', async (_, change, expected) => {
    const { dir, vkey, log, out } = await filled(20, 2).then((f) => f);
    await log.close();
    for (const kind of ['log', 'run'] as const) {
      const path = `${out}.${kind}`;
      await exportAudit({ dir, vkey, out: path, ...(kind === 'run' ? { run: other } : {}) });
      const lines = readFileSync(path, 'utf8').replaceAll('\\n22\\n', '\\n310\\n').trimEnd().split('\n');
      const [header] = readFileSync(path, 'utf8').split('\n');
      const changed = change(lines);
      if (changed[0] === lines[0]) changed[0] = header as string;
      writeFileSync(path, `${changed.join('\n')}\n`);
      const report = await verifyAudit(path, { vkey });
      expect(report.ok).toBe(false);
      expect(report.problems.map(({ code }) => code)).toContain(expected[kind]);
    }
  });

  test('a run cannot be passed off as another, nor a run as the whole log', async () => {
    const { dir, vkey, log, out } = await filled();
    await exportAudit({ dir, vkey, out, run: other });
    const text = readFileSync(out, 'utf8');
    writeFileSync(out, text.replace(other, run));
    expect((await verifyAudit(out, { vkey })).ok).toBe(false);
    writeFileSync(out, text.replace('"kind":"run"', '"kind":"log"'));
    expect((await verifyAudit(out, { vkey })).ok).toBe(false);
    await log.close();
  });

  test('something else altogether is refused, whatever its size', async () => {
    const { vkey, log, out } = await filled(2, 0);
    for (const text of [
      '',
      '\n',
      '{}',
      'x'.repeat(3_000_000),
      '{"format":"cordon-audit-export/1"}',
      '[1,2',
      '\0\0\0',
    ]) {
      writeFileSync(out, text);
      expect((await verifyAudit(out, { vkey })).ok).toBe(false);
    }
    await expect(verifyAudit(`${out}.none`, { vkey })).rejects.toThrow(NotFoundError);
    await expect(verifyAudit(out, { vkey: 'x' })).rejects.toThrow(AuditInvalidError);
    await log.close();
  });
});
