import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { segmentFirst } from './journal.ts';
import { HASH_BYTES } from './merkle.ts';
import { decodeBundle, MAX_BUNDLE, TILE_WIDTH, TileError, tilePath } from './tiles.ts';

/** Where the parts of a log lie below its folder, and how they are read: bounded, and never through a link. */
export const paths = {
  lock: 'lock',
  publishLock: 'publish.lock',
  journal: 'journal',
  checkpoint: 'checkpoint',
  content: 'content',
} as const;

/** No segment is longer: one is begun when the last has 1 MiB, and one batch more may follow. Bytes. */
export const MAX_SEGMENT = 8 * 1024 * 1024;
export const MAX_CHECKPOINT = 16 * 1024;

/** A file's bytes from `from` on; null when there is no such file. Throws `RangeError` when it has more than `limit`. */
export function readBounded(path: string, limit: number, from = 0): Buffer | null {
  let fd: number;
  try {
    // O_NONBLOCK: a FIFO that somebody put there must not hold the reader for ever.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
  try {
    return readRest(fd, path, limit, from);
  } finally {
    closeSync(fd);
  }
}

/** Like {@link readBounded} from an open file. */
export function readRest(fd: number, path: string, limit: number, from: number): Buffer {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new RangeError(`${path} is not a regular file`);
  if (stat.size > limit) throw new RangeError(`${path} has ${stat.size} bytes, more than the ${limit} it can have`);
  const bytes = Buffer.allocUnsafe(Math.max(0, stat.size - from));
  let done = 0;
  while (done < bytes.length) {
    const got = readSync(fd, bytes, done, bytes.length - done, from + done);
    if (got === 0) break;
    done += got;
  }
  return bytes.subarray(0, done);
}

/** The first seqs of the segments, ascending; a missing folder has none. */
export function listSegments(journalDir: string): number[] {
  let names: string[];
  try {
    names = readdirSync(journalDir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return names
    .map(segmentFirst)
    .filter((first) => first !== null)
    .sort((a, b) => a - b);
}

/**
 * A tile's first `width` hashes. Once the full tile is there the partial ones go, so the full one does as well.
 * Null when neither exists; throws `TileError` when it has not the size it must have.
 */
export function readTile(dir: string, level: number, n: number, width: number): Buffer | null {
  for (const w of width === TILE_WIDTH ? [width] : [width, TILE_WIDTH]) {
    const path = tilePath(level, n, w);
    const bytes = bounded(dir, path, TILE_WIDTH * HASH_BYTES);
    if (bytes === null) continue;
    if (bytes.length !== w * HASH_BYTES)
      throw new TileError(`${path} has ${bytes.length} bytes, not ${w * HASH_BYTES}`);
    return bytes.subarray(0, width * HASH_BYTES);
  }
  return null;
}

/** Like {@link readTile} for the records of an entry bundle. */
export function readBundle(dir: string, n: number, width: number): Buffer[] | null {
  for (const w of width === TILE_WIDTH ? [width] : [width, TILE_WIDTH]) {
    const path = tilePath('entries', n, w);
    const bytes = bounded(dir, path, MAX_BUNDLE);
    if (bytes === null) continue;
    try {
      return decodeBundle(bytes, w).slice(0, width);
    } catch (error) {
      throw error instanceof TileError ? new TileError(`${path} ${error.message}`) : error;
    }
  }
  return null;
}

function bounded(dir: string, path: string, limit: number): Buffer | null {
  try {
    return readBounded(join(dir, path), limit);
  } catch (error) {
    throw error instanceof RangeError ? new TileError(`${path} is longer than it can be, or no regular file`) : error;
  }
}
