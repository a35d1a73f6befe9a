import { HASH_BYTES, nodeHash } from './merkle.ts';

/**
 * C2SP tlog-tiles (c2sp.org/tlog-tiles): where the tree's hashes and records lie, and in what form. Pure.
 *
 *   checkpoint                      the signed note
 *   tile/<L>/<N>[.p/<W>]            W (or 256) hashes of perfect subtrees of 256^L leaves
 *   tile/entries/<N>[.p/<W>]        W (or 256) records, each after its length as a big-endian uint16
 *
 * `<N>` is written in groups of three digits: 1234067 is `x001/x234/067`.
 */

export const TILE_WIDTH = 256;
export const TILE_HEIGHT = 8;
/** The largest a bundle can be. Bytes. */
export const MAX_BUNDLE = TILE_WIDTH * (2 + 0xffff);

export class TileError extends Error {}

function indexPath(n: number): string {
  let path = String(n % 1000).padStart(3, '0');
  for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`;
  }
  return path;
}

/** `width` 256 is the full tile. */
export function tilePath(level: number | 'entries', n: number, width: number = TILE_WIDTH): string {
  return `tile/${level}/${indexPath(n)}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** How many hashes the last tile of a level has in a tree of `size` leaves; 0 when it ends with a full one. */
export function partialWidth(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level) % TILE_WIDTH;
}

/** How many tiles of a level are full. */
export function fullTiles(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** (level + 1));
}

/** The levels that a tree of `size` leaves has tiles at. */
export function tileLevels(size: number): number {
  let levels = 0;
  while (TILE_WIDTH ** levels <= size) levels++;
  return levels;
}

export function encodeBundle(records: readonly Uint8Array[]): Buffer {
  const bundle = Buffer.allocUnsafe(records.reduce((sum, record) => sum + 2 + record.length, 0));
  let at = 0;
  for (const record of records) {
    at = bundle.writeUInt16BE(record.length, at);
    bundle.set(record, at);
    at += record.length;
  }
  return bundle;
}

/** Exactly `count` records, as views into the bundle. Throws `TileError`. */
export function decodeBundle(bundle: Buffer, count: number): Buffer[] {
  const records: Buffer[] = [];
  let at = 0;
  while (records.length < count) {
    if (at + 2 > bundle.length) throw new TileError(`ends after ${records.length} of ${count} records`);
    const end = at + 2 + bundle.readUInt16BE(at);
    if (end > bundle.length) throw new TileError(`ends inside record ${records.length} of ${count}`);
    records.push(bundle.subarray(at + 2, end));
    at = end;
  }
  if (at !== bundle.length) throw new TileError(`has ${bundle.length - at} bytes after its ${count} records`);
  return records;
}

/** The hash at a place in a tile's bytes. */
export function tileHash(tile: Uint8Array, index: number): Uint8Array {
  return tile.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
}

/** The root of `2^height` hashes of a tile, from `first` on. */
export function tileSubtree(tile: Uint8Array, first: number, height: number): Uint8Array {
  let hashes = Array.from({ length: 2 ** height }, (_, i) => tileHash(tile, first + i));
  while (hashes.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i < hashes.length; i += 2)
      above.push(nodeHash(hashes[i] as Uint8Array, hashes[i + 1] as Uint8Array));
    hashes = above;
  }
  return hashes[0] as Uint8Array;
}

/** The roots of the perfect subtrees that `width` hashes at the right edge of a tree make, largest first. */
export function tilePeaks(tile: Uint8Array, width: number): Uint8Array[] {
  const peaks: Uint8Array[] = [];
  let first = 0;
  for (let height = TILE_HEIGHT; height >= 0; height--) {
    const span = 2 ** height;
    if (Math.floor(width / span) % 2 === 0) continue;
    peaks.push(tileSubtree(tile, first, height));
    first += span;
  }
  return peaks;
}
