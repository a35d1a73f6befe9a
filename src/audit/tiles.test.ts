import fc from 'fast-check';
import { expect, test } from 'vitest';
import { emptyFrontier, extend, HASH_BYTES, leafHash } from './merkle.ts';
import {
  decodeBundle,
  encodeBundle,
  fullTiles,
  partialWidth,
  TileError,
  tileLevels,
  tilePath,
  tilePeaks,
} from './tiles.ts';

test('paths are those of the specification', () => {
  expect(tilePath(0, 1234067)).toBe('tile/0/x001/x234/067');
  expect(tilePath('entries', 0, 12)).toBe('tile/entries/000.p/12');
  expect(tilePath(1, 1000, 255)).toBe('tile/1/x001/000.p/255');
  expect(tilePath(2, 999)).toBe('tile/2/999');
});

test('a tree of 70,000 has the tiles the specification says', () => {
  const shape = [0, 1, 2].map((level) => [fullTiles(level, 70_000), partialWidth(level, 70_000)]);
  expect(shape).toEqual([
    [273, 112],
    [1, 17],
    [0, 1],
  ]);
  expect(tileLevels(70_000)).toBe(3);
  expect([tileLevels(0), tileLevels(1), tileLevels(255), tileLevels(256)]).toEqual([0, 1, 1, 2]);
});

const record = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));

test('bundles come back; a cut or padded one is refused', () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), fc.nat(), (records, cut) => {
      const bundle = encodeBundle(records);
      expect(decodeBundle(bundle, records.length)).toEqual(records);
      expect(() => decodeBundle(bundle.subarray(0, cut % bundle.length), records.length)).toThrow(TileError);
      expect(() => decodeBundle(Buffer.concat([bundle, Buffer.of(0)]), records.length)).toThrow(TileError);
      expect(() => decodeBundle(bundle, records.length + 1)).toThrow(TileError);
    }),
  );
});

test('the peaks of a partial tile are those of the tree', () => {
  for (const width of [1, 2, 3, 127, 128, 255, 256]) {
    const leaves = Array.from({ length: width }, (_, i) => leafHash(Buffer.of(i)));
    const tile = Buffer.concat(leaves, width * HASH_BYTES);
    expect(tilePeaks(tile, width)).toEqual(extend(emptyFrontier, leaves).peaks);
  }
});
