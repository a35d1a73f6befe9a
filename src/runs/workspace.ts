import { lstatSync, realpathSync, type Stats, statSync } from 'node:fs';
import { access, constants, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WorkspaceError } from '../base/errors.ts';
import { type GitPlace, git, gitDiscovering, isOid } from '../base/git.ts';
import { safeText } from '../base/term.ts';
import type { Forge, RemoteRef } from '../forge/forge.ts';
import { type ObjectFacts, ObjectQuestions } from './object-questions.ts';

/** Something the user should know about their repository; it does not stop the run. */
export interface Notice {
  readonly code:
    | 'below_top'
    | 'linked_worktree'
    | 'shallow'
    | 'uncommitted_work'
    | 'uncommitted_policy'
    | 'submodules'
    | 'filtered_files'
    | 'odd_names'
    | 'large';
  /** One sentence, printable. */
  readonly message: string;
}

/** A repository as trusted code found it: the user's own, or the mirror of a remote one. Paths are absolute and free of links. */
export interface Repository {
  /** What decisions, events and scopes call it: a local one's `dir`, a remote one's `host/path`. */
  readonly name: string;
  /** The working tree's top folder. */
  readonly dir: string;
  /** This working tree's own git folder: HEAD and index. Differs from `commonDir` in a linked worktree. */
  readonly gitDir: string;
  /** Refs, configuration, objects. */
  readonly commonDir: string;
  readonly objectsDir: string;
  readonly objectFormat: 'sha1' | 'sha256';
  /** The commit the run starts from. */
  readonly base: string;
  /** Where the repository's policy is read: `base`, or of a remote one its default branch. */
  readonly policyCommit: string;
  /** Short name of the branch that `base` named; null when it named a commit, a tag or a detached HEAD. */
  readonly baseBranch: string | null;
  /** Commits whose parents this repository does not have. */
  readonly shallow: readonly string[];
  /** Who owns the repository's git folder: deliveries are written as them. */
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly notices: readonly Notice[];
  /** Null for a repository of this machine. */
  readonly remote: RemoteSide | null;
}

/** Where a mirrored repository comes from, and where its changes go. */
export interface RemoteSide {
  readonly forge: Forge;
  /** What was there when the run began. */
  readonly refs: readonly RemoteRef[];
  /** The mirror may be packed anew. Idempotent. */
  close(): void;
}

/**
 * Finds and judges the repository a user named. Runs only `git rev-parse` and `git cat-file --batch-check` there, which start
 * no program and read neither the working tree nor any object's content. Both are started before this returns.
 *
 * Ownership (git's "dubious ownership", CVE-2022-24765): a folder that the user named is taken whoever owns it, as
 * nothing its configuration says is run. A repository found in a folder *above* the named one was not named by anybody:
 * it must belong to the current user, to root, or to the user behind `sudo`.
 *
 * Throws `WorkspaceError`: no repository, bare, no commit, no such base, not readable.
 */
export async function inspectRepository(named: string, base = 'HEAD'): Promise<Repository> {
  const { repository, objects } = await openRepository(named, base);
  objects.close();
  return repository;
}

/** The same, and git, which may be asked about more objects; it has to be closed. */
export async function openRepository(
  named: string,
  base: string,
): Promise<{ readonly repository: Repository; readonly objects: ObjectQuestions }> {
  const dir = findTop(named);
  const objects = new ObjectQuestions(dir, ceiling(dir));
  try {
    const commit = objects.about(`${base}^{commit}`);
    commit.catch(() => {}); // what is no repository answers nothing, and is told so by what is missing of the facts
    const facts = await factsOf(dir, base);
    return { repository: await judged(named, dir, base, facts, commit), objects };
  } catch (error) {
    objects.close();
    throw error;
  }
}

/** What `git rev-parse` says of a repository and of a name in it, in one go. */
async function factsOf(dir: string, base: string): Promise<readonly string[]> {
  const places = ['--path-format=absolute', '--git-dir', '--git-common-dir', '--git-path', 'objects'];
  const words = ['rev-parse', ...places, '--show-object-format', '--symbolic-full-name', '--end-of-options', base];
  const options = { env: ceiling(dir), timeout: 20_000, maxOutput: 1024 * 1024 };
  // It ends with an error when there is no such base, and has told all else by then.
  const { stdout } = await gitDiscovering(dir, words, options);
  const text = stdout.toString().replace(/\n$/, '');
  return text === '' ? [] : text.split('\n');
}

