import { LimitError } from '../../base/errors.ts';
import type { ObjectReader } from '../../base/git-objects.ts';
import { safeText } from '../../base/term.ts';
import { foldName } from '../../policy/paths.ts';
import type { Finding } from './checks.ts';
import type { CommitFacts } from './commits.ts';
import { isActedUpon, linkProblem, pathText } from './names.ts';
import type { PushLimits } from './push-limits.ts';
import { type TreeChange, TreeError, type TreeWalker } from './trees.ts';

export interface ChangesRequest {
  readonly commits: readonly CommitFacts[];
  readonly base: string;
  readonly head: string;
  readonly walker: TreeWalker;
  readonly reader: ObjectReader;
  readonly limits: PushLimits;
  readonly findings: Finding[];
}

const MODES = new Set(['100644', '100755', '120000', '160000']);
const LINK_BYTES = 4096;

export interface Changes {
  /** Every path that changes, with the first new commit that changes it; in the order of paths. */
  readonly touched: ReadonlyMap<string, string>;
  /** Every regular file that is new or changed, by the id of its content: paths, each with the first commit that puts it there. */
  readonly contents: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Every symbolic link that is new or changed, with the first commit that puts it there. */
  readonly links: ReadonlyMap<string, string>;
}

/**
 * Every path that differs in any new commit (against its first parent) or between base and head; with what is wrong
 * about what is there now. A rename shows as both of its paths.
 * Throws `LimitError` or `TreeError` beyond the bounds.
 */
export async function inspectChanges(request: ChangesRequest): Promise<Changes> {
  const { commits, limits, walker } = request;
  const trees = new Map(commits.map((commit) => [commit.oid, commit.tree]));
  const treeOf = async (oid: string) => trees.get(oid) ?? (await readTreeId(request.reader, oid));
  const found = new Map<string, string>();
  const touched = new Map<string, string>();
  const contents = new Map<string, Map<string, string>>();
  const links = new Map<string, string>();
  let seen = 0;
  const pairs = commits.map((commit) => ({ commit: commit.oid, from: commit.parents[0] ?? null }));
  for (const { commit, from } of [...pairs, { commit: request.head, from: request.base }]) {
    const before = from === null ? null : await treeOf(from);
    for await (const change of walker.changes(before, await treeOf(commit))) {
      seen += 1;
      if (seen > 2 * limits.changedPaths)
        throw new LimitError('push', `more than ${limits.changedPaths} changed paths`);
      const key = change.path.join('/');
      const path = await judge(change, commit, await treeOf(commit), request);
      if (path !== null) {
        found.set(key, path);
        if (!touched.has(path)) touched.set(path, commit);
        keep(contents, change, path, commit);
        if (change.after?.mode === '120000' && !links.has(path)) links.set(path, commit);
      }
      if (found.size > limits.changedPaths)
        throw new LimitError('push', `more than ${limits.changedPaths} changed paths`);
    }
  }
  return { touched: new Map([...touched].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))), contents, links };
}

function keep(contents: Map<string, Map<string, string>>, { after }: TreeChange, path: string, commit: string): void {
  if (after === null || !after.mode.startsWith('100')) return;
  const places = contents.get(after.oid) ?? new Map<string, string>();
  if (!places.has(path)) places.set(path, commit);
  contents.set(after.oid, places);
}

/** The tree of a commit. Throws `TreeError`. */
export async function readTreeId(reader: ObjectReader, commit: string): Promise<string> {
  const bytes = await reader.read(commit, 'commit', 16 * 1024 * 1024);
  const tree = /^tree ([0-9a-f]{40,64})\n/.exec(bytes?.toString('latin1', 0, 80) ?? '')?.[1];
  if (tree === undefined) throw new TreeError(`a parent that cannot be read: ${commit}`);
  return tree;
}

/** The path as text; null, with a finding, when it has no form that a policy could decide upon. */
async function judge(
  change: TreeChange,
  commit: string,
  tree: string,
  request: ChangesRequest,
): Promise<string | null> {
  const { findings } = request;
  const shown = safeText(Buffer.from(change.path.join('/'), 'latin1').toString());
  const add = (severity: Finding['severity'], message: string) => {
    if (findings.length < 1000) findings.push({ severity, path: shown, commit, message });
    else if (severity === 'refuse') throw new LimitError('push', 'more than 1000 findings');
  };
  const text = pathText(change.path);
  if (!text.ok) {
    add('refuse', text.why);
    return null;
  }
  const { before, after } = change;
  if (after !== null) {
    if (!MODES.has(after.mode)) add('refuse', `an odd file mode: ${safeText(after.mode)}`);
    if (after.mode === '160000') add('refuse', 'a submodule link: nothing about the commit it names is known here');
    if (after.mode === '120000') await judgeLink(change, add, request.reader);
    if (isGitModules(text.path)) add('refuse', 'git fetches from the addresses in this file on the reviewer’s machine');
    await judgeClash(change, tree, add, request.walker);
    if (after.mode === '100755' && before?.mode === '100644') add('note', 'became executable');
  } else if (before?.mode === '160000' || isGitModules(text.path)) add('note', 'a submodule is removed');
  if (isActedUpon(text.path)) add('note', 'programs on the reviewer’s machine or in CI act upon this file');
  return text.path;
}

function isGitModules(path: string): boolean {
  const plain = path.normalize('NFKC').toLowerCase();
  return plain === '.gitmodules' || /^gitmod~\d$/.test(plain) || /^\.gitmodules[. ]*(?::.*)?$/.test(plain);
}

async function judgeLink(
  change: TreeChange,
  add: (severity: 'refuse', message: string) => void,
  reader: ObjectReader,
): Promise<void> {
  const target = await reader.read(change.after?.oid ?? '', 'blob', LINK_BYTES);
  if (target === null) return add('refuse', `a symbolic link whose target is longer than ${LINK_BYTES} bytes`);
  const problem = linkProblem(change.path, target);
  if (problem !== null) add('refuse', `${problem}: ${safeText(target.toString().slice(0, 200))}`);
}

/** Without the dotless `ı`, which no file system takes for an `i`: `sınıf` and `sinif` are two names. */
const fold = (name: string) => Buffer.from(name, 'latin1').toString('utf8').split('ı').map(foldName).join('ı');

/**
 * Two names in one folder that are one name on macOS or Windows: `a` a link and `A/x` a file writes through the link
 * at checkout (CVE-2021-21300).
 */
async function judgeClash(
  change: TreeChange,
  root: string,
  add: (severity: 'refuse' | 'note', message: string) => void,
  walker: TreeWalker,
): Promise<void> {
  let tree = root;
  for (const name of change.path) {
    const folder = await walker.tree(tree);
    const same = (await walker.twins(tree, fold)).get(fold(name));
    if (same !== undefined) {
      const link = same.some((twin) => folder.get(twin)?.mode === '120000');
      const names = same.map((twin) => safeText(Buffer.from(twin, 'latin1').toString())).join(' and ');
      return add(
        link ? 'refuse' : 'note',
        `${names} are one name on other systems${link ? ', and one is a link' : ''}`,
      );
    }
    tree = folder.get(name)?.oid ?? '';
  }
}
