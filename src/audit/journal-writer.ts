import { fstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { digest } from '../base/digest.ts';
import { AuditUnavailableError } from '../base/errors.ts';
import { NoteError, openCheckpoint, type Signer, signCheckpoint } from './checkpoint.ts';
import type { Disk, DiskFile } from './disk.ts';
import { type Batch, batchAfter, decodeBatch, encodeBatch, scanBatches, segmentName } from './journal.ts';
import { listSegments, MAX_SEGMENT, paths, readRest } from './layout.ts';
import { emptyFrontier, extend, type Frontier, frontierRoot, leafHash } from './merkle.ts';

/** A new segment is begun when the last has this many bytes: bounds what opening has to read. */
export const SEGMENT_BYTES = 1024 * 1024;

/** A torn batch that was thrown away; it had never been acknowledged. */
export interface Recovered {
  readonly segment: string;
  readonly offset: number;
  readonly discardedBytes: number;
  readonly discardedDigest: string;
}

interface Segment {
  readonly first: number;
  readonly path: string;
  readonly file: DiskFile;
}

function unavailable(message: string, cause?: unknown): AuditUnavailableError {
  return new AuditUnavailableError(message, {
    cause,
    remedy: 'nothing was recorded after that; run "cordon audit verify" to see what is left',
  });
}

/**
 * The writing end of the journal. Every method is called with the log's lock held: other processes write to the same
 * files between two calls of `refresh`. After any rejection this object must not be used again.
 */
export class JournalWriter {
  readonly #dir: string;
  readonly #disk: Disk;
  readonly #signer: Signer;
  readonly #segmentBytes: number;
  #segment: Segment | null = null;
  /** Bytes of the segment that are whole batches. */
  #end = 0;
  #tree: Frontier = emptyFrontier;
  #note: string | null = null;

  constructor(dir: string, disk: Disk, signer: Signer, segmentBytes = SEGMENT_BYTES) {
    this.#segmentBytes = segmentBytes;
    this.#dir = join(dir, paths.journal);
    this.#disk = disk;
    this.#signer = signer;
  }

  get tree(): Frontier {
    return this.#tree;
  }

  /** The signed checkpoint of the last batch; null in an empty log. */
  get note(): string | null {
    return this.#note;
  }

  /** The first seq of the segment that is written to. */
  get segmentFirst(): number {
    return this.#segment?.first ?? 0;
  }

  /**
   * Takes in what other processes wrote, and removes what one of them left half written.
   * Throws `AuditUnavailableError` when the files are not a continuation of what was there before.
   */
  async refresh(): Promise<Recovered | null> {
    const last = listSegments(this.#dir).at(-1);
    const ours = this.#segment;
    if (ours !== null && (last === undefined || last < ours.first))
      throw unavailable(`the audit log's file ${ours.path} was deleted`);
    if (last === undefined) return null;
    if (ours?.first === last) {
      const [fd, there] = [fstatSync(ours.file.fd), statSync(ours.path, { throwIfNoEntry: false })];
      if (fd.nlink === 0 || there?.ino !== fd.ino || there.dev !== fd.dev)
        throw unavailable(`the audit log's file ${ours.path} was replaced`);
      if (fd.size < this.#end)
        throw unavailable(`the audit log's file ${ours.path} was cut from ${this.#end} to ${fd.size} bytes`);
      return fd.size === this.#end ? null : this.#absorb(ours);
    }
    return this.#enter(last);
  }

  /** Goes to a segment that another process (or an earlier one) began. */
  async #enter(first: number): Promise<Recovered | null> {
    const path = join(this.#dir, segmentName(first));
    const file = await this.#disk.open(path);
    await this.#segment?.file.close();
    this.#segment = { first, path, file };
    this.#end = 0;
    const recovered = await this.#absorb(this.#segment);
    if (this.#end > 0) return recovered;
    // The writer died before its first batch here was whole: the segment never was. The one before it goes on.
    await file.close();
    await this.#disk.unlink(path);
    await this.#disk.syncFolder(this.#dir);
    this.#segment = null;
    const before = listSegments(this.#dir).at(-1);
    if (before === undefined) {
      if (first > 0)
        throw unavailable(`the audit log's file ${path} holds no whole batch, and what came before it is gone`);
      return recovered;
    }
    return (await this.#enter(before)) ?? recovered;
  }

  async #absorb(segment: Segment): Promise<Recovered | null> {
    const bytes = this.#read(segment);
    const { places, end } = scanBatches(bytes);
    let next = this.#end === 0 ? segment.first : this.#tree.size;
    for (const { first, count } of places) {
      if (first !== next) throw unavailable(`${segment.path} goes on with record ${first} where ${next} is due`);
      next += count;
    }
    const last = places.at(-1);
    const batch = last === undefined ? null : decodeBatch(bytes, last.at, last.end);
    if (last !== undefined && batch === null) {
      throw unavailable(`${segment.path} is damaged at byte ${this.#end + last.at}: a batch does not fit its header`);
    }
    if (batch !== null) this.#adopt(segment, batch, next);
    this.#end += end;
    return end === bytes.length ? null : this.#discard(segment, bytes.subarray(end));
  }

  #read(segment: Segment): Buffer {
    try {
      return readRest(segment.file.fd, segment.path, MAX_SEGMENT, this.#end);
    } catch (cause) {
      throw unavailable(`the audit log's file ${segment.path} cannot be read: ${(cause as Error).message}`, cause);
    }
  }

  /** The last batch says where the tree stands; its signature says that we (or a process with our key) wrote it. */
  #adopt(segment: Segment, batch: Batch, size: number): void {
    const tree = { size, peaks: batch.peaks.map((peak) => Buffer.from(peak)) };
    if (size < this.#tree.size)
      throw unavailable(`${segment.path} goes back to record ${size} after ${this.#tree.size}`);
    try {
      const signed = openCheckpoint(batch.note, this.#signer);
      if (signed.size !== size || Buffer.compare(signed.root, frontierRoot(tree)) !== 0) {
        throw new NoteError(`it is for another tree of ${signed.size} records`);
      }
    } catch (cause) {
      if (!(cause instanceof NoteError)) throw cause;
      throw unavailable(
        `the checkpoint after record ${size - 1} in ${segment.path} does not fit: ${cause.message}`,
        cause,
      );
    }
    this.#tree = tree;
    this.#note = batch.note;
  }

  async #discard(segment: Segment, torn: Buffer): Promise<Recovered> {
    const whole = batchAfter(torn, 0);
    if (whole !== null) {
      throw unavailable(
        `${segment.path} is damaged at byte ${this.#end}: a whole batch follows at byte ${this.#end + whole}`,
      );
    }
    await segment.file.truncate(this.#end);
    await segment.file.datasync();
    return {
      segment: segmentName(segment.first),
      offset: this.#end,
      discardedBytes: torn.length,
      discardedDigest: digest(torn),
    };
  }

  /** Writes one batch after `refresh`; when this resolves it is durable. True when it left a full segment behind. */
  async write(records: readonly Uint8Array[]): Promise<boolean> {
    const left = this.#tree.size > 0;
    const tree = extend(this.#tree, records.map(leafHash));
    const note = signCheckpoint({ size: tree.size, root: frontierRoot(tree) }, this.#signer);
    const batch = encodeBatch(this.#tree.size, note, tree, records);
    const fresh = this.#segment === null || this.#end >= this.#segmentBytes;
    const segment = fresh ? await this.#begin() : (this.#segment as Segment);
    const start = this.#end;
    try {
      await segment.file.write(batch, start);
      await segment.file.datasync();
      if (fresh) await this.#disk.syncFolder(this.#dir);
    } catch (error) {
      // The page cache may show others a batch that never reached the disk: take it away while the lock is held.
      await segment.file.truncate(start).catch(() => {});
      throw error;
    }
    this.#end = start + batch.length;
    this.#tree = tree;
    this.#note = note;
    return fresh && left;
  }

  async #begin(): Promise<Segment> {
    const first = this.#tree.size;
    const path = join(this.#dir, segmentName(first));
    const file = await this.#disk.create(path, false);
    await this.#segment?.file.close();
    this.#segment = { first, path, file };
    this.#end = 0;
    return this.#segment;
  }

  async close(): Promise<void> {
    await this.#segment?.file.close();
    this.#segment = null;
  }
}