async function judged(
  named: string,
  dir: string,
  base: string,
  facts: readonly string[],
  asked: Promise<ObjectFacts | null>,
): Promise<Repository> {
  const [gitDir, commonDir, objectsDir, objectFormat, ...rest] = facts;
  if (gitDir === undefined || commonDir === undefined || objectsDir === undefined || objectFormat === undefined) {
    throw new WorkspaceError(`${safeText(dir)} is not a git repository that can be read`, {
      remedy: `see what \`git -C ${safeText(dir)} rev-parse --git-dir\` says`,
    });
  }
  if (objectFormat !== 'sha1' && objectFormat !== 'sha256') {
    throw new WorkspaceError(`${safeText(dir)} names its objects by ${safeText(objectFormat)}, which is unknown`);
  }
  await readable(dir, objectsDir);
  const commit = await asked;
  if (commit === null) throw await noCommit(dir, base);
  const shallow = await shallowCommits(commonDir);
  const owner = await stat(commonDir);
  return {
    name: dir,
    dir,
    gitDir: await realpath(gitDir),
    commonDir: await realpath(commonDir),
    objectsDir: await realpath(objectsDir),
    objectFormat,
    base: commit.oid,
    policyCommit: commit.oid,
    baseBranch: branchOf(rest),
    shallow,
    owner: { uid: owner.uid, gid: owner.gid },
    remote: null,
    notices: noticesOf(named, dir, gitDir !== commonDir, shallow.length > 0),
  };
}

/** The folder at or above `named` that holds `.git`. Waits for nothing, so that git is asked at once. */
function findTop(named: string): string {
  let start: string;
  try {
    start = realpathSync(named);
  } catch (cause) {
    throw new WorkspaceError(`there is no folder ${safeText(named)}`, {
      cause,
      remedy: 'name one with --workspace DIR',
    });
  }
  for (let dir = start; ; dir = dirname(dir)) {
    const mark = entryOf(join(dir, '.git'));
    if (mark !== null) {
      if (dir !== start) refuseStranger(dir, mark);
      return dir;
    }
    if (isBare(dir)) {
      throw new WorkspaceError(`${safeText(dir)} is a bare repository: it has no working tree to start from`, {
        remedy: 'name a clone of it with --workspace DIR',
      });
    }
    if (dir === dirname(dir)) break;
  }
  throw new WorkspaceError(`${safeText(start)} is not in a git repository`, {
    remedy: 'name one with --workspace DIR, or make one: git init && git add -A && git commit',
  });
}

function entryOf(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch {
    return null;
  }
}

function isBare(dir: string): boolean {
  const entry = (name: string) => statSync(join(dir, name), { throwIfNoEntry: false });
  try {
    return (
      entry('HEAD')?.isFile() === true &&
      entry('objects')?.isDirectory() === true &&
      entry('refs')?.isDirectory() === true
    );
  } catch {
    return false; // not readable: nobody's repository as far as we can tell
  }
}

function refuseStranger(dir: string, mark: Stats): void {
  const me = process.geteuid?.() ?? 0;
  const sudo = me === 0 && /^[0-9]{1,10}$/.test(process.env.SUDO_UID ?? '') ? Number(process.env.SUDO_UID) : null;
  if (mark.uid === me || mark.uid === 0 || mark.uid === sudo) return;
  throw new WorkspaceError(`the repository above, ${safeText(dir)}, belongs to another user (uid ${mark.uid})`, {
    remedy: `if it is the one you mean, name it: --workspace ${safeText(dir)}`,
  });
}

function ceiling(dir: string): Readonly<Record<string, string>> {
  return { GIT_CEILING_DIRECTORIES: dirname(dir) };
}

/** One `git rev-parse`; null when it says no. The search for the repository may not leave `dir`. */
async function ask(dir: string, args: readonly string[]): Promise<string | null> {
  const result = await gitDiscovering(dir, ['rev-parse', ...args], {
    env: ceiling(dir),
    timeout: 20_000,
    maxOutput: 1024 * 1024,
  });
  return result.exitCode === 0 ? result.stdout.toString().replace(/\n$/, '') : null;
}

