import { createHash } from 'node:crypto';
import type { Clone } from './clone.ts';
import type { TreeDiff } from './diff.ts';

/** Trees read for one difference; a change that touches more folders is git's to list. */
const MAX_TREES = 200;
const MAX_TREE = 4 * 1024 * 1024;

interface Entry {
  /** As git understands it: one of the five that there are. */
  readonly mode: number;
  /** Bytes, as Latin-1. */
  readonly name: string;
  readonly oid: string;
}

const TREE = 0o040000;

/**
 * What `diffsBetween` says of two trees, read through the conversation that is open anyway: for a small change no other
 * process needs to start, and each tree is hashed on the way. Null when the change is too large for that, or a tree is
 * missing or odd. Throws `BrokenLink` where a tree is not what its id says.
 */
export async function readDiff(clone: Clone, from: string, to: string): Promise<TreeDiff | null> {
  const walk = new Walk(clone);
  if (!(await walk.compare(from, to, ''))) return null;
  const listing = Buffer.from(walk.listing.join(''), 'latin1');
  return {
    digest: `sha256:${createHash('sha256').update(listing).digest('hex')}`,
    paths: walk.paths.map((path) => Buffer.from(path, 'latin1').toString('utf8')),
  };
}

class Walk {
  readonly listing: string[] = [];
  readonly paths: string[] = [];
  readonly #clone: Clone;
  readonly #none: string;
  #trees = 0;

  constructor(clone: Clone) {
    this.#clone = clone;
    this.#none = '0'.repeat(clone.objectFormat === 'sha1' ? 40 : 64);
  }

  /** False when it gave up. */
  async compare(from: string | null, to: string | null, folder: string): Promise<boolean> {
    if (from === to) return true;
    const [before, after] = await Promise.all([this.#read(from), this.#read(to)]);
    if (before === null || after === null) return false;
    let [i, k] = [0, 0];
    while (i < before.length || k < after.length) {
      const [a, b] = [before[i], after[k]];
      const order = a === undefined ? 1 : b === undefined ? -1 : compareKeys(keyOf(a), keyOf(b));
      if (order <= 0) i++;
      if (order >= 0) k++;
      const [old, now] = [order <= 0 ? a : undefined, order >= 0 ? b : undefined];
      if (old?.oid === now?.oid && old?.mode === now?.mode) continue;
      const path = `${folder}${(old ?? now)?.name}`;
      if ((old ?? now)?.mode === TREE) {
        if (!(await this.compare(old?.oid ?? null, now?.oid ?? null, `${path}/`))) return false;
      } else this.#say(old, now, path);
    }
    return true;
  }

  #say(old: Entry | undefined, now: Entry | undefined, path: string): void {
    const mode = (entry: Entry | undefined) => (entry?.mode ?? 0).toString(8).padStart(6, '0');
    const kind = (entry: Entry) => entry.mode & 0o170000;
    const status = old === undefined ? 'A' : now === undefined ? 'D' : kind(old) === kind(now) ? 'M' : 'T';
    const ids = `${old?.oid ?? this.#none} ${now?.oid ?? this.#none}`;
    this.listing.push(`:${mode(old)} ${mode(now)} ${ids} ${status}\0${path}\0`);
    this.paths.push(path);
  }

  async #read(oid: string | null): Promise<readonly Entry[] | null> {
    if (oid === null) return [];
    if (++this.#trees > MAX_TREES) return null;
    const bytes = await this.#clone.checked(oid, 'tree', MAX_TREE);
    return bytes === null ? null : parseTree(bytes, this.#none.length / 2);
  }
}

/** In the order of git's trees, a folder stands as if its name ended with a slash. */
const keyOf = ({ name, mode }: Entry) => `${name}${mode === TREE ? '/' : '\0'}`;
const compareKeys = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** Null for what is not in the one order that trees have: then git may read it otherwise. */
function parseTree(bytes: Buffer, idBytes: number): readonly Entry[] | null {
  const entries: Entry[] = [];
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const end = bytes.indexOf(0, at);
    const next = end + 1 + idBytes;
    if (space < at || end < space || next > bytes.length) return null;
    const written = bytes.toString('latin1', at, space);
    if (!/^[0-7]{5,6}$/.test(written)) return null;
    const entry = {
      mode: plainMode(Number.parseInt(written, 8)),
      name: bytes.toString('latin1', space + 1, end),
      oid: bytes.toString('hex', end + 1, next),
    };
    const last = entries.at(-1);
    if (entry.name === '' || (last !== undefined && compareKeys(keyOf(last), keyOf(entry)) >= 0)) return null;
    entries.push(entry);
    at = next;
  }
  return entries;
}

/** The mode that git takes an entry to have, whatever bits are set beside. */
function plainMode(mode: number): number {
  const kind = mode & 0o170000;
  if (kind === 0o100000) return mode & 0o100 ? 0o100755 : 0o100644;
  return kind === 0o120000 || kind === TREE ? kind : 0o160000;
}
