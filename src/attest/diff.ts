import { createHash } from 'node:crypto';
import { type GitPlace, gitBytes } from '../base/git.ts';

/**
 * What differs between two trees, as `git diff-tree -r --raw -z --no-renames --no-abbrev` lists it, and SHA-256 of that
 * listing: modes, object ids and names of all files that were added, changed or removed.
 */
export interface TreeDiff {
  readonly digest: string;
  /** Printable as they are where they are UTF-8; other bytes are replaced. */
  readonly paths: readonly string[];
}

const ARGS = ['diff-tree', '-r', '--raw', '-z', '--no-renames', '--no-abbrev', '--no-ext-diff'];
const MAX_OUTPUT = 512 * 1024 * 1024;

export async function diffBetween(place: GitPlace, from: string, to: string): Promise<TreeDiff> {
  return (await diffsBetween(place, [{ from, to }])).get(`${from} ${to}`) as TreeDiff;
}

/** Many pairs of trees with one process, by `from to`. Throws `OutsideError` when an object is missing. */
export async function diffsBetween(
  place: GitPlace,
  pairs: readonly { readonly from: string; readonly to: string }[],
): Promise<Map<string, TreeDiff>> {
  const asked = new Set(pairs.map(({ from, to }) => `${from} ${to}`));
  const found = new Map<string, TreeDiff>([...asked].map((pair) => [pair, EMPTY]));
  const different = [...asked].filter((pair) => pair.slice(0, pair.length / 2) !== pair.slice(pair.length / 2 + 1));
  if (different.length === 0) return found;
  const stdin = different.map((pair) => `${pair}\n`).join('');
  const listing = await gitBytes(place, [...ARGS, '--stdin'], { stdin, timeout: 120_000, maxOutput: MAX_OUTPUT });
  for (let at = 0; at < listing.length; ) {
    const end = listing.indexOf(10, at);
    const pair = listing.toString('latin1', at, end);
    const part = entriesFrom(listing, end + 1);
    found.set(pair, part.diff);
    at = part.end;
  }
  return found;
}

const EMPTY: TreeDiff = { digest: `sha256:${createHash('sha256').digest('hex')}`, paths: [] };

/** `:modes ids status NUL path NUL`, again and again; a line that does not begin with a colon is the next pair. */
function entriesFrom(listing: Buffer, start: number): { readonly diff: TreeDiff; readonly end: number } {
  const paths: string[] = [];
  let at = start;
  while (listing[at] === 0x3a) {
    const meta = listing.indexOf(0, at);
    const path = listing.indexOf(0, meta + 1);
    paths.push(listing.toString('utf8', meta + 1, path));
    at = path + 1;
  }
  const digest = createHash('sha256').update(listing.subarray(start, at)).digest('hex');
  return { diff: { digest: `sha256:${digest}`, paths }, end: at };
}
