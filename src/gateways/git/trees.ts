import type { ObjectReader } from '../../base/git-objects.ts';

/** One line of a tree object. Names are bytes to git: `name` holds one byte a character (latin1). */
export interface TreeEntry {
  readonly mode: string;
  readonly name: string;
  readonly oid: string;
}

export type TreeMap = ReadonlyMap<string, TreeEntry>;

/** Something differs between two trees: a file, link or submodule on either side (never a folder). */
export interface TreeChange {
  /** Names from the root, latin1. */
  readonly path: readonly string[];
  readonly before: TreeEntry | null;
  readonly after: TreeEntry | null;
}

/** A push is not what could honestly have been pushed: too much of something, or malformed. */
export class TreeError extends Error {}

export interface TreeBounds {
  /** Bytes of one tree object. */
  readonly treeBytes: number;
  /** Folders within folders. */
  readonly depth: number;
  /** Bytes of a path (PATH_MAX is 4,096). */
  readonly pathBytes: number;
}

const FOLDER = '40000';

function isFolder(entry: TreeEntry | null | undefined): boolean {
  return entry?.mode === FOLDER || entry?.mode === '040000';
}

/** `<mode> SP <name> NUL <raw oid>`, repeated. Throws `TreeError`. */
function parseTree(bytes: Buffer, oidBytes: number): TreeMap {
  const entries = new Map<string, TreeEntry>();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const end = bytes.indexOf(0, space);
    if (space < 0 || end < 0 || end + oidBytes >= bytes.length || space > at + 6)
      throw new TreeError('a malformed tree');
    const name = bytes.toString('latin1', space + 1, end);
    if (name === '' || entries.has(name)) throw new TreeError('a tree with an empty or a repeated name');
    entries.set(name, {
      mode: bytes.toString('latin1', at, space),
      name,
      oid: bytes.toString('hex', end + 1, end + 1 + oidBytes),
    });
    at = end + 1 + oidBytes;
  }
  return entries;
}

const EMPTY: TreeMap = new Map();
const CACHED = 20_000;

/**
 * Compares trees by walking only where ids differ, so that a change costs what it touches. An 833-byte pack can name 10^10
 * paths by reusing subtrees: the walk yields path by path, and its consumer stops it at a bound.
 */
export class TreeWalker {
  readonly #reader: ObjectReader;
  readonly #bounds: TreeBounds;
  readonly #cache = new Map<string, TreeMap>();
  readonly #twins = new Map<string, ReadonlyMap<string, readonly string[]>>();

  constructor(reader: ObjectReader, bounds: TreeBounds) {
    this.#reader = reader;
    this.#bounds = bounds;
  }

  async tree(oid: string): Promise<TreeMap> {
    const known = this.#cache.get(oid);
    if (known !== undefined) return known;
    const bytes = await this.#reader.read(oid, 'tree', this.#bounds.treeBytes);
    if (bytes === null) throw new TreeError(`tree ${oid} is missing or larger than ${this.#bounds.treeBytes} bytes`);
    const parsed = parseTree(bytes, oid.length / 2);
    if (this.#cache.size >= CACHED) this.#cache.clear();
    this.#cache.set(oid, parsed);
    return parsed;
  }

  /** Names of one folder that are the same when folded, by what they fold to. */
  async twins(oid: string, fold: (name: string) => string): Promise<ReadonlyMap<string, readonly string[]>> {
    const known = this.#twins.get(oid);
    if (known !== undefined) return known;
    const all = new Map<string, string[]>();
    for (const name of (await this.tree(oid)).keys()) all.set(fold(name), [...(all.get(fold(name)) ?? []), name]);
    for (const [folded, names] of all) if (names.length < 2) all.delete(folded);
    if (this.#twins.size >= CACHED) this.#twins.clear();
    this.#twins.set(oid, all);
    return all;
  }

  /** Every difference, folders entered. `null` stands for no tree at all. Throws `TreeError` beyond the bounds. */
  async *changes(
    before: string | null,
    after: string | null,
    path: readonly string[] = [],
  ): AsyncGenerator<TreeChange> {
    if (before === after) return;
    const { depth, pathBytes } = this.#bounds;
    if (path.length > depth) throw new TreeError(`folders more than ${depth} deep`);
    const old = before === null ? EMPTY : await this.tree(before);
    const now = after === null ? EMPTY : await this.tree(after);
    for (const name of new Set([...old.keys(), ...now.keys()])) {
      const a = old.get(name) ?? null;
      const b = now.get(name) ?? null;
      if (a?.oid === b?.oid && a?.mode === b?.mode) continue;
      const here = [...path, name];
      if (here.reduce((sum, part) => sum + part.length + 1, 0) > pathBytes)
        throw new TreeError(`a path longer than ${pathBytes} bytes`);
      const [oldFolder, newFolder] = [isFolder(a), isFolder(b)];
      if (oldFolder || newFolder) {
        yield* this.changes(oldFolder ? (a?.oid ?? null) : null, newFolder ? (b?.oid ?? null) : null, here);
      }
      const left = oldFolder ? null : a;
      const right = newFolder ? null : b;
      if (left !== null || right !== null) yield { path: here, before: left, after: right };
    }
  }
}
