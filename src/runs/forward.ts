/** A judged commit goes to the forge it is for: as a new branch, whole or not at all, and never lost on the way. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CancelledError, ConflictError, CordonError, OutsideError } from '../base/errors.ts';
import { gitBytes, killGit, spawnGit } from '../base/git.ts';
import { shellWord } from '../base/term.ts';
import { ForgeError, type RefUpdate } from '../forge/index.ts';
import { branchRef, type DeliverySource, deliverPatch } from './deliver.ts';
import type { Progress } from './system.ts';
import type { RemoteSide } from './workspace.ts';

export interface Forward {
  readonly remote: RemoteSide;
  readonly quarantine: DeliverySource;
  /** The inspected commit; exactly this one is delivered. */
  readonly head: string;
  /** Short name; it may not be there yet. */
  readonly branch: string;
  /** Further refs whose objects lie in the quarantine, set together with the branch or not at all. */
  readonly further?: readonly RefUpdate[];
  /** Where the change is kept when it cannot be delivered. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
  /** Milliseconds before the second try and those after it. */
  readonly waits?: readonly number[];
}

const WAITS = [500, 2_000, 8_000];
const TIMEOUT = 3_600_000;

/**
 * Resolves when the forge itself says that the branch is at the commit. What may pass (no connection, 5xx) is tried again a few times;
 * before each, the forge is asked whether the last try came through after all. In the end the change is kept in `folder`, as a bundle
 * and a patch, and the error says how to go on from there.
 *
 * Throws `ConflictError` (the branch is there by now), `ForgeError`, `CancelledError`.
 */
export async function forwardBranch(forward: Forward): Promise<void> {
  try {
    await tryUntilDone(forward);
  } catch (error) {
    throw await kept(forward, error);
  }
}

async function tryUntilDone(forward: Forward): Promise<void> {
  const { remote, head, branch, signal, onProgress } = forward;
  const ref = branchRef(branch);
  const updates = [{ ref, from: null, to: head }, ...(forward.further ?? [])];
  const [waits, name] = [forward.waits ?? WAITS, remote.forge.repository.name];
  for (let attempt = 0; ; attempt++) {
    try {
      if (attempt === 0 || !(await isThere(forward, updates))) await pushOnce(forward, updates);
      if (await isThere(forward, updates)) return;
      throw new OutsideError(`${name} took ${branch} and does not show it at ${head}`, {
        remedy: 'something there moved or removed it at once: see its hooks and its record of pushes',
      });
    } catch (error) {
      if (signal.aborted) throw new CancelledError('cancelled by the requester', { cause: error });
      const wait = waits[attempt];
      if (!(error instanceof ForgeError) || !error.transient || wait === undefined) throw error;
      onProgress({ step: `${error.message}; trying again in ${wait / 1000} s` });
      await sleep(wait, undefined, { signal }).catch(() => {});
    }
  }
}

/** True when every update has come about. */
async function isThere({ remote }: Forward, updates: readonly RefUpdate[]): Promise<boolean> {
  const { refs } = await remote.forge.listRefs(updates.map(({ ref }) => ref));
  const now = new Map(refs.map(({ name, oid }) => [name, oid]));
  return updates.every(({ ref, to }) => now.get(ref) === to);
}

async function pushOnce(forward: Forward, updates: readonly RefUpdate[]): Promise<void> {
  const { remote, quarantine } = forward;
  await remote.forge.push({ objectFormat: quarantine.objectFormat, updates, pack: () => packOf(forward, updates) });
}

async function* packOf({ quarantine }: Forward, updates: readonly RefUpdate[]): AsyncGenerator<Buffer> {
  const child = spawnGit(quarantine.place, [
    'pack-objects',
    '--revs',
    '--stdout',
    '--thin',
    '--delta-base-offset',
    '-q',
  ]);
  const timer = setTimeout(() => killGit(child), TIMEOUT);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  child.stderr.resume();
  try {
    child.stdin.end(`${updates.map(({ to }) => to).join('\n')}\n^${quarantine.base}\n`);
    yield* child.stdout as AsyncIterable<Buffer>;
    if ((await ended) !== 0) throw new OutsideError('the change cannot be read from the quarantine');
  } finally {
    clearTimeout(timer);
    killGit(child);
  }
}

/** The same error, with where the change is now. */
async function kept(forward: Forward, error: unknown): Promise<unknown> {
  if (!(error instanceof CordonError)) return error;
  const { quarantine, head, branch, folder, remote } = forward;
  const ref = branchRef(branch);
  const bundle = join(folder, 'change.bundle');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await gitBytes(quarantine.place, ['bundle', 'create', '-q', bundle, ref, `^${quarantine.base}`], {
    timeout: TIMEOUT,
  });
  await deliverPatch(quarantine, head, join(folder, 'change.patch')).catch(() => {}); // the bundle has it all
  const { scheme, host, port, path } = remote.forge.repository;
  const url = `${scheme}://${host}:${port}${path}`;
  const resume = `the change is kept; in a clone of the repository: git fetch ${shellWord(bundle)} ${shellWord(ref)} && git push ${url} FETCH_HEAD:${shellWord(ref)}`;
  const remedy = error.remedy === undefined ? resume : `${error.remedy}\n${resume}`;
  const options = { cause: error, remedy };
  if (error instanceof CancelledError) return new CancelledError(error.message, options);
  if (!(error instanceof ForgeError)) return new OutsideError(error.message, options);
  if (error.fault === 'taken') return new ConflictError(error.message, options);
  return new ForgeError(error.fault, `the branch did not get to the forge: ${error.message}`, options);
}
