import { once } from 'node:events';
import { link, open, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder } from '../base/durable-file.ts';
import { ConflictError, CordonError, OutsideError, StorageError, UsageError } from '../base/errors.ts';
import {
  type GitOptions,
  type GitPlace,
  type GitProcess,
  git,
  gitBytes,
  gitFailure,
  killGit,
  spawnGit,
} from '../base/git.ts';
import { safeText } from '../base/term.ts';
import { canonicalRef } from '../policy/git-refs.ts';
import type { Repository } from './workspace.ts';

/** Where the change comes from: the run's quarantine, whose objects have been inspected. */
export interface DeliverySource {
  readonly place: GitPlace;
  readonly base: string;
  readonly objectFormat: 'sha1' | 'sha256';
}

/** A ref that is to be made together with the branch; its object is in the quarantine. */
export interface ExtraRef {
  readonly ref: string;
  readonly oid: string;
}

export interface BranchDelivery {
  readonly repository: Repository;
  readonly quarantine: DeliverySource;
  /** The inspected commit; exactly this one is delivered. */
  readonly head: string;
  /** Short name. */
  readonly branch: string;
  /** Further refs, made in the same transaction. */
  readonly alongside?: readonly ExtraRef[];
}

const TIMEOUT = 600_000;
const LOCK_WAIT = 10_000;

/**
 * Brings one commit into the user's repository as a new branch. The order makes it whole or invisible at every moment:
 * the objects first, as one pack that git renames into place; then a check that everything the commit needs is there; then
 * the ref, created in one transaction that fails when it exists. A crash before the last step leaves an
 * unreferenced pack and nothing that a user sees.
 *
 * Untouched: working tree, index, HEAD, configuration, FETCH_HEAD, every other ref. Nothing of the user's runs: no hook
 * (also not `reference-transaction`), no gc, no transport. As root in another user's repository it writes as that user,
 * so that the files are theirs.
 *
 * Throws `UsageError` for a branch name, `ConflictError` when the branch is there (or one that it would lie under or
 * over), `StorageError` when the repository cannot be written. Safe to call at once for several runs.
 */
export async function deliverBranch(
  delivery: BranchDelivery,
): Promise<{ readonly ref: string; readonly head: string }> {
  const { repository, head, branch, alongside = [] } = delivery;
  const ref = branchRef(branch);
  // The pack must be visible to git from the main repository; a linked worktree's own folder has no refs of this kind.
  const place: GitPlace = { gitDir: repository.commonDir };
  const options = writingAs(repository);
  await refuseExisting(place, ref, branch);
  const keep = await copyObjects(delivery, place, options);
  try {
    await requireConnected(place, delivery);
    await createRefs(place, [{ ref, oid: head }, ...alongside], branch, options);
  } finally {
    // The ref holds the objects now, or nothing should.
    if (keep !== null) await unlink(keep).catch(() => {});
  }
  const there = await git(place, ['rev-parse', '--verify', '--quiet', '--end-of-options', ref]);
  if (there.stdout.toString().trim() !== head) {
    throw new StorageError(`branch ${branch} was created and is not at ${head} any more`, {
      remedy: 'another program moved it; see git reflog',
    });
  }
  return { ref, head };
}

/**
 * Throws, as the delivery itself would, for a branch that cannot be made: asked before a run starts, whose work would else be
 * for nothing. It may still appear while the run goes on.
 */
export async function refuseTakenBranch(repository: Repository, branch: string): Promise<void> {
  // A mirror has every branch of its remote, as of just now.
  await refuseExisting({ gitDir: repository.commonDir }, branchRef(branch), branch);
}

export function branchRef(branch: string): string {
  const ref = canonicalRef(`refs/heads/${branch}`);
  if (ref.ok) return ref.value;
  throw new UsageError(`${safeText(branch)} cannot be a branch: ${ref.message}`, {
    remedy: 'name another with --branch NAME',
  });
}

/** Root would leave files that the repository's owner can neither change nor remove. */
function writingAs(repository: Repository): GitOptions {
  const { uid, gid } = repository.owner;
  return process.geteuid?.() === 0 && uid !== 0 ? { uid, gid } : {};
}

/** What stands in the way of a new ref: itself, a branch that is a folder of it, or one below it. */
async function refuseExisting(place: GitPlace, ref: string, branch: string): Promise<void> {
  const parents = ref.split('/').flatMap((_, i, parts) => (i >= 3 ? [parts.slice(0, i).join('/')] : []));
  const args = ['for-each-ref', '--format=%(refname)', ref, ...parents];
  const found = (await gitBytes(place, args)).toString().split('\n');
  const clash = found.find((name) => name === ref || name.startsWith(`${ref}/`) || parents.includes(name));
  if (clash === undefined) return;
  const name = clash.slice('refs/heads/'.length);
  throw new ConflictError(
    clash === ref
      ? `branch ${branch} exists already`
      : `branch ${branch} cannot be made: branch ${safeText(name)} is in its way`,
    { remedy: `choose another name with --branch NAME, or remove it: git branch -D ${safeText(name)}` },
  );
}

/**
 * Streams the objects that the base does not have into one pack of the user's repository. The `.keep` file beside it
 * holds off a `git gc` that runs just now, until the ref exists. Returns that file's path; null when another
 * delivery of the same objects holds it.
 */
