/** What `--path` names, held against the commit before there is a run. */
import { WorkspaceError } from '../base/errors.ts';
import { git } from '../base/git.ts';
import { safeText } from '../base/term.ts';
import { matchPath, parsePathGlob } from '../policy/paths.ts';
import { sparsePattern } from './checkout-paths.ts';
import type { RunIo } from './system.ts';
import type { Repository } from './workspace.ts';

/**
 * Throws `UsageError` for what is no glob, and `WorkspaceError` where all of them together match nothing. One of several that matches
 * nothing is said only: it may name what the run is to make.
 */
export async function checkPaths(
  { commonDir, base }: Pick<Repository, 'commonDir' | 'base'>,
  paths: readonly string[],
  io: Pick<RunIo, 'notes' | 'onProgress'>,
): Promise<void> {
  paths.forEach(sparsePattern);
  // With folders: one that is matched comes with all that is in it.
  const args = ['ls-tree', '-r', '-t', '-z', '--name-only', base];
  const listing = await git({ gitDir: commonDir }, args, { timeout: 300_000, maxOutput: 512 * 1024 * 1024 });
  if (listing.exitCode !== 0) return; // what is wrong with the repository is said where it is checked out
  const missing = new Set(paths);
  for (const path of names(listing.stdout)) {
    for (const text of missing) {
      const glob = parsePathGlob(text);
      if (glob.ok && matchPath(glob.value, path)) missing.delete(text);
    }
    if (missing.size === 0) return;
  }
  if (missing.size === paths.length) throw nothingMatches(base, paths);
  const these = [...missing].map((text) => `--path ${safeText(text)}`).join(', ');
  if (io.notes) io.onProgress({ step: `note: no file of commit ${base.slice(0, 12)} matches ${these}` });
}

function* names(listing: Buffer): Generator<string> {
  for (let at = 0; at < listing.length; ) {
    const end = listing.indexOf(0, at);
    yield listing.toString('utf8', at, end);
    at = end + 1;
  }
}

export function nothingMatches(base: string, paths: readonly string[]): WorkspaceError {
  return new WorkspaceError(`no file of commit ${base} matches --path ${paths.map(safeText).join(', --path ')}`, {
    remedy: `list them: git ls-tree -r --name-only ${base.slice(0, 12)}`,
  });
}
