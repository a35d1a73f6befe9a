import type { Changes } from '../changes.ts';
import type { TreeEntry, TreeWalker } from '../trees.ts';
import { formatOf } from './formats.ts';

export interface LostRequest {
  readonly changes: Changes;
  readonly walker: TreeWalker;
  /** Trees. */
  readonly base: string;
  readonly head: string;
}

const MANIFESTS = {
  npm: /^package\.json$/i,
  pypi: /^(?:pyproject\.toml|pipfile|setup\.(?:py|cfg)|requirements[^/]*\.in)$/i,
} as const;

/**
 * Lock files of the base that are gone or renamed in the end, while what they locked is still there and no other lock file of
 * that ecosystem is beside it: with them went every hash.
 */
export async function lostLocks(
  { changes, walker, base, head }: LostRequest,
  entryAt: (tree: string, path: string) => Promise<TreeEntry | null>,
): Promise<{ path: string; commit: string }[]> {
  const lost: { path: string; commit: string }[] = [];
  for (const [path, commit] of changes.touched) {
    const format = formatOf(path);
    if (format?.kind !== 'lock') continue;
    if ((await entryAt(base, path)) === null || (await entryAt(head, path)) !== null) continue;
    const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : null;
    const tree = folder === null ? head : ((await entryAt(head, folder))?.oid ?? null);
    if (tree === null) continue;
    const names = [...(await walker.tree(tree)).keys()];
    const other = names.some((name) => {
      const each = formatOf(name);
      return each !== null && each.kind !== 'settings' && each.ecosystem === format.ecosystem;
    });
    if (!other && names.some((name) => MANIFESTS[format.ecosystem].test(name))) lost.push({ path, commit });
  }
  return lost;
}
