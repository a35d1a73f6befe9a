import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as merkle from './merkle.ts';

/** RFC 6962 section 2.1 written down as it stands there, with nothing of the code under test. */
const sha = (...parts: Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();
function mth(d: Uint8Array[]): Buffer {
  if (d.length === 0) return sha();
  if (d.length === 1) return sha(Buffer.of(0), d[0] as Uint8Array);
  let k = 1;
  while (k * 2 < d.length) k *= 2;
  return sha(Buffer.of(1), mth(d.slice(0, k)), mth(d.slice(k)));
}
function path(m: number, d: Uint8Array[]): Buffer[] {
  if (d.length === 1) return [];
  let k = 1;
  while (k * 2 < d.length) k *= 2;
  return m < k ? [...path(m, d.slice(0, k)), mth(d.slice(k))] : [...path(m - k, d.slice(k)), mth(d.slice(0, k))];
}
function subproof(m: number, d: Uint8Array[], b: boolean): Buffer[] {
  if (m === d.length) return b ? [] : [mth(d)];
  let k = 1;
  while (k * 2 < d.length) k *= 2;
  return m <= k
    ? [...subproof(m, d.slice(0, k), b), mth(d.slice(k))]
    : [...subproof(m - k, d.slice(k), false), mth(d.slice(0, k))];
}

const records = (n: number): Uint8Array[] => Array.from({ length: n }, (_, i) => Buffer.from(`record ${i}`));
const subtreeOf =
  (d: Uint8Array[]): merkle.Subtree =>
  (level, index) =>
    mth(d.slice(index * 2 ** level, (index + 1) * 2 ** level));
const rootOf = (d: Uint8Array[]) => merkle.frontierRoot(merkle.extend(merkle.emptyFrontier, d.map(merkle.leafHash)));

/** The test vectors that Certificate Transparency implementations share for RFC 6962. */
const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
const roots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

test('the published vectors', () => {
  const data = inputs.map((hex) => Buffer.from(hex, 'hex'));
  expect(merkle.emptyRoot.toString('hex')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  roots.forEach((root, i) => {
    expect(Buffer.from(rootOf(data.slice(0, i + 1))).toString('hex')).toBe(root);
  });
});

describe('against the definition of RFC 6962', () => {
  const size = fc.integer({ min: 1, max: 80 });

  test('roots, grown in any steps', () => {
    fc.assert(
      fc.property(size, fc.nat(80), (n, cut) => {
        const d = records(n);
        const leaves = d.map(merkle.leafHash);
        const tree = merkle.extend(merkle.extend(merkle.emptyFrontier, leaves.slice(0, cut)), leaves.slice(cut));
        expect(merkle.frontierRoot(tree)).toEqual(mth(d));
        expect(tree.peaks.length).toBe(merkle.peakCount(n));
      }),
    );
  });

  test('inclusion proofs; any change to one is refused', async () => {
    await fc.assert(
      fc.asyncProperty(size, fc.nat(), fc.nat(), async (n, i, flip) => {
        const d = records(n);
        const index = i % n;
        const proof = await merkle.inclusionProof(subtreeOf(d), index, n);
        expect(proof).toEqual(path(index, d));
        const leaf = merkle.leafHash(d[index] as Uint8Array);
        expect(merkle.verifyInclusion(leaf, index, n, proof, mth(d))).toBe(true);
        expect(merkle.verifyInclusion(leaf, (index + 1) % (n + 1), n, proof, mth(d))).toBe(false);
        expect(merkle.verifyInclusion(leaf, index, n, [...proof, leaf], mth(d))).toBe(false);
        if (proof.length > 0) {
          const wrong = proof.map((p) => Buffer.from(p));
          const at = wrong[flip % proof.length] as Buffer;
          at[flip % 32] = (at[flip % 32] as number) ^ 1;
          expect(merkle.verifyInclusion(leaf, index, n, wrong, mth(d))).toBe(false);
          expect(merkle.verifyInclusion(leaf, index, n, proof.slice(1), mth(d))).toBe(false);
        }
      }),
    );
  });

  test('consistency proofs; another history is refused', async () => {
    await fc.assert(
      fc.asyncProperty(size, fc.nat(), fc.nat(), async (n, m, other) => {
        const d = records(n);
        const from = 1 + (m % n);
        const proof = await merkle.consistencyProof(subtreeOf(d), from, n);
        expect(proof).toEqual(subproof(from, d, true));
        expect(merkle.verifyConsistency(from, mth(d.slice(0, from)), n, mth(d), proof)).toBe(true);
        const rewritten = d.slice(0, from);
        rewritten[other % from] = Buffer.from('rewritten');
        expect(merkle.verifyConsistency(from, mth(rewritten), n, mth(d), proof)).toBe(false);
        if (proof.length > 0) {
          expect(merkle.verifyConsistency(from, mth(d.slice(0, from)), n, mth(d), proof.slice(1))).toBe(false);
        }
      }),
    );
  });
});

test('a size that does not fit is refused, not looped over', () => {
  const r = merkle.emptyRoot;
  expect(merkle.verifyInclusion(r, 0, Number.MAX_SAFE_INTEGER, [], r)).toBe(false);
  expect(merkle.verifyInclusion(r, -1, 1, [], r)).toBe(false);
  expect(merkle.verifyInclusion(r, 0, 2 ** 60, [], r)).toBe(false);
  expect(merkle.verifyConsistency(5, r, 3, r, [])).toBe(false);
  expect(merkle.verifyConsistency(0, r, 3, mth(records(3)), [])).toBe(true);
});
