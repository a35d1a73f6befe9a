import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { sha256Hex } from '../base/digest.ts';
import { syncFolder } from '../base/durable-file.ts';
import { OutsideError, StorageError } from '../base/errors.ts';
import { FileLock } from '../base/file-lock.ts';
import type { GitPlace } from '../base/git.ts';
import { runProgram } from '../base/process.ts';
import { type BuildPlan, buildCheckout, type Depth } from './checkout-build.ts';
import { evictCheckouts, folderBytes, removeWhole } from './checkout-cache.ts';
import { sparsePattern } from './checkout-paths.ts';
import { defaultTreeLimits, type TreeLimits } from './checkout-survey.ts';
import type { ShownRef } from './shown-refs.ts';
import type { Notice, Repository } from './workspace.ts';

/**
 * Cached checkouts, one folder each below `$CORDON_HOME/checkouts`:
 *
 *     <key>.lock        flock: shared while a run uses the entry, exclusive to make or remove it. Never deleted.
 *     <key>/tree        what a sandbox mounts an overlay over; never changes once it is there
 *     <key>/view.git    the objects the run may see (checkout-build.ts)
 *     <key>/entry.json  facts; its modification time is the last use
 *     tmp/<key>.<hex>   being made or removed; rubbish when nobody holds the lock of <key>
 *
 * An entry appears by rename, so it is there whole or not at all, after SIGKILL too. After a power cut the kernel may have
 * kept the rename and lost file contents: an entry counts only in the boot that made it, until it has been synced.
 */
export interface CheckoutRequest {
  /** `$CORDON_HOME`; exists. */
  readonly home: string;
  readonly repository: Repository;
  /** `--path` globs; empty = everything. */
  readonly paths: readonly string[];
  readonly depth: Depth;
  /** Branches and tags that may be fetched beside the base's. Default none. */
  readonly refs?: readonly ShownRef[];
  /** Whom the files belong to when Cordon is root and the guest is not; null = the current user. */
  readonly owner: { readonly uid: number; readonly gid: number } | null;
  /** Bytes that all unused checkouts together may keep on disk. Default 20 GiB. */
  readonly cacheBytes?: number;
  readonly limits?: TreeLimits;
  readonly clock?: Clock;
}

export interface Checkout {
  /** The read-only lower folder, `.git` included. */
  readonly dir: string;
  /** The bare repository with what the run may see. */
  readonly view: GitPlace;
  readonly key: string;
  readonly base: string;
  /** Short name of the branch that HEAD is on inside. */
  readonly branch: string;
  /** True when only the `--path` parts are there. */
  readonly partial: boolean;
  readonly shallow: readonly string[];
  /** What may be fetched beside that branch. */
  readonly refs: readonly ShownRef[];
  readonly files: number;
  readonly bytes: number;
  readonly notices: readonly Notice[];
  /** False when it had to be made. */
  readonly cached: boolean;
  /** The run is over: the entry may be evicted. Idempotent; also happens when this process dies. */
  release(): void;
}

const FORMAT = 1;
const LOCK_WAIT = 3_600_000;
/** Milliseconds between two looks at what others make or keep. */
const LONGEST_PAUSE = 50;
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

const Entry = z.strictObject({
  format: z.literal(FORMAT),
  boot: z.string(),
  files: z.int(),
  bytes: z.int(),
  disk: z.int(),
  shallow: z.array(z.string()),
  notices: z.array(z.custom<Notice>((value) => typeof value === 'object' && value !== null && 'code' in value)),
});
type Entry = z.infer<typeof Entry>;

/**
 * The checkout of one commit for a run, from the cache or made now. Safe to call at once from several processes: one
 * makes it, the others wait. The caller releases it after the sandbox is gone.
 *
 * Throws `UsageError` (a bad `--path`), `WorkspaceError` (what cannot be checked out), `StorageError` (disk full, cache
 * not writable); nothing is left behind but rubbish in `tmp/`, which the next call clears.
 */
export async function prepareCheckout(request: CheckoutRequest): Promise<Checkout> {
  const { home, repository, owner, clock = systemClock } = request;
  const paths = [...new Set(request.paths)].sort();
  paths.forEach(sparsePattern);
  const branch = branchInside(repository);
  const key = checkoutKey(request, paths, branch);
  const root = join(home, 'checkouts');
  await mkdir(join(root, 'tmp'), { recursive: true, mode: 0o700 });
  const plan: BuildPlan = {
    repository,
    branch,
    paths,
    depth: request.depth,
    refs: request.refs ?? [],
    owner,
    limits: request.limits ?? defaultTreeLimits,
    now: clock.now(),
  };
  const { entry, lock, cached } = await acquire(root, key, plan);
  const dir = join(root, key);
  if (!cached) await evictCheckouts(root, request.cacheBytes ?? 20 * 1024 ** 3).catch(() => {}); // the next one tries again
  return {
    dir: join(dir, 'tree'),
    view: { gitDir: join(dir, 'view.git') },
    key,
    base: repository.base,
    branch,
    partial: paths.length > 0,
    shallow: entry.shallow,
    refs: plan.refs,
    files: entry.files,
    bytes: entry.bytes,
    notices: entry.notices,
    cached,
    release: () => lock.close(),
  };
}

