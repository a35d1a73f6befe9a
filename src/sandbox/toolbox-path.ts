import { lstatSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A link that the guest must find for a listed name to lead to its file. */
export interface ToolLink {
  /** Where the link lies, its folder without links. */
  readonly path: string;
  /** What it says, as stored. */
  readonly target: string;
}

export interface ResolvedPath {
  /** The file in the end: absolute, no component of it a link. */
  readonly path: string;
  /** Every link on the way, in the order they are met. */
  readonly links: readonly ToolLink[];
}

/** As many as the kernel follows (MAXSYMLINKS). */
const MAX_LINKS = 40;

/**
 * Follows every link of an absolute path, component by component, and remembers each. Unlike `realpath` it tells the
 * way: a sandbox that has `/usr` but no `/etc/alternatives` needs that link made.
 * Throws the system's error (ENOENT, ENOTDIR, EACCES), or one with code ELOOP.
 */
export function resolvePath(path: string): ResolvedPath {
  if (!path.startsWith('/')) throw new TypeError(`${path} is not an absolute path`);
  const links: ToolLink[] = [];
  const rest = components(path).reverse();
  let at = '/';
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (name === '..') {
      at = dirname(at);
      continue;
    }
    const next = join(at, name);
    const stat = lstatSync(next);
    if (!stat.isSymbolicLink()) {
      at = next;
      continue;
    }
    const target = readlinkSync(next);
    links.push({ path: next, target });
    if (links.length > MAX_LINKS) {
      throw Object.assign(new Error(`${path} goes through more than ${MAX_LINKS} links`), { code: 'ELOOP' });
    }
    if (target.startsWith('/')) at = '/';
    rest.push(...components(target).reverse());
  }
  return { path: at, links };
}

function components(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}
