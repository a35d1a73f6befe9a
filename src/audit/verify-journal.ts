import { statSync } from 'node:fs';
import { join } from 'node:path';
import { FileLock } from '../base/file-lock.ts';
import { summarise } from './bundle-check.ts';
import { NoteError, openCheckpoint, type Verifier } from './checkpoint.ts';
import { type Batch, batchAfter, readBatches, segmentName } from './journal.ts';
import { listSegments, MAX_SEGMENT, paths, readBounded } from './layout.ts';
import { emptyFrontier, extend, type Frontier, frontierRoot, leafHash } from './merkle.ts';
import { checkRecord } from './record-check.ts';
import type { Findings, Recomputed } from './verify-state.ts';
import type { Signed } from './verify-tree.ts';

export interface JournalInput {
  readonly dir: string;
  readonly verifier: Verifier;
  readonly tree: Recomputed;
  readonly published: Signed | null;
  readonly findings: Findings;
  readonly trusted: readonly Signed[];
}

/**
 * Verifies the journal of a live log: every batch's own signed checkpoint, its records against the tiles where both hold
 * them, and the records beyond the tiles. Returns how far the log goes.
 */
export async function verifyJournal(input: JournalInput): Promise<{ size: number; note: string | null }> {
  const { dir, published, findings, tree } = input;
  const size = published?.size ?? 0;
  const segments = await listDurable(dir);
  const first = segments[0]?.first ?? size;
  const start = first === 0 ? emptyFrontier : tree.frontier(first);
  const where = join(paths.journal, segmentName(first));
  if (segments.length === 0) {
    if (size > 0)
      findings.problem(
        'file_missing',
        size,
        paths.journal,
        'the journal is missing: what came after the published records is lost',
      );
    return { size, note: published?.note ?? null };
  }
  if (start === null) {
    findings.problem(
      'journal_mismatch',
      size,
      where,
      `the journal begins at record ${first}, and the records before it cannot be recomputed`,
    );
    return { size, note: published?.note ?? null };
  }
  const check = new JournalCheck(input, start);
  for (const [i, segment] of segments.entries()) {
    if (!check.segment(segment.first, segment.bytes, i === segments.length - 1)) break;
  }
  if (check.size < size) {
    findings.problem(
      'journal_mismatch',
      check.size,
      paths.journal,
      `the journal ends at record ${check.size}, ${size} records are published`,
    );
  }
  return check.size >= size && check.note !== null
    ? { size: check.size, note: check.note }
    : { size, note: published?.note ?? null };
}

/** What is durable right now: nobody is in the middle of a write while the lock is held. */
async function listDurable(dir: string): Promise<{ first: number; bytes: number }[]> {
  let lock: FileLock | null = null;
  try {
    lock = new FileLock(join(dir, paths.lock), undefined, 'existing');
  } catch {
    // A copy of a log may have come without its lock; nobody writes to it.
  }
  try {
    await lock?.acquire(30_000);
    const journal = join(dir, paths.journal);
    return listSegments(journal).map((first) => ({ first, bytes: statSync(join(journal, segmentName(first))).size }));
  } finally {
    lock?.close();
  }
}

class JournalCheck {
  readonly #input: JournalInput;
  #tree: Frontier;
  #note: string | null = null;

  constructor(input: JournalInput, start: Frontier) {
    this.#input = input;
    this.#tree = start;
  }

  get size(): number {
    return this.#tree.size;
  }

  get note(): string | null {
    return this.#note;
  }

