import { hash } from 'node:crypto';

/**
 * The Merkle tree of RFC 6962 section 2.1: hashes, roots, inclusion and consistency proofs. Pure.
 *
 *   leaf  SHA-256(0x00 ‖ record)      node  SHA-256(0x01 ‖ left ‖ right)      empty tree  SHA-256("")
 *
 * The prefixes keep a node from passing as a record. Sizes are safe integers, so no 32-bit operators are used on them.
 */

export const HASH_BYTES = 32;
/** Records are short: one buffer that is used again spares the collector a copy of each. */
const scratch = Buffer.alloc(1 + 0xffff);

/** A one-shot hash taken as a string and put into pooled memory costs half of what a new Buffer from OpenSSL does. */
function sha256(data: Uint8Array): Buffer {
  return Buffer.from(hash('sha256', data, 'binary'), 'latin1');
}

export const emptyRoot: Buffer = sha256(Buffer.alloc(0));

export function leafHash(record: Uint8Array): Buffer {
  if (record.length >= scratch.length) return sha256(Buffer.concat([Buffer.of(0), record]));
  scratch.set(record, 1);
  return sha256(scratch.subarray(0, 1 + record.length));
}

const pair = Buffer.alloc(1 + 2 * HASH_BYTES, 1);

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  pair.set(left, 1);
  pair.set(right, 1 + HASH_BYTES);
  return sha256(pair);
}

/** A tree as its size and the roots of its perfect subtrees, largest first: all that appending needs. */
export interface Frontier {
  readonly size: number;
  readonly peaks: readonly Uint8Array[];
}

export const emptyFrontier: Frontier = { size: 0, peaks: [] };

/** The tree with more leaves at its right edge. */
export function extend(tree: Frontier, leaves: Iterable<Uint8Array>): Frontier {
  const peaks = [...tree.peaks];
  let size = tree.size;
  for (const leaf of leaves) {
    let merged: Uint8Array = leaf;
    for (let rest = size; rest % 2 === 1; rest = Math.floor(rest / 2))
      merged = nodeHash(peaks.pop() as Uint8Array, merged);
    peaks.push(merged);
    size++;
  }
  return { size, peaks };
}

/** How many perfect subtrees a tree of this size has: its one bits. */
export function peakCount(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}

export function frontierRoot({ peaks }: Frontier): Uint8Array {
  const last = peaks.at(-1);
  if (last === undefined) return emptyRoot;
  let root = last;
  for (let i = peaks.length - 2; i >= 0; i--) root = nodeHash(peaks[i] as Uint8Array, root);
  return root;
}

/** The root of the perfect subtree of `2^level` leaves that starts at leaf `index * 2^level`. */
export type Subtree = (level: number, index: number) => Promise<Uint8Array> | Uint8Array;

/** The largest power of two smaller than `n` (n ≥ 2). */
function splitPoint(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** MTH(D[start:end]) out of perfect subtrees; `start` is where RFC 6962's recursion would cut. */
async function rangeRoot(subtree: Subtree, start: number, end: number): Promise<Uint8Array> {
  const size = end - start;
  const level = Math.log2(size);
  if (Number.isInteger(level)) return subtree(level, start / size);
  const k = splitPoint(size);
  return nodeHash(await rangeRoot(subtree, start, start + k), await rangeRoot(subtree, start + k, end));
}

/** Throws `RangeError` when there is no such leaf. */
export async function inclusionProof(subtree: Subtree, index: number, size: number): Promise<Uint8Array[]> {
  if (!(index >= 0 && index < size)) throw new RangeError(`no leaf ${index} in a tree of ${size}`);
  const proof: Uint8Array[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + splitPoint(end - start);
    if (index < middle) {
      proof.push(await rangeRoot(subtree, middle, end));
      end = middle;
    } else {
      proof.push(await rangeRoot(subtree, start, middle));
      start = middle;
    }
  }
  return proof.reverse();
}

/** Proof that the tree of `from` leaves is a prefix of the tree of `to` leaves. */
export async function consistencyProof(subtree: Subtree, from: number, to: number): Promise<Uint8Array[]> {
  if (!(from >= 0 && from <= to)) throw new RangeError(`no tree of ${from} leaves in a tree of ${to}`);
  if (from === 0 || from === to) return [];
  const proof: Uint8Array[] = [];
  let [start, end, whole] = [0, to, true];
  while (from !== end) {
    const middle = start + splitPoint(end - start);
    if (from <= middle) {
      proof.push(await rangeRoot(subtree, middle, end));
      end = middle;
    } else {
      proof.push(await rangeRoot(subtree, start, middle));
      start = middle;
      whole = false;
    }
  }
  if (!whole) proof.push(await rangeRoot(subtree, start, end));
  return proof.reverse();
}

const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && Buffer.compare(a, b) === 0;
const half = (n: number): number => Math.floor(n / 2);

/** RFC 9162 section 2.1.3.2. */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!(Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size)) return false;
  let [fn, sn, r] = [index, size - 1, leaf];
  for (const p of proof) {
    if (sn === 0 || p.length !== HASH_BYTES) return false;
    if (fn % 2 === 1 || fn === sn) {
      r = nodeHash(p, r);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      r = nodeHash(r, p);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && same(r, root);
}

/** RFC 9162 section 2.1.4.2, and the two trivial cases it leaves to the caller. */
export function verifyConsistency(
  from: number,
  fromRoot: Uint8Array,
  to: number,
  toRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!(Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from <= to)) return false;
  if (from === to) return proof.length === 0 && same(fromRoot, toRoot);
  if (from === 0) return proof.length === 0 && same(fromRoot, emptyRoot);
  if (proof.some((p) => p.length !== HASH_BYTES)) return false;
  const path = Number.isInteger(Math.log2(from)) ? [fromRoot, ...proof] : [...proof];
  const first = path.shift();
  if (first === undefined) return false;
  let [fn, sn] = [from - 1, to - 1];
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)];
  let [fr, sr] = [first, first];
  for (const c of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(c, fr);
      sr = nodeHash(c, sr);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      sr = nodeHash(sr, c);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && same(fr, fromRoot) && same(sr, toRoot);
}