async function readable(dir: string, objectsDir: string): Promise<void> {
  try {
    await access(objectsDir, constants.R_OK | constants.X_OK);
  } catch (cause) {
    throw new WorkspaceError(`the objects of ${safeText(dir)} cannot be read by uid ${process.geteuid?.() ?? '?'}`, {
      cause,
      remedy: 'run as the user who owns the repository',
    });
  }
}

async function noCommit(dir: string, base: string): Promise<WorkspaceError> {
  const any = await ask(dir, ['--verify', '--quiet', 'HEAD^{commit}']);
  if (any === null && base === 'HEAD') {
    return new WorkspaceError(`${safeText(dir)} has no commit to start from`, { remedy: 'git add -A && git commit' });
  }
  return new WorkspaceError(`${safeText(dir)} has no commit ${safeText(base)}`, {
    remedy: 'name a branch, tag or commit that `git log` shows; in a partial or shallow clone, fetch it first',
  });
}

/** Out of what `--symbolic-full-name` told. Some versions of git repeat `--end-of-options` on a line of its own. */
function branchOf(answer: readonly string[]): string | null {
  return /^refs\/(?:heads|remotes\/[^/]+)\/(.+)$/.exec(answer.at(-1) ?? '')?.[1] ?? null;
}

async function shallowCommits(commonDir: string): Promise<readonly string[]> {
  const text = await readFile(join(commonDir, 'shallow'), 'latin1').catch(() => '');
  return text.split('\n').filter(isOid).sort();
}

function noticesOf(named: string, dir: string, linked: boolean, shallow: boolean): readonly Notice[] {
  const notices: Notice[] = [];
  const given = statSync(named, { throwIfNoEntry: false });
  const top = statSync(dir);
  if (given?.ino !== top.ino || given.dev !== top.dev) {
    notices.push({ code: 'below_top', message: `the workspace is the whole repository, ${safeText(dir)}` });
  }
  if (linked)
    notices.push({
      code: 'linked_worktree',
      message: 'this is a linked worktree; the branch appears in its main repository',
    });
  if (shallow)
    notices.push({ code: 'shallow', message: 'this is a shallow clone; the run sees no more history than it has' });
  return notices;
}

/**
 * Is there work that the run will not see? Compares the user's index and files without touching them, through *our*
 * repository `view` (a checkout's bare one) and the user's index and objects: filters, fsmonitor and submodule
 * settings of the user's configuration, which `git status` would run, are not read. Costs one `lstat` a file: callers
 * run it beside the run, not before it. Null when there is none or when it cannot be told within `timeout` ms.
 */
export async function uncommittedWork(repository: Repository, view: GitPlace, timeout = 5_000): Promise<Notice | null> {
  const place: GitPlace = {
    gitDir: view.gitDir,
    alternates: [repository.objectsDir],
    workTree: repository.dir,
    index: join(repository.gitDir, 'index'),
  };
  const options = { cwd: repository.dir, timeout, maxOutput: 4 * 1024 * 1024 };
  const head = await ask(repository.dir, ['--verify', '--quiet', 'HEAD^{commit}']).catch(() => null);
  if (head === null) return null;
  const [files, index, others] = await Promise.all([
    git(place, ['diff-files', '--quiet', '--ignore-submodules=all'], options).catch(() => null),
    git(place, ['diff-index', '--cached', '--quiet', '--ignore-submodules=all', head], options).catch(() => null),
    git(place, ['ls-files', '--others', '--exclude-standard', '--directory', '-z'], options).catch(() => null),
  ]);
  const changed = files?.exitCode === 1 || index?.exitCode === 1;
  const untracked = others?.exitCode === 0 && others.stdout.length > 0;
  if (!changed && !untracked) return null;
  const what = changed
    ? untracked
      ? 'uncommitted changes and untracked files'
      : 'uncommitted changes'
    : 'untracked files';
  return { code: 'uncommitted_work', message: `${what} in ${safeText(repository.dir)} are not part of the run` };
}
