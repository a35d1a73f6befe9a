import { lstatSync, readFileSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * The `.git` folder of an ordinary clone at or above a folder, found as git finds it. Null for everything that wants more than
 * that (linked work trees, bare repositories, SHA-256, another file system on the way): then git is asked.
 */
export function plainGitDir(cwd: string): string | null {
  const device = statOf(cwd)?.dev;
  for (let dir = cwd; ; dir = dirname(dir)) {
    const gitDir = join(dir, '.git');
    const found = statOf(gitDir);
    if (found !== null) return found.isDirectory() && isPlain(gitDir) ? gitDir : null;
    if (statOf(join(dir, 'HEAD')) !== null || dirname(dir) === dir || statOf(dir)?.dev !== device) return null;
  }
}

function isPlain(gitDir: string): boolean {
  const is = (name: string) => statOf(join(gitDir, name));
  if (!is('HEAD')?.isFile() || !is('objects')?.isDirectory() || !is('refs')?.isDirectory()) return false;
  if (is('commondir') !== null) return false;
  try {
    return !/objectformat/i.test(readFileSync(join(gitDir, 'config'), 'utf8'));
  } catch {
    return false;
  }
}

function statOf(path: string): Stats | null {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) ?? null;
  } catch {
    return null;
  }
}
