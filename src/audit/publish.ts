import { existsSync, readdirSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AuditInvalidError } from '../base/errors.ts';
import { type Checkpoint, NoteError, openCheckpoint, type Verifier } from './checkpoint.ts';
import { type Disk, replaceFile } from './disk.ts';
import { batchEnd, decodeBatch, scanBatches, segmentName } from './journal.ts';
import { listSegments, MAX_CHECKPOINT, MAX_SEGMENT, paths, readBounded, readBundle, readTile } from './layout.ts';
import { frontierRoot, HASH_BYTES, leafHash } from './merkle.ts';
import {
  encodeBundle,
  fullTiles,
  partialWidth,
  TILE_WIDTH,
  TileError,
  tileLevels,
  tilePath,
  tilePeaks,
  tileSubtree,
} from './tiles.ts';

/**
 * Turns the journal into tiles and the `checkpoint` file that any C2SP tlog-tiles client reads, then removes the
 * segments that are wholly in tiles. Everything is written anew with the same bytes when it is done again, and the
 * checkpoint is replaced last: a crash anywhere costs the work, nothing else.
 */

const invalid = (message: string, cause?: unknown) =>
  new AuditInvalidError(message, {
    cause,
    remedy: 'run "cordon audit verify": it names the first record that is wrong',
  });

/** The published checkpoint; null before the first. Throws `AuditInvalidError`. */
export function readCheckpoint(dir: string, verifier: Verifier): (Checkpoint & { note: string }) | null {
  const bytes = readBounded(join(dir, paths.checkpoint), MAX_CHECKPOINT);
  if (bytes === null) return null;
  try {
    const note = bytes.toString();
    return { ...openCheckpoint(note, verifier), note };
  } catch (cause) {
    if (!(cause instanceof NoteError)) throw cause;
    throw invalid(`the checkpoint in ${dir} cannot be used: ${cause.message}`, cause);
  }
}

/** The right edge of the tiles of a tree: what is needed to add to them, and to compute the root. */
export class TileEdge {
  /** For each level the hashes that do not fill a tile yet. */
  readonly levels: Uint8Array[][] = [];
  /** The records that do not fill a bundle yet. */
  records: Uint8Array[] = [];
  size: number;

  private constructor(size: number) {
    this.size = size;
  }

  static empty(): TileEdge {
    return new TileEdge(0);
  }

  /** Reads the edge of a published tree. Throws `AuditInvalidError` when a tile of it is missing or has the wrong size. */
  static load(dir: string, size: number): TileEdge {
    const edge = new TileEdge(size);
    for (let level = 0; level < tileLevels(size); level++) {
      const width = partialWidth(level, size);
      const [n, hashes] = [fullTiles(level, size), [] as Uint8Array[]];
      const tile =
        width === 0 ? Buffer.alloc(0) : need(tilePath(level, n, width), () => readTile(dir, level, n, width));
      for (let i = 0; i < width; i++) hashes.push(Buffer.from(tile.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)));
      edge.levels.push(hashes);
    }
    const width = partialWidth(0, size);
    const n = fullTiles(0, size);
    if (width > 0) edge.records = need(tilePath('entries', n, width), () => readBundle(dir, n, width));
    return edge;
  }

  root(): Uint8Array {
    const peaks = this.levels.toReversed().flatMap((hashes) => tilePeaks(Buffer.concat(hashes), hashes.length));
    return frontierRoot({ size: this.size, peaks });
  }

  /** Adds one record; the tiles it filled, the bundle first. */
  add(record: Uint8Array): Map<string, Uint8Array> {
    const filled = new Map<string, Uint8Array>();
    this.records.push(record);
    let [level, hash] = [0, leafHash(record) as Uint8Array];
    for (;;) {
      if (this.levels.length === level) this.levels.push([]);
      const hashes = this.levels[level] as Uint8Array[];
      hashes.push(hash);
      if (hashes.length < TILE_WIDTH) break;
      const n = fullTiles(level, this.size);
      if (level === 0) {
        filled.set(tilePath('entries', n), encodeBundle(this.records));
        this.records = [];
      }
      const tile = Buffer.concat(hashes);
      filled.set(tilePath(level, n), tile);
      hash = tileSubtree(tile, 0, 8);
      this.levels[level] = [];
      level++;
    }
    this.size++;
    return filled;
  }

  /** The partial tiles of the tree as it stands. */
  partial(): Map<string, Uint8Array> {
    const tiles = new Map<string, Uint8Array>();
    if (this.records.length > 0) {
      tiles.set(tilePath('entries', fullTiles(0, this.size), this.records.length), encodeBundle(this.records));
    }
    this.levels.forEach((hashes, level) => {
      if (hashes.length > 0)
        tiles.set(tilePath(level, fullTiles(level, this.size), hashes.length), Buffer.concat(hashes));
    });
    return tiles;
  }
}

function need<T>(path: string, read: () => T | null): T {
  try {
    const value = read();
    if (value !== null) return value;
  } catch (cause) {
    if (!(cause instanceof TileError)) throw cause;
    throw invalid(`the audit log's ${cause.message}`, cause);
  }
  throw invalid(`the audit log's ${path} is missing`);
}

