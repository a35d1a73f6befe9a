/** Installs an agent from npm into a folder of its own: one version, no script of its run, every file in a manifest. */
import { randomBytes } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import * as z from 'zod';
import { digest } from '../base/digest.ts';
import { writeDurably } from '../base/durable-file.ts';
import { OutsideError, UsageError } from '../base/errors.ts';
import { FileLock } from '../base/file-lock.ts';
import { runProgram } from '../base/process.ts';
import type { AgentProfile } from './agent.ts';
import { CURRENT, MANIFEST, type Manifest, TREE, VERSION } from './found.ts';
import { readTree, treeDigest } from './tree.ts';

export interface InstallOptions {
  /** {@link AgentPlaces.tools}. */
  readonly tools: string;
  readonly version?: string;
  /** The user's: npm's own settings say which registry, through which proxy, with which credential. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal;
}

export interface Installed extends Omit<Manifest, 'files' | 'format'> {
  readonly folder: string;
  readonly fileCount: number;
}

const TIMEOUT = 10 * 60_000;

/**
 * One process at a time installs an agent: the second would take the files from under the runs of the first. Throws `StorageError` when
 * another does so for longer than npm may take,
 * and the signal's reason when that is aborted while it waits. `waiting` is called when there is another to wait for.
 */
export async function whileNobodyInstalls<T>(
  { name }: Pick<AgentProfile, 'name'>,
  tools: string,
  signal: AbortSignal,
  waiting: () => void,
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(tools, { recursive: true, mode: 0o700 });
  const lock = new FileLock(join(tools, `.${name}.lock`));
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason);
  try {
    signal.throwIfAborted();
    signal.addEventListener('abort', stop, { once: true });
    if (!lock.tryAcquire()) {
      waiting();
      const mine = lock.acquire(TIMEOUT + 60_000);
      mine.catch(() => {}); // where it is given up, it fails as the lock is closed
      await Promise.race([mine, stopped]);
    }
    signal.removeEventListener('abort', stop);
    return await work();
  } finally {
    signal.removeEventListener('abort', stop);
    lock.close();
  }
}

/**
 * Fetches and unpacks; nothing of the package is executed: its install scripts would only link its program to another place, and the
 * profile knows where it is. Replaces what was there under that version; the caller holds {@link whileNobodyInstalls}. Throws `OutsideError` when npm could not, `UsageError` for a
 * version that is none.
 */
export async function installAgent(profile: AgentProfile, options: InstallOptions): Promise<Installed> {
  const { name, version: pinned, entry } = profile.package;
  const version = options.version ?? pinned;
  if (!VERSION.test(version))
    throw new UsageError(`"${version}" is no version`, { remedy: 'write one as npm has it: 1.2.3' });
  const home = join(options.tools, profile.name);
  const staging = join(options.tools, `.new-${randomBytes(6).toString('hex')}`);
  await mkdir(join(staging, TREE), { recursive: true, mode: 0o700 });
  try {
    await npmInstall(`${name}@${version}`, join(staging, TREE), options);
    const modules = join(staging, TREE, 'node_modules');
    await lstat(join(modules, entry(process.arch))).catch((cause) => {
      throw new OutsideError(`${name}@${version} has no ${entry(process.arch)}: it has nothing for this machine`, {
        cause,
      });
    });
    await rm(join(modules, '.bin'), { recursive: true, force: true });
    await readOnly(join(staging, TREE));
    const manifest = await describe(name, version, join(staging, TREE));
    await writeFile(join(staging, MANIFEST), JSON.stringify(manifest), { mode: 0o600 });
    await mkdir(home, { recursive: true, mode: 0o700 });
    const folder = join(home, version);
    await rm(folder, { recursive: true, force: true });
    await rename(staging, folder);
    await writeDurably(join(home, CURRENT), `${version}\n`);
    const { files, format, ...rest } = manifest;
    return { ...rest, folder, fileCount: files.length };
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function npmInstall(what: string, cwd: string, { env, signal }: InstallOptions): Promise<void> {
  await writeFile(join(cwd, 'package.json'), '{"private":true}\n');
  const args = [
    'install',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--no-update-notifier',
    '--fetch-timeout=60000',
    '--loglevel=error',
    what,
  ];
  const { exitCode, stderr } = await runProgram('npm', args, {
    cwd,
    // With the Node that runs this: an older one would make npm choose other packages.
    env: { ...defined(env), PATH: [dirname(process.execPath), env.PATH ?? ''].join(delimiter) },
    timeout: TIMEOUT,
    ...(signal === undefined ? {} : { signal }),
  }).catch((cause) => {
    throw new OutsideError(`npm could not be run: ${(cause as Error).message}`, {
      cause,
      remedy: 'install npm, or put the agent on your PATH',
    });
  });
  if (exitCode === 0) return;
  const why = stderr
    .split('\n')
    .filter((line) => line.startsWith('npm error'))
    .slice(0, 3)
    .join('; ');
  throw new OutsideError(`npm could not install ${what}: ${why.slice(0, 500) || `exit code ${exitCode}`}`, {
    remedy: 'npm config get registry tells where it looked',
  });
}

function defined(env: InstallOptions['env']): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** The guest is another user: it may read everything, and nobody may write. */
async function readOnly(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await readOnly(path);
    else if (entry.isFile()) await chmod(path, ((await lstat(path)).mode & 0o111) === 0 ? 0o444 : 0o555);
  }
}

const lockSchema = z.object({ packages: z.record(z.string(), z.object({ integrity: z.string().optional() })) });

async function describe(name: string, version: string, tree: string): Promise<Manifest> {
  const lock = await readFile(join(tree, 'package-lock.json'));
  const { packages } = lockSchema.parse(JSON.parse(lock.toString()));
  const files = await readTree(tree);
  const integrity = packages[`node_modules/${name}`]?.integrity ?? null;
  return { format: 1, package: name, version, integrity, lock: digest(lock), tree: treeDigest(files), files };
}