  /** False when there is no use in going on. */
  segment(first: number, length: number, last: boolean): boolean {
    const { dir, findings } = this.#input;
    const where = join(paths.journal, segmentName(first));
    if (first !== this.size)
      return this.#stop('journal_mismatch', where, `${where} begins at record ${first} where ${this.size} is due`);
    let bytes: Buffer | null;
    try {
      bytes = readBounded(join(dir, where), MAX_SEGMENT);
    } catch (error) {
      return this.#stop('file_malformed', where, `${where} cannot be read: ${(error as Error).message}`);
    }
    if (bytes === null) return this.#stop('file_missing', where, `${where} is missing`);
    const { batches, end } = readBatches(bytes.subarray(0, length));
    for (const batch of batches) if (!this.#batch(batch, where)) return false;
    if (end === Math.min(length, bytes.length)) return true;
    const rest = length - end;
    if (last && batchAfter(bytes.subarray(0, length), end) === null) {
      findings.problem(
        'journal_torn',
        this.size,
        where,
        `${where}: after record ${this.size - 1}, at byte ${end}, stand ${rest} bytes that are no whole batch: a write cut short by a crash (the next writer removes and records it), or tampering`,
      );
      return false;
    }
    return this.#stop('journal_damaged', where, `${where} is damaged at byte ${end}, after record ${this.size - 1}`);
  }

  #stop(
    code: 'journal_mismatch' | 'journal_damaged' | 'file_malformed' | 'file_missing',
    where: string,
    message: string,
  ): false {
    this.#input.findings.problem(code, this.size, where, message);
    return false;
  }

  #batch(batch: Batch, where: string): boolean {
    const { tree, published, findings } = this.#input;
    if (batch.first !== this.size)
      return this.#stop(
        'journal_mismatch',
        where,
        `${where} goes on with record ${batch.first} where ${this.size} is due`,
      );
    batch.records.forEach((record, i) => {
      const seq = batch.first + i;
      const leaf = leafHash(record);
      this.#tree = extend(this.#tree, [leaf]);
      this.#compareTrusted();
      const check = checkRecord(Buffer.from(record), seq);
      if (!check.ok) findings.problem(check.code, seq, where, `record ${seq} ${check.message}`);
      if (seq >= (published?.size ?? 0)) {
        if (check.ok) findings.record(summarise(check.event), check.event.time);
      } else if (Buffer.compare(leaf, tree.leaf(seq) ?? Buffer.alloc(0)) !== 0) {
        findings.problem('journal_mismatch', seq, where, `record ${seq} in ${where} is not the one in the tiles`);
      }
    });
    return this.#compareNote(batch, where);
  }

  #compareNote(batch: Batch, where: string): boolean {
    const last = this.size - 1;
    const range = `records ${batch.first} to ${last}`;
    try {
      const signed = openCheckpoint(batch.note, this.#input.verifier);
      if (signed.size !== this.size || Buffer.compare(signed.root, frontierRoot(this.#tree)) !== 0) {
        this.#input.findings.problem(
          'root_mismatch',
          batch.first,
          where,
          `${range} in ${where} do not make the root that their checkpoint is signed for`,
        );
        return false;
      }
      if (this.#tree.peaks.some((peak, i) => Buffer.compare(peak, batch.peaks[i] ?? Buffer.alloc(0)) !== 0)) {
        return this.#stop(
          'journal_damaged',
          where,
          `the subtree roots after ${range} in ${where} are not those of the tree`,
        );
      }
    } catch (error) {
      if (!(error instanceof NoteError)) throw error;
      this.#input.findings.problem(
        'checkpoint_invalid',
        batch.first,
        where,
        `the checkpoint of ${range} in ${where} cannot be used: ${error.message}`,
      );
      return false;
    }
    this.#note = batch.note;
    return true;
  }

  /** A checkpoint that was kept from earlier may have been made anywhere in the journal. */
  #compareTrusted(): void {
    const { trusted, published, findings } = this.#input;
    if (this.size <= (published?.size ?? 0)) return;
    for (const { size, root } of trusted) {
      if (size !== this.size || Buffer.compare(root, frontierRoot(this.#tree)) === 0) continue;
      findings.problem(
        'rollback',
        null,
        'trusted checkpoint',
        `the first ${size} records are not those of an earlier checkpoint: history was rewritten`,
      );
    }
  }
}
