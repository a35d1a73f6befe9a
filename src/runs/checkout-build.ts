import { once } from 'node:events';
import { chmod, link, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OutsideError, StorageError, WorkspaceError } from '../base/errors.ts';
import { type GitPlace, git, gitBytes, gitFailure, gitText, isOid, killGit, spawnGit } from '../base/git.ts';
import { ObjectReader } from '../base/git-objects.ts';
import { minimalEnv, runProgram } from '../base/process.ts';
import { nothingMatches } from './asked-paths.ts';
import { setIndexTimes } from './checkout-index.ts';
import { sparseFile } from './checkout-paths.ts';
import { surveyTree, type TreeFacts, type TreeLimits } from './checkout-survey.ts';
import type { ShownRef } from './shown-refs.ts';
import type { Repository } from './workspace.ts';

/** How much history goes along: so many commits deep, or all of it. */
export type Depth = number | 'full';

export interface BuildPlan {
  readonly repository: Repository;
  readonly branch: string;
  readonly paths: readonly string[];
  readonly depth: Depth;
  /** Shown beside the branch. */
  readonly refs: readonly ShownRef[];
  readonly owner: { readonly uid: number; readonly gid: number } | null;
  readonly limits: TreeLimits;
  /** Unix time in milliseconds. */
  readonly now: number;
}

export interface BuiltFacts extends TreeFacts {
  /** Commits whose parents were left out. */
  readonly shallow: readonly string[];
}

const HOUR = 3_600_000;

/**
 * Writes two folders below `into`, which exists and is empty:
 * - `view.git`: a bare repository of ours with exactly the objects that the run may see. Never mounted, never chowned:
 *   the git gateway serves fetches from it and takes pushes against it.
 * - `tree`: the working tree with a `.git` of ours: no hooks, no configuration of the host, no remotes; its pack is the
 *   view's, hard-linked and read-only.
 * The user's repository is only read from, as an alternate object folder of `view.git`.
 */
export async function buildCheckout(into: string, plan: BuildPlan): Promise<BuiltFacts> {
  const { repository } = plan;
  const view = join(into, 'view.git');
  const source: GitPlace = { gitDir: view, objects: join(view, 'objects'), alternates: [repository.objectsDir] };
  await writeSkeleton(view, plan, true);
  await writeFile(join(view, 'shallow'), shallowLines(repository.shallow));
  const facts = await surveyTree(source, repository.base, plan.limits);
  const shallow = await historyEnds(source, plan);
  await writeFile(join(view, 'shallow'), shallowLines(shallow));
  await packHistory(source, plan);
  await writeTree(into, plan, shallow);
  return { ...facts, shallow };
}

function shallowLines(commits: readonly string[]): string {
  return commits.map((oid) => `${oid}\n`).join('');
}

/** A repository without a template: `git init` would copy the host's hooks. */
async function writeSkeleton(gitDir: string, plan: BuildPlan, bare: boolean): Promise<void> {
  for (const folder of ['objects/pack', 'objects/info', 'refs/heads', 'refs/tags', 'info']) {
    await mkdir(join(gitDir, folder), { recursive: true, mode: 0o755 });
  }
  await writeFile(join(gitDir, 'HEAD'), `ref: refs/heads/${plan.branch}\n`);
  await writeFile(join(gitDir, 'packed-refs'), packedRefs(plan, bare ? plan.refs : []));
  await writeFile(join(gitDir, 'config'), configuration(plan, bare));
  if (plan.paths.length > 0) await writeFile(join(gitDir, 'info', 'sparse-checkout'), sparseFile(plan.paths));
}

function packedRefs({ repository, branch }: BuildPlan, refs: readonly ShownRef[]): string {
  const base = { name: `refs/heads/${branch}`, oid: repository.base, commit: repository.base };
  const lines = [base, ...refs]
    .map((ref) => ({ ...ref, bytes: Buffer.from(ref.name) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ name, oid, commit }) => `${oid} ${name}\n${oid === commit ? '' : `^${commit}\n`}`);
  return `# pack-refs with: peeled fully-peeled sorted \n${lines.join('')}`;
}

