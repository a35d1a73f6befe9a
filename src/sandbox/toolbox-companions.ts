import { readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/**
 * What known programs execute or load beyond what their ELF headers say. The headers name the libraries a program starts
 * with; modules that it opens by path later (dlopen) and helpers that it executes are only in its documentation.
 *
 * - git executes itself and its transport helpers from its exec-path (git(1), GIT_EXEC_PATH). Its shell scripts are left
 *   out: who lists a shell can list them by path.
 * - Python, Perl and Ruby keep parts of their standard library as shared objects; Java loads its virtual machine so.
 * Native modules inside the workspace (node_modules, virtual environments) are not here: content that the agent can
 * write is never executable under a list.
 */
export interface Companions {
  /** Files to be executable as well; those that do not exist are skipped. */
  readonly executables: readonly string[];
  /** Shared objects to be loadable. */
  readonly modules: readonly string[];
}

/** Loaded by the C library itself when names are looked up and threads are cancelled; skipped where they do not exist. */
export const openedByLibc: readonly string[] = [
  'libgcc_s.so.1',
  'libnss_files.so.2',
  'libnss_dns.so.2',
  'libresolv.so.2',
];

const GIT_HELPERS = ['git', 'git-remote-http', 'git-http-fetch', 'git-sh-i18n--envsubst'];
const MAX_FILES = 8_000;
const MAX_DEPTH = 12;

/** `path` is the real file of an executable. Reads folders only; never runs anything. */
export function companionsOf(path: string): Companions {
  const name = basename(path);
  const home = dirname(path);
  if (name === 'git') return { executables: gitHelpers(home), modules: [] };
  const modules = moduleFolders(name, home).flatMap((folder) => sharedObjects(folder));
  return { executables: [], modules };
}

function gitHelpers(home: string): string[] {
  const folders = [join(home, '../lib/git-core'), join(home, '../libexec/git-core')];
  return folders.flatMap((folder) => GIT_HELPERS.map((helper) => join(folder, helper)));
}

function moduleFolders(name: string, home: string): string[] {
  const lib = join(home, '../lib');
  const multiarch = join(lib, process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu');
  if (/^python3(\.\d+)?$/.test(name)) return [...matching(lib, /^python3(\.\d+)?$/)];
  if (/^perl[\d.]*$/.test(name)) return [...matching(multiarch, /^perl(-base|5)?$/), join(lib, 'perl5')];
  if (/^ruby[\d.]*$/.test(name)) return [join(multiarch, 'ruby'), join(lib, 'ruby')];
  return name === 'java' ? [lib] : [];
}

function matching(folder: string, pattern: RegExp): string[] {
  return entries(folder)
    .filter((entry) => entry.isDirectory() && pattern.test(entry.name))
    .map((entry) => join(folder, entry.name));
}

/** Regular files called `*.so` or `*.so.N` below a folder, links not followed, at most {@link MAX_FILES} entries looked at. */
function sharedObjects(root: string): string[] {
  const found: string[] = [];
  const folders: [string, number][] = [[root, 0]];
  let looked = 0;
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const [folder, depth] = next;
    for (const entry of entries(folder)) {
      if (looked++ > MAX_FILES) return found;
      if (entry.isDirectory() && depth < MAX_DEPTH) folders.push([join(folder, entry.name), depth + 1]);
      else if (entry.isFile() && /\.so(\.\d+)*$/.test(entry.name)) found.push(join(folder, entry.name));
    }
  }
  return found;
}

function entries(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return []; // not installed, or not ours to read: then the program cannot load it either
  }
}
