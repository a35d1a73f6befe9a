import { crc32 } from 'node:zlib';
import { type Frontier, HASH_BYTES, peakCount } from './merkle.ts';
import { decodeBundle, encodeBundle } from './tiles.ts';

/**
 * The journal: what has been acknowledged and is not yet, or not only, in tiles. Pure.
 *
 *   journal/<first seq, 16 digits>      a segment: batches one after another, nothing between or after
 *   batch   "CAJ1" ‖ u32 body length ‖ u32 CRC-32 of the body ‖ body
 *   body    u64 first seq ‖ u16 records ‖ u16 note length ‖ u8 peaks ‖ u32 bytes of records
 *           ‖ note ‖ peaks, 32 bytes each ‖ records, each after its u16 length
 *
 * All numbers are big-endian. One batch is one write and one fdatasync. Note and peaks are the signed checkpoint and the
 * frontier of the tree *after* the batch: the last batch alone says how to go on, so opening costs the same however
 * long the log is. The CRC finds a torn write; it is the signed root that nobody can forge.
 * No text inside a record can pass for a batch: the lengths hold zero bytes, which JSON never does.
 */

const MAGIC = 0x43414a31;
const HEADER = 12;
const FIXED = 17;
/** Records of one batch together, and how many. Bounds what a reader holds in memory. */
export const MAX_BATCH_BYTES = 1024 * 1024;
export const MAX_BATCH_RECORDS = 4096;
const MAX_BODY = MAX_BATCH_BYTES + 2 * MAX_BATCH_RECORDS + 64 * 1024;

export interface Batch {
  readonly first: number;
  readonly note: string;
  readonly peaks: readonly Uint8Array[];
  readonly records: readonly Uint8Array[];
}

export function segmentName(first: number): string {
  return String(first).padStart(16, '0');
}

const SEGMENT = /^[0-9]{16}$/;

/** The first seq of a segment; null for a name that is no segment's. */
export function segmentFirst(name: string): number | null {
  const first = SEGMENT.test(name) ? Number(name) : Number.NaN;
  return Number.isSafeInteger(first) ? first : null;
}

export function encodeBatch(first: number, note: string, tree: Frontier, records: readonly Uint8Array[]): Buffer {
  const noteBytes = Buffer.from(note);
  const bundle = encodeBundle(records);
  const head = Buffer.alloc(HEADER + FIXED);
  head.writeUInt32BE(MAGIC, 0);
  head.writeBigUInt64BE(BigInt(first), HEADER);
  head.writeUInt16BE(records.length, HEADER + 8);
  head.writeUInt16BE(noteBytes.length, HEADER + 10);
  head.writeUInt8(tree.peaks.length, HEADER + 12);
  head.writeUInt32BE(bundle.length, HEADER + 13);
  const batch = Buffer.concat([head, noteBytes, ...tree.peaks, bundle]);
  batch.writeUInt32BE(batch.length - HEADER, 4);
  batch.writeUInt32BE(crc32(batch.subarray(HEADER)), 8);
  return batch;
}

/**
 * Where a whole batch at `at` ends, by its header and its CRC alone; null when there is none, whole and unharmed.
 * {@link decodeBatch} looks inside.
 */
export function batchEnd(bytes: Buffer, at: number): number | null {
  if (at + HEADER + FIXED > bytes.length || bytes.readUInt32BE(at) !== MAGIC) return null;
  const length = bytes.readUInt32BE(at + 4);
  const end = at + HEADER + length;
  if (length < FIXED || length > MAX_BODY || end > bytes.length) return null;
  return crc32(bytes.subarray(at + HEADER, end)) === bytes.readUInt32BE(at + 8) ? end : null;
}

/** The batch between `at` and `end` ({@link batchEnd}); null when its parts do not fit together. */
export function decodeBatch(bytes: Buffer, at: number, end: number): Batch | null {
  const body = bytes.subarray(at + HEADER, end);
  const first = Number(body.readBigUInt64BE(0));
  const count = body.readUInt16BE(8);
  const noteEnd = FIXED + body.readUInt16BE(10);
  const peaksEnd = noteEnd + body.readUInt8(12) * HASH_BYTES;
  if (!Number.isSafeInteger(first + count) || count === 0 || peaksEnd > body.length) return null;
  if (body.readUInt32BE(13) !== body.length - peaksEnd || body.readUInt8(12) !== peakCount(first + count)) return null;
  const peaks: Uint8Array[] = [];
  for (let p = noteEnd; p < peaksEnd; p += HASH_BYTES) peaks.push(body.subarray(p, p + HASH_BYTES));
  try {
    return {
      first,
      note: body.toString('utf8', FIXED, noteEnd),
      peaks,
      records: decodeBundle(body.subarray(peaksEnd), count),
    };
  } catch {
    return null;
  }
}

/** A batch that is whole by its header and its CRC, and has not been taken apart. */
export interface BatchPlace {
  readonly first: number;
  readonly count: number;
  readonly at: number;
  readonly end: number;
}

/**
 * Where the batches lie, and where the last whole one ends. Who goes on with a journal needs the last of them, who publishes
 * it the new ones, and a journal may hold thousands: {@link decodeBatch} takes those apart that matter.
 */
export function scanBatches(bytes: Buffer): { places: BatchPlace[]; end: number } {
  const places: BatchPlace[] = [];
  for (let at = 0; ; ) {
    const end = batchEnd(bytes, at);
    if (end === null) return { places, end: at };
    const first = Number(bytes.readBigUInt64BE(at + HEADER));
    places.push({ first, count: bytes.readUInt16BE(at + HEADER + 8), at, end });
    at = end;
  }
}

/** The batches from `at` on, and where the last whole one ends; what is after that is torn, or tampered with. */
export function readBatches(bytes: Buffer, at = 0): { batches: Batch[]; end: number } {
  const batches: Batch[] = [];
  for (;;) {
    const end = batchEnd(bytes, at);
    const batch = end === null ? null : decodeBatch(bytes, at, end);
    if (end === null || batch === null) return { batches, end: at };
    batches.push(batch);
    at = end;
  }
}

/** Whether a whole batch stands anywhere after `at`: then what lies before it was not torn by a crash. */
export function batchAfter(bytes: Buffer, at: number): number | null {
  const magic = Buffer.alloc(4);
  magic.writeUInt32BE(MAGIC);
  for (let found = bytes.indexOf(magic, at + 1); found >= 0; found = bytes.indexOf(magic, found + 1)) {
    if (batchEnd(bytes, found) !== null) return found;
  }
  return null;
}