/** Where the history that the run sees begins. */
function tipsOf({ repository, refs }: BuildPlan): string[] {
  return [...new Set([repository.base, ...refs.map(({ commit }) => commit)])];
}

function configuration(plan: BuildPlan, bare: boolean): string {
  const partial = plan.paths.length > 0;
  const sha256 = plan.repository.objectFormat === 'sha256';
  return [
    '[core]',
    `\trepositoryformatversion = ${partial || sha256 ? 1 : 0}`,
    '\tfilemode = true',
    `\tbare = ${bare}`,
    // The index was written by another user id, through another file system: only size and time mean anything.
    ...(bare ? [] : ['\tlogallrefupdates = true', '\tcheckStat = minimal', '\ttrustctime = false']),
    ...(partial ? ['\tsparseCheckout = true', '\tsparseCheckoutCone = false'] : []),
    ...(partial || sha256 ? ['[extensions]'] : []),
    // What is left out of a partial checkout is "promised" by a remote: without that, git would call it corrupt.
    ...(partial ? ['\tpartialClone = origin'] : []),
    ...(sha256 ? ['\tobjectFormat = sha256'] : []),
    '[gc]\n\tauto = 0',
    '[maintenance]\n\tauto = false',
    '',
  ].join('\n');
}

/** The commits at which history is cut: where the depth is reached, and where the user's own clone ends. */
async function historyEnds(source: GitPlace, plan: BuildPlan): Promise<readonly string[]> {
  const { shallow } = plan.repository;
  const tips = tipsOf(plan);
  const ends = new Set(shallow);
  if (plan.depth === 'full') {
    if (shallow.length === 0) return [];
    const options = { stdin: `${tips.join('\n')}\n`, timeout: HOUR, maxOutput: 1024 ** 3 };
    const all = new Set((await gitText(source, ['rev-list', '--stdin'], options)).split('\n'));
    return shallow.filter((oid) => all.has(oid));
  }
  const reader = new ObjectReader(source);
  try {
    const kept: string[] = [];
    const seen = new Set(tips);
    let level = tips;
    for (let depth = 1; level.length > 0; depth++) {
      const parents = await Promise.all(level.map((oid) => (ends.has(oid) ? [] : parentsOf(reader, oid))));
      kept.push(...level.filter((oid) => ends.has(oid)));
      if (depth === plan.depth) return [...kept, ...level.filter((_, i) => (parents[i] as string[]).length > 0)].sort();
      level = [...new Set(parents.flat())].filter((oid) => !seen.has(oid));
      for (const oid of level) seen.add(oid);
    }
    return kept.sort();
  } finally {
    reader.close();
  }
}

async function parentsOf(reader: ObjectReader, oid: string): Promise<string[]> {
  const commit = await reader.read(oid, 'commit', 16 * 1024 * 1024);
  if (commit === null) throw new WorkspaceError(`commit ${oid} cannot be read`, { remedy: 'see git fsck' });
  const header = commit.toString('latin1').split('\n\n', 1)[0] ?? '';
  return header
    .split('\n')
    .filter((line) => line.startsWith('parent '))
    .map((line) => line.slice(7))
    .filter(isOid);
}

/** One pack of exactly what is reachable from the base and the shown refs, cut where `shallow` says, without files outside of the paths. */
async function packHistory(source: GitPlace, plan: BuildPlan): Promise<void> {
  const target = join(source.gitDir, 'objects', 'pack');
  // Deltas that exist are reused; looking for new ones costs more than the disk that it would save.
  const pack = ['pack-objects', '--window=0', '--delta-base-offset', '-q', '--compression=1', join(target, 'pack')];
  const tips = [plan.repository.base, ...plan.refs.map(({ oid }) => oid)];
  if (plan.paths.length === 0) {
    await gitBytes(source, [...pack, '--revs'], { stdin: `${tips.join('\n')}\n`, timeout: HOUR });
  } else {
    const patterns = await gitText(source, ['hash-object', '-w', '--stdin'], { stdin: sparseFile(plan.paths) });
    const list = ['rev-list', '--objects', `--filter=sparse:oid=${patterns}`, '--stdin'];
    await pipe(source, list, pack, `${tips.join('\n')}\n`);
  }
  const files = await readdir(target);
  for (const file of files) await chmod(join(target, file), 0o444);
  if (plan.paths.length > 0) {
    for (const file of files.filter((name) => name.endsWith('.pack'))) {
      await writeFile(join(target, file.replace(/\.pack$/, '.promisor')), '', { mode: 0o444 });
    }
  }
}