/** Throws `AuditInvalidError` unless the published checkpoint is the root of the tiles that lie there. */
export function requireFit(dir: string, published: Checkpoint): TileEdge {
  const edge = TileEdge.load(dir, published.size);
  if (Buffer.compare(edge.root(), published.root) !== 0) {
    throw invalid(`the checkpoint in ${dir} (${published.size} records) does not fit the tiles that lie beside it`);
  }
  return edge;
}

/** Writes tiles below the log's folder and remembers which folders have to be synced. */
class TileWriter {
  readonly #dir: string;
  readonly #disk: Disk;
  readonly #unsynced = new Set<string>();

  constructor(dir: string, disk: Disk) {
    this.#dir = dir;
    this.#disk = disk;
  }

  async write(tiles: ReadonlyMap<string, Uint8Array>): Promise<void> {
    for (const [path, bytes] of tiles) {
      const folder = dirname(path);
      await this.#makeFolder(folder);
      await replaceFile(this.#disk, join(this.#dir, path), bytes);
      this.#unsynced.add(folder);
    }
  }

  async #makeFolder(folder: string): Promise<void> {
    if (this.#unsynced.has(folder) || existsSync(join(this.#dir, folder))) return;
    await this.#disk.mkdir(join(this.#dir, folder));
    for (let parent = dirname(folder); ; parent = dirname(parent)) {
      this.#unsynced.add(parent);
      if (parent === '.') return;
    }
  }

  async sync(): Promise<void> {
    for (const folder of this.#unsynced) await this.#disk.syncFolder(join(this.#dir, folder));
    this.#unsynced.clear();
  }
}

/** One segment and how many of its bytes are durable. */
export interface DurableSegment {
  readonly first: number;
  readonly bytes: number;
}

/**
 * Publishes all that the given segments hold (listed under the log's lock, so that every byte of them is durable).
 * Only one process at a time may be in here. Throws `AuditInvalidError` rather than publish what does not fit.
 */
export async function publish(
  dir: string,
  disk: Disk,
  verifier: Verifier,
  segments: readonly DurableSegment[],
): Promise<void> {
  const published = readCheckpoint(dir, verifier);
  const from = published?.size ?? 0;
  const edge = published === null ? TileEdge.empty() : requireFit(dir, published);
  const tiles = new TileWriter(dir, disk);
  let note: string | null = null;
  for (const { first, bytes } of segments) {
    const data = readBounded(join(dir, paths.journal, segmentName(first)), MAX_SEGMENT);
    if (data === null) continue; // published and removed by another process since it was listed
    const durable = data.subarray(0, bytes);
    for (const { first: due, count, at, end } of scanBatches(durable).places) {
      if (due + count <= edge.size) continue;
      if (due > edge.size) throw invalid(`the audit log's records ${edge.size} to ${due - 1} are missing`);
      const batch = decodeBatch(durable, at, end);
      if (batch === null) throw invalid(`the audit log's records from ${due} on do not fit their batch's header`);
      for (const record of batch.records.slice(edge.size - due)) await tiles.write(edge.add(record));
      note = batch.note;
    }
  }
  if (note !== null) {
    const signed = openCheckpoint(note, verifier);
    if (signed.size !== edge.size || Buffer.compare(signed.root, edge.root()) !== 0) {
      throw invalid(`the checkpoint of ${signed.size} records does not fit the ${edge.size} records of the journal`);
    }
    await tiles.write(edge.partial());
    await tiles.sync();
    await replaceFile(disk, join(dir, paths.checkpoint), Buffer.from(note));
    await disk.syncFolder(dir);
  }
  await removeSegments(dir, disk, segments.slice(0, -1), edge.size);
  await removePartial(dir, from, edge.size);
}

/** The last segment always stays: its last batch is how the next writer knows where the tree stands. */
async function removeSegments(dir: string, disk: Disk, sealed: readonly DurableSegment[], size: number): Promise<void> {
  for (const { first } of sealed) {
    if (first >= size) continue;
    await disk.unlink(join(dir, paths.journal, segmentName(first))).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
}

/** Partial tiles stay until the full one is there (tlog-tiles, "Partial Tiles"): readers of an older checkpoint need them. */
async function removePartial(dir: string, from: number, to: number): Promise<void> {
  for (const level of ['entries', ...Array.from({ length: tileLevels(to) }, (_, i) => i)] as const) {
    const step = typeof level === 'number' ? level : 0;
    for (let n = fullTiles(step as number, from); n < fullTiles(step as number, to); n++) {
      await rm(join(dir, `${tilePath(level as number | 'entries', n)}.p`), { recursive: true, force: true });
    }
  }
}

/**
 * The segments as they are now; call it with the log's lock held. One that a dying writer began and left without a whole
 * batch is not among them: the one before it must stay.
 */
export function durableSegments(dir: string): DurableSegment[] {
  const journal = join(dir, paths.journal);
  const segments: DurableSegment[] = [];
  for (const first of listSegments(journal).reverse()) {
    const path = join(journal, segmentName(first));
    if (segments.length === 0 && batchEnd(readBounded(path, MAX_SEGMENT) ?? Buffer.alloc(0), 0) === null) continue;
    segments.push({ first, bytes: statSync(path).size });
  }
  return segments.reverse();
}

/** True when a log has been in this folder: then a journal without segments is one that was deleted. */
export function hasTiles(dir: string): boolean {
  try {
    return readdirSync(join(dir, 'tile')).length > 0;
  } catch {
    return false;
  }
}
