import { join } from 'node:path';
import { AuditInvalidError } from '../base/errors.ts';
import { FileLock } from '../base/file-lock.ts';
import { NoteError, openCheckpoint, parseVerifierKey, type Verifier } from './checkpoint.ts';
import { readBatches, segmentName } from './journal.ts';
import { listSegments, MAX_SEGMENT, paths, readBounded, readTile } from './layout.ts';
import { leafHash, nodeHash, type Subtree } from './merkle.ts';
import { readCheckpoint } from './publish.ts';
import { fullTiles, partialWidth, TILE_HEIGHT, TILE_WIDTH, TileError, tilePath, tileSubtree } from './tiles.ts';

const CACHED_TILES = 1024;

/** Runs `read` while nobody moves records from the journal to tiles; appending goes on. */
export async function withFrozenTiles<T>(dir: string, read: () => Promise<T>): Promise<T> {
  let lock: FileLock | null = null;
  try {
    lock = new FileLock(join(dir, paths.publishLock), undefined, 'existing');
  } catch {
    // An export or a copy has no such file, nobody writes to it; or nothing was published yet.
  }
  try {
    await lock?.acquire(30_000);
    return await read();
  } finally {
    lock?.close();
  }
}

/** A signed tree and its subtrees, out of tiles and, where those end, of the journal. */
export interface LiveTree {
  readonly size: number;
  readonly note: string;
  readonly subtree: Subtree;
}

/**
 * The log as its latest checkpoint has it. Use it within {@link withFrozenTiles}. Hashes are taken from the tiles as they
 * are: what is made of them is to be checked against the checkpoint. Null for an empty log; throws `AuditInvalidError`.
 */
export function openTree(dir: string, vkey: string): LiveTree | null {
  try {
    return open(dir, parseVerifierKey(vkey));
  } catch (cause) {
    if (!(cause instanceof NoteError || cause instanceof TileError || cause instanceof RangeError)) throw cause;
    throw new AuditInvalidError(`the audit log in ${dir} cannot be read: ${cause.message}`, {
      cause,
      remedy: 'run "cordon audit verify"',
    });
  }
}

function open(dir: string, verifier: Verifier): LiveTree | null {
  const published = readCheckpoint(dir, verifier);
  const tiled = published?.size ?? 0;
  let [size, note] = [tiled, published?.note];
  const beyond: Uint8Array[] = [];
  for (const first of listSegments(join(dir, paths.journal))) {
    const bytes = readBounded(join(dir, paths.journal, segmentName(first)), MAX_SEGMENT) ?? Buffer.alloc(0);
    for (const batch of readBatches(bytes).batches) {
      if (batch.first + batch.records.length <= size) continue;
      if (batch.first > size) throw new RangeError(`records ${size} to ${batch.first - 1} are missing`);
      for (const record of batch.records.slice(size - batch.first)) beyond.push(leafHash(record));
      [size, note] = [batch.first + batch.records.length, batch.note];
    }
  }
  if (note === undefined) return null;
  const subtree = subtrees(dir, tiled, beyond);
  return { size: openCheckpoint(note, verifier).size, note, subtree };
}

function subtrees(dir: string, tiled: number, beyond: readonly Uint8Array[]): Subtree {
  const cache = new Map<string, Buffer>();
  const tile = (level: number, n: number): Buffer => {
    const width = n < fullTiles(level, tiled) ? TILE_WIDTH : partialWidth(level, tiled);
    const path = tilePath(level, n, width);
    const bytes = cache.get(path) ?? readTile(dir, level, n, width);
    if (bytes === null) throw new TileError(`${path} is missing`);
    if (cache.size >= CACHED_TILES) cache.clear();
    cache.set(path, bytes);
    return bytes;
  };
  const subtree = (level: number, index: number): Uint8Array => {
    if ((index + 1) * 2 ** level <= tiled) {
      const height = level % TILE_HEIGHT;
      const first = index * 2 ** height;
      return tileSubtree(
        tile(Math.floor(level / TILE_HEIGHT), Math.floor(first / TILE_WIDTH)),
        first % TILE_WIDTH,
        height,
      );
    }
    if (level > 0) return nodeHash(subtree(level - 1, 2 * index), subtree(level - 1, 2 * index + 1));
    const leaf = beyond[index - tiled];
    if (leaf === undefined) throw new RangeError(`record ${index} is not in the tree`);
    return leaf;
  };
  return subtree;
}
