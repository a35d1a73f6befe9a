import fc from 'fast-check';
import { expect, test } from 'vitest';
import { batchAfter, encodeBatch, readBatches, segmentFirst, segmentName } from './journal.ts';
import { emptyFrontier, extend, type Frontier, leafHash } from './merkle.ts';

function journal(sizes: readonly number[]): { bytes: Buffer; ends: number[] } {
  let tree: Frontier = emptyFrontier;
  const ends: number[] = [];
  const parts = sizes.map((n, i) => {
    const records = Array.from({ length: n }, (_, k) => Buffer.from(`{"batch":${i},"record":${k}}`));
    const first = tree.size;
    tree = extend(tree, records.map(leafHash));
    return encodeBatch(first, `note ${i}\n`, tree, records);
  });
  for (const part of parts) ends.push((ends.at(-1) ?? 0) + part.length);
  return { bytes: Buffer.concat(parts), ends };
}

const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 });

test('batches come back in order', () => {
  fc.assert(
    fc.property(sizes, (counts) => {
      const { bytes } = journal(counts);
      const { batches, end } = readBatches(bytes);
      expect(end).toBe(bytes.length);
      expect(batches.map((b) => b.records.length)).toEqual(counts);
      expect(batches.map((b) => b.note)).toEqual(counts.map((_, i) => `note ${i}\n`));
    }),
  );
});

test('a write cut anywhere leaves exactly the whole batches before it', () => {
  fc.assert(
    fc.property(sizes, fc.nat(), (counts, cut) => {
      const { bytes, ends } = journal(counts);
      const length = cut % bytes.length;
      const whole = ends.filter((end) => end <= length);
      const { batches, end } = readBatches(bytes.subarray(0, length));
      expect(batches.length).toBe(whole.length);
      expect(end).toBe(whole.at(-1) ?? 0);
      expect(batchAfter(bytes.subarray(0, length), end)).toBeNull();
    }),
  );
});

test('a flipped bit ends the reading there; a whole batch after it shows that it was no torn write', () => {
  fc.assert(
    fc.property(sizes, fc.nat(), fc.nat(7), (counts, at, bit) => {
      const { bytes, ends } = journal(counts);
      const place = at % bytes.length;
      bytes[place] = (bytes[place] as number) ^ (1 << bit);
      const hit = ends.findIndex((end) => place < end);
      const { batches, end } = readBatches(bytes);
      expect(batches.length).toBe(hit);
      expect(batchAfter(bytes, end)).toBe(hit === counts.length - 1 ? null : ends[hit]);
    }),
  );
});

test('any bytes are read without harm', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => {
      const { end } = readBatches(Buffer.from(noise));
      expect(end).toBe(0);
    }),
  );
});

test('segment names', () => {
  expect(segmentFirst(segmentName(12))).toBe(12);
  for (const wrong of ['12', '..', '9999999999999999', 'x000000000000001', '0000000000000001.tmp']) {
    expect(segmentFirst(wrong)).toBeNull();
  }
});