/** `git <from> | git <to>`, both of which must succeed. */
async function pipe(place: GitPlace, from: readonly string[], to: readonly string[], stdin: string): Promise<void> {
  const first = spawnGit(place, from);
  const second = spawnGit(place, to);
  const timer = setTimeout(() => [first, second].forEach(killGit), HOUR);
  try {
    first.stdin.end(stdin);
    first.stdout.pipe(second.stdin);
    second.stdout.resume();
    for (const child of [first, second]) child.stderr.resume();
    const codes = await Promise.all([once(first, 'close'), once(second, 'close')]);
    if (codes.some(([code]) => code !== 0)) {
      throw new OutsideError(
        `git ${from[0]} | git ${to[0]} in ${place.gitDir} ended with ${codes.map(([code]) => code).join(' and ')}`,
      );
    }
  } finally {
    clearTimeout(timer);
    for (const child of [first, second]) killGit(child);
  }
}

async function writeTree(into: string, plan: BuildPlan, shallow: readonly string[]): Promise<void> {
  const tree = join(into, 'tree');
  const gitDir = join(tree, '.git');
  const objects = join(into, 'view.git', 'objects');
  const index = join(gitDir, 'index');
  await mkdir(tree, { mode: 0o755 });
  await writeSkeleton(gitDir, plan, false);
  if (shallow.length > 0) await writeFile(join(gitDir, 'shallow'), shallowLines(shallow));
  const place: GitPlace = { gitDir, workTree: tree, objects };
  const args = ['read-tree', '-m', '-u', plan.repository.base];
  const written = await git(place, args, { cwd: tree, config: ['checkout.workers=-1'], timeout: HOUR });
  if (written.exitCode !== 0) {
    throw new StorageError(`commit ${plan.repository.base} could not be checked out`, {
      cause: gitFailure(place, args, written),
      remedy: 'see the cause: a full disk, or a tree that git refuses (git fsck)',
    });
  }
  if (plan.paths.length > 0 && (await readdir(tree)).length === 1) {
    throw nothingMatches(plan.repository.base, plan.paths);
  }
  const seconds = await fileTime(place, plan);
  await program('find', [
    tree,
    '-path',
    gitDir,
    '-prune',
    '-o',
    '-exec',
    'touch',
    '-h',
    '-c',
    '-d',
    `@${seconds}`,
    '{}',
    '+',
  ]);
  await writeFile(index, setIndexTimes(await readFile(index), seconds, plan.repository.objectFormat));
  // The packs are linked after this: an inode shared with the view stays ours.
  if (plan.owner !== null) await program('chown', ['-hR', `${plan.owner.uid}:${plan.owner.gid}`, tree]);
  for (const file of await readdir(join(objects, 'pack'))) {
    await link(join(objects, 'pack', file), join(gitDir, 'objects', 'pack', file));
  }
}

/** One time for all files: when the base was committed, kept between 1980 (zip archives) and an hour ago. */
async function fileTime(place: GitPlace, plan: BuildPlan): Promise<number> {
  const committed = Number(await gitText(place, ['show', '-s', '--format=%ct', plan.repository.base]));
  const latest = Math.floor((plan.now - HOUR) / 1000);
  return Math.max(315_532_800, Math.min(Number.isSafeInteger(committed) ? committed : latest, latest, 0xffff_fffe));
}

async function program(name: string, args: readonly string[]): Promise<void> {
  const result = await runProgram(name, args, { env: minimalEnv, timeout: HOUR });
  if (result.exitCode !== 0) {
    throw new StorageError(
      `${name} ended with exit code ${result.exitCode}: ${result.stderr.trim().split('\n').at(-1) ?? ''}`,
    );
  }
}
