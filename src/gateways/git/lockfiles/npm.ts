import { parseJson } from './json.ts';
import { flagAt, LockError, type Node, type Table, tableAt, tableOf, textAt } from './node.ts';
import type { Reading } from './reading.ts';

/**
 * `package-lock.json` and `npm-shrinkwrap.json`:
 *
 *   1  dependencies: {name: {version, resolved, integrity, bundled, dependencies: {…}}}
 *   2  both
 *   3  packages: {"node_modules/name[/node_modules/…]": {version, resolved, integrity, name, link, inBundle}, "folder": {…}}
 *
 * npm takes `packages` where there is one, older ones take `dependencies`: what is there is read.
 */
export function readNpm(text: string, reading: Reading): undefined {
  const root = tableOf(parseJson(text), 'it');
  const version = root.get('lockfileVersion');
  if (![1, 2, 3].includes(version?.value as number))
    throw new LockError(version?.line ?? null, 'its lockfileVersion is not 1, 2 or 3');
  if (version?.value !== 1 && !root.has('packages')) throw new LockError(null, 'it has no packages');
  readPackages(tableAt(root, 'packages'), reading);
  readDependencies(tableAt(root, 'dependencies'), reading, false);
}

/** Two spellings of one place, or one that only looks like a folder of the project. */
const ODD = /\\|(?:^|\/)\.?(?:\/|$)|(?:^|\/)node_modules(?:\/@[^/]*)?$/;
const PLACE = /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)$/;

function readPackages(packages: Table, reading: Reading): undefined {
  for (const [key, node] of packages) {
    if (key === '') continue;
    const entry = tableOf(node, 'an entry');
    const { line } = node;
    if (ODD.test(key)) throw new LockError(line, 'an entry has an odd place');
    const resolved = textAt(entry, 'resolved');
    const place = PLACE.exec(key)?.[1];
    if (flagAt(entry, 'link')) reading.local(line, place ?? key, resolved ?? '/');
    else if (place === undefined && resolved === null) reading.local(line, key, key);
    else {
      const name = textAt(entry, 'name') ?? place ?? key;
      addEntry(entry, line, name, reading, flagAt(entry, 'inBundle') && isInBundle(packages, key));
    }
  }
}

/** What is in the file of a package above it has that one's hash. */
function isInBundle(packages: Table, key: string): boolean {
  for (let above = parentOf(key); above !== null; above = parentOf(above)) {
    const entry = packages.get(above);
    if (entry === undefined || !PLACE.test(above)) return false;
    const table = tableOf(entry, 'an entry');
    if (textAt(table, 'integrity') !== null && !flagAt(table, 'link')) return true;
  }
  return false;
}

function parentOf(key: string): string | null {
  const at = key.lastIndexOf('/node_modules/');
  return at === -1 ? null : key.slice(0, at);
}

/** `within`: a package with a hash is above. */
function readDependencies(dependencies: Table, reading: Reading, within: boolean): undefined {
  for (const [key, node] of dependencies) {
    const entry = tableOf(node, 'an entry');
    const version = textAt(entry, 'version') ?? '';
    const bundled = flagAt(entry, 'bundled') && within;
    if (/^file:/.test(version) && textAt(entry, 'resolved') === null) reading.local(node.line, key, version.slice(5));
    else if (/^[a-z+.-]+:/i.test(version) && !version.startsWith('npm:')) readAddress(entry, node, key, reading);
    else {
      const alias = /^npm:(@?[^@]+)@(.+)$/.exec(version);
      addEntry(entry, node.line, alias?.[1] ?? key, reading, bundled, alias?.[2] ?? version);
    }
    readDependencies(tableAt(entry, 'dependencies'), reading, textAt(entry, 'integrity') !== null || bundled);
  }
}

/** Which version an address leads to is not said. */
function readAddress(entry: Table, { line }: Node, name: string, reading: Reading): undefined {
  const version = textAt(entry, 'version') ?? '';
  const before = reading.problems.length + reading.more;
  reading.place(line, name, version);
  if (reading.problems.length + reading.more === before)
    reading.problem(line, name, 'has an address in place of a version: npm 7 or later writes both');
}

function addEntry(
  entry: Table,
  line: number | null,
  name: string,
  reading: Reading,
  bundled: boolean,
  version = textAt(entry, 'version') ?? '',
): undefined {
  const resolved = textAt(entry, 'resolved');
  const integrity = textAt(entry, 'integrity');
  const inside = bundled && resolved === null && integrity === null;
  reading.add({
    name,
    version,
    line,
    urls: resolved === null ? [] : [resolved],
    hashes: integrity === null ? [] : [integrity],
    kind: inside ? 'bundled' : 'file',
  });
}