async function copyObjects(
  { quarantine, head, alongside = [] }: BranchDelivery,
  place: GitPlace,
  options: GitOptions,
): Promise<string | null> {
  const sender = spawnGit(quarantine.place, [
    'pack-objects',
    '--revs',
    '--stdout',
    '--thin',
    '--delta-base-offset',
    '-q',
  ]);
  const receiver = spawnGit(
    place,
    ['index-pack', '--stdin', '--fix-thin', '--strict', '--keep=cordon delivery'],
    options,
  );
  const timer = setTimeout(() => [sender, receiver].forEach(killGit), TIMEOUT);
  try {
    sender.stdout.pipe(receiver.stdin);
    const wanted = [head, ...alongside.map(({ oid }) => oid)];
    sender.stdin.end(`${wanted.join('\n')}\n^${quarantine.base}\n`);
    const [sent, received] = await Promise.all([finish(sender), finish(receiver)]);
    const [, kind, name] = /^(keep|pack)\t([0-9a-f]{40,64})\n$/.exec(received.out) ?? [];
    if (sent.code !== 0) throw new OutsideError(`the change cannot be read from the quarantine: ${sent.err}`);
    if (received.code !== 0 || name === undefined) {
      throw new StorageError(`the change cannot be written to ${place.gitDir}: ${received.err}`, {
        remedy: 'make room on that disk, or see to it that its owner can write there; then run again',
      });
    }
    return kind === 'keep' ? join(place.gitDir, 'objects', 'pack', `pack-${name}.keep`) : null;
  } finally {
    clearTimeout(timer);
    for (const child of [sender, receiver]) killGit(child);
  }
}

async function finish(child: GitProcess): Promise<{ code: number | null; out: string; err: string }> {
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => {
    if (out.length < 1000) out += chunk.toString('latin1');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    if (err.length < 1000) err += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err: safeText(err.trim().slice(0, 1000)) };
}

/** Everything that the commit needs is in the user's repository. */
async function requireConnected(place: GitPlace, { head, quarantine, alongside = [] }: BranchDelivery): Promise<void> {
  const further = alongside.map(({ oid }) => oid);
  const args = ['rev-list', '--objects', '--quiet', head, ...further, '--not', quarantine.base];
  const result = await git(place, args, { timeout: TIMEOUT });
  if (result.exitCode === 0) return;
  throw new StorageError(`the objects of ${head} are not all in ${place.gitDir}`, {
    cause: gitFailure(place, args, result),
    remedy: 'see git fsck in that repository; the branch was not made',
  });
}

/** All of them or none; the first is the branch. */
async function createRefs(
  place: GitPlace,
  refs: readonly ExtraRef[],
  branch: string,
  options: GitOptions,
): Promise<void> {
  const args = ['update-ref', '-m', 'cordon: delivered', '--stdin', '-z'];
  const created = refs.map(({ ref, oid }) => `create ${ref}\0${oid}\0`);
  const stdin = `start\0${created.join('')}prepare\0commit\0`;
  // Another delivery holds the branch's lock while its disk writes: git alone would wait a tenth of a second, and call that lock stale.
  const config = ['core.fsync=all', `core.filesRefLockTimeout=${LOCK_WAIT}`];
  const result = await git(place, args, { ...options, stdin, config });
  if (result.exitCode === 0) return;
  await refuseExisting(place, branchRef(branch), branch);
  throw new StorageError(`branch ${branch} cannot be made in ${place.gitDir}`, {
    cause: gitFailure(place, args, result),
    remedy: 'see the cause: a full disk, a folder that is not writable, or a stale .lock file',
  });
}

const PATCH_BYTES = 256 * 1024 * 1024;

/**
 * Writes the change to a new file: one mail per commit as `git am` takes them or, when history branches (a mail cannot
 * say that), one diff of the whole. The file appears complete or not at all.
 * Throws `ConflictError` when it exists, `StorageError` when it cannot be written.
 */
export async function deliverPatch(
  quarantine: DeliverySource,
  head: string,
  file: string,
): Promise<{ readonly bytes: number }> {
  const { place, base } = quarantine;
  const merges = await gitBytes(place, ['rev-list', '--min-parents=2', '--max-count=1', head, '--not', base]);
  const form = ['--binary', '--full-index', '--no-renames', '--no-ext-diff', '--no-textconv', '--no-color'];
  const args =
    merges.length === 0
      ? ['format-patch', '--stdout', '--no-signature', '--no-cover-letter', '--no-attach', ...form, `${base}..${head}`]
      : ['diff-tree', '-p', ...form, base, head];
  const patch = await gitBytes(place, args, { timeout: TIMEOUT, maxOutput: PATCH_BYTES });
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o644);
    try {
      await handle.writeFile(patch);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await link(temporary, file); // unlike a rename, a link replaces nothing
    await unlink(temporary);
    await syncFolder(dirname(file));
  } catch (cause) {
    await unlink(temporary).catch(() => {});
    if (cause instanceof CordonError) throw cause;
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') {
      throw new ConflictError(`${safeText(file)} exists already`, { cause, remedy: 'name another file, or remove it' });
    }
    throw new StorageError(
      `the patch cannot be written to ${safeText(file)}: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
  return { bytes: patch.length };
}