/** Short name of the branch that the base goes by inside. */
export function branchInside(repository: Repository): string {
  return repository.baseBranch ?? 'main';
}

function checkoutKey(request: CheckoutRequest, paths: readonly string[], branch: string): string {
  const { repository, depth, owner, refs = [] } = request;
  const { uid, gid } = owner ?? { uid: -1, gid: -1 };
  const identity = {
    format: FORMAT,
    repository: repository.commonDir,
    shallow: repository.shallow,
    base: repository.base,
    ...(refs.length > 0 && { refs: refs.map(({ name, oid }) => [name, oid]) }),
  };
  return sha256Hex(canonicalJson({ ...identity, branch, paths, depth, uid, gid })).slice(0, 40);
}

async function acquire(
  root: string,
  key: string,
  plan: BuildPlan,
): Promise<{ entry: Entry; lock: FileLock; cached: boolean }> {
  const lock = new FileLock(join(root, `${key}.lock`));
  const deadline = systemClock.monotonic() + LOCK_WAIT;
  let cached = true;
  try {
    for (let pause = 1; ; pause = Math.min(pause + 1, LONGEST_PAUSE)) {
      await lock.acquire(LOCK_WAIT, 'shared');
      const entry = await readEntry(join(root, key), plan.now);
      if (entry !== null) return { entry, lock, cached };
      lock.release();
      if (lock.tryAcquire('exclusive')) {
        if ((await readEntry(join(root, key), plan.now)) === null) {
          await make(root, key, plan);
          cached = false;
        }
        lock.release();
      } else if (systemClock.monotonic() < deadline) {
        // Not waited for here: another who found nothing may make it first, and then keeps it as long as it is used.
        await sleep(pause);
      } else {
        await lock.acquire(0, 'exclusive'); // says who has it
      }
    }
  } catch (error) {
    lock.close();
    throw error;
  }
}

async function readEntry(dir: string, now: number): Promise<Entry | null> {
  try {
    const entry = Entry.parse(JSON.parse(await readFile(join(dir, 'entry.json'), 'utf8')));
    const boot = await readFile(BOOT_ID, 'utf8');
    if (entry.boot !== boot && !(await lstat(join(dir, 'synced'))).isFile()) return null;
    await utimes(join(dir, 'entry.json'), now / 1000, now / 1000);
    return entry;
  } catch {
    return null; // not there, or not to be trusted: it is made again
  }
}

/** Called with the exclusive lock of `key`. */
async function make(root: string, key: string, plan: BuildPlan): Promise<void> {
  const staging = join(root, 'tmp', `${key}.${randomBytes(6).toString('hex')}`);
  try {
    await discard(root, key);
    await mkdir(staging, { mode: 0o755 });
    const facts = await buildCheckout(staging, plan);
    const disk = await folderBytes(staging);
    const boot = await readFile(BOOT_ID, 'utf8');
    const { files, bytes, notices, shallow } = facts;
    await writeFile(
      join(staging, 'entry.json'),
      JSON.stringify({ format: FORMAT, boot, files, bytes, disk, shallow, notices }),
    );
    await rename(staging, join(root, key));
    await syncFolder(root);
  } catch (error) {
    await rm(staging, removeWhole).catch(() => {});
    if (error instanceof OutsideError || (error instanceof Error && 'syscall' in error)) {
      throw new StorageError(`the checkout could not be written to ${root}: ${error.message}`, {
        cause: error,
        remedy: 'make room on that disk, or set CORDON_HOME to a folder on another one',
      });
    }
    throw error;
  }
  markSynced(join(root, key));
}

/** What an interrupted attempt left, and an entry that is not to be trusted. */
async function discard(root: string, key: string): Promise<void> {
  for (const name of await readdir(join(root, 'tmp'))) {
    if (name.startsWith(`${key}.`)) await rm(join(root, 'tmp', name), removeWhole);
  }
  await rm(join(root, key), removeWhole);
}

/** In the background: the run need not wait for the disk. If this process ends first, the entry is only good until a reboot. */
function markSynced(dir: string): void {
  runProgram('sync', ['-f', dir], { timeout: LOCK_WAIT })
    .then((result) => (result.exitCode === 0 ? writeFile(join(dir, 'synced'), '') : undefined))
    .catch(() => {});
}
