import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { OutsideError } from './errors.ts';
import { minimalEnv, type ProgramResult, type RunProgramOptions, runProgram } from './process.ts';

/**
 * How trusted code runs git. The repository is always named (`--git-dir`), never discovered, and no configuration but
 * the repository's own is read. What remains of that file can name no program that runs:
 * hooks, fsmonitor, pagers, external diffs and filters are off or never reached by the plumbing used here; the empty
 * `GIT_ALLOW_PROTOCOL` outranks any `protocol.*.allow` of the file, so nothing is fetched lazily or through `ext::`;
 * replace refs do not stand in for objects.
 */
export interface GitPlace {
  /** Absolute path of the repository proper (`…/.git`, or a bare one). */
  readonly gitDir: string;
  /** Objects are read from and written to this folder instead of the repository's own. */
  readonly objects?: string;
  /** Further object folders to read from. */
  readonly alternates?: readonly string[];
  readonly workTree?: string;
  readonly index?: string;
}

export interface GitOptions extends Omit<RunProgramOptions, 'env'> {
  /** Further `-c` settings: `core.fsync=all`. */
  readonly config?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const settings = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.attributesFile=/dev/null',
  'core.excludesFile=/dev/null',
  'core.pager=cat',
  'core.alternateRefsCommand=true',
  'protocol.allow=never',
  'safe.bareRepository=explicit',
  'submodule.recurse=false',
  'gc.auto=0',
  'maintenance.auto=false',
];

/** No single allocation of git's may pass this: the answer to deltas that expand to gigabytes. */
const allocationLimit = '1g';

export const gitEnv: Readonly<Record<string, string>> = {
  ...minimalEnv,
  HOME: '/nonexistent',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_SYSTEM: '/dev/null',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_ATTR_NOSYSTEM: '1',
  GIT_ALLOW_PROTOCOL: '',
  GIT_NO_LAZY_FETCH: '1',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_TERMINAL_PROMPT: '0',
  GIT_ALLOC_LIMIT: allocationLimit,
  GIT_AUTHOR_NAME: 'Cordon',
  GIT_AUTHOR_EMAIL: 'cordon@localhost',
  GIT_COMMITTER_NAME: 'Cordon',
  GIT_COMMITTER_EMAIL: 'cordon@localhost',
};

/** The list in `GIT_ALTERNATE_OBJECT_DIRECTORIES` is separated by colons; git reads C-quoted entries whole. */
function quoted(path: string): string {
  return `"${path.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n')}"`;
}

function environment(place: GitPlace, extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    ...gitEnv,
    ...(place.objects === undefined ? {} : { GIT_OBJECT_DIRECTORY: place.objects }),
    ...(place.alternates === undefined
      ? {}
      : { GIT_ALTERNATE_OBJECT_DIRECTORIES: place.alternates.map(quoted).join(':') }),
    ...(place.index === undefined ? {} : { GIT_INDEX_FILE: place.index }),
    ...extra,
  };
}

function commandLine(place: GitPlace | null, args: readonly string[], config: readonly string[] = []): string[] {
  const where = place === null ? [] : [`--git-dir=${place.gitDir}`];
  if (place?.workTree !== undefined) where.push(`--work-tree=${place.workTree}`);
  return [...where, ...[...settings, ...config].flatMap((setting) => ['-c', setting]), ...args];
}

/** Runs git to its end; resolves with any exit code. Throws `OutsideError` when it overruns its time or output. */
export function git(place: GitPlace, args: readonly string[], options: GitOptions = {}): Promise<ProgramResult> {
  const { config, env, ...rest } = options;
  return runProgram('git', commandLine(place, args, config), { ...rest, env: environment(place, env) });
}

/** Runs git in a folder whose repository is yet to be found; the caller bounds the search by `GIT_CEILING_DIRECTORIES`. */
export function gitDiscovering(cwd: string, args: readonly string[], options: GitOptions): Promise<ProgramResult> {
  const { config, env, ...rest } = options;
  // `--work-tree`-less discovery of a repository named by the user: see inspectRepository for why any owner will do.
  return runProgram('git', commandLine(null, args, ['safe.directory=*', ...(config ?? [])]), {
    ...rest,
    cwd,
    env: { ...gitEnv, ...env },
  });
}

/** The same, for a command that must succeed; resolves with its standard output. Throws `OutsideError` otherwise. */
export async function gitBytes(place: GitPlace, args: readonly string[], options: GitOptions = {}): Promise<Buffer> {
  const result = await git(place, args, options);
  if (result.exitCode === 0) return result.stdout;
  throw gitFailure(place, args, result);
}

/** Likewise, as text without the last newline. */
export async function gitText(place: GitPlace, args: readonly string[], options: GitOptions = {}): Promise<string> {
  return (await gitBytes(place, args, options)).toString().replace(/\n$/, '');
}

export function gitFailure(place: GitPlace, args: readonly string[], result: ProgramResult): OutsideError {
  const why = result.stderr.trim().split('\n').slice(-3).join(' · ');
  const how = result.signal === null ? `exit code ${result.exitCode}` : `signal ${result.signal}`;
  return new OutsideError(`git ${args[0] ?? ''} in ${place.gitDir} ended with ${how}${why === '' ? '' : `: ${why}`}`);
}

export type GitProcess = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * Starts git with piped streams for a conversation. It leads its own process group, so that `kill(-pid)` also ends the
 * helpers it started. The caller bounds its time and what it reads.
 */
export function spawnGit(
  place: GitPlace,
  args: readonly string[],
  options: Pick<GitOptions, 'config' | 'env' | 'uid' | 'gid'> = {},
): GitProcess {
  const child = spawn('git', commandLine(place, args, options.config), {
    env: environment(place, options.env),
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  });
  child.stdin.on('error', () => {}); // it may end before it has read all: its exit code says enough
  return child;
}

/** The same, for a folder whose repository is yet to be found, as {@link gitDiscovering} finds it. */
export function gitAsking(cwd: string, args: readonly string[], env: Readonly<Record<string, string>>): GitProcess {
  const child = spawn('git', commandLine(null, args, ['safe.directory=*']), {
    cwd,
    env: { ...gitEnv, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  child.stdin.on('error', () => {});
  return child;
}

/** Ends a process that `spawnGit` started, with everything it started. Harmless when it has ended. */
export function killGit(child: GitProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Ended in between.
  }
}

const OID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** True for a full object id, SHA-1 or SHA-256, in lower-case hex. */
export function isOid(text: string): boolean {
  return OID.test(text);
}
