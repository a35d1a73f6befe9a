/** The record of what is fetched from forges. It is no run's: the policy of the run is in what is being fetched. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readEvents } from '../audit/read.ts';
import { writeDurably } from '../base/durable-file.ts';
import { CordonError } from '../base/errors.ts';
import { type MirrorUpdate, mirrorId } from '../forge/index.ts';
import type { Decision } from '../policy/index.ts';
import type { RemoteName } from '../policy/remotes.ts';
import type { RunRequest } from './request.ts';
import { recorded } from './run-log.ts';
import type { System } from './system.ts';

/**
 * Does the update with an event before and one after it. A marker beside the mirror names the first while the second is due, so that the next
 * update closes what a killed process left open. Called by who holds the mirror's lock.
 */
export async function recordedUpdate(
  system: System,
  { repo, requester }: RunRequest & { readonly repo: RemoteName },
  decision: Decision,
  update: () => Promise<MirrorUpdate>,
): Promise<MirrorUpdate> {
  const marker = join(system.mirrors, `${mirrorId(repo.name)}.pending`);
  const common = { run: null, principal: requester, action: 'git.fetch' } as const;
  const close = async (cause: number, refs: number, bytes: number, reason: string | null) => {
    const outcome = { result: reason === null ? ('done' as const) : ('failed' as const), reason };
    const resource = { repository: repo.name, refs, bytes };
    await system.log.append({ ...common, type: 'mirror.fetched', resource, outcome, cause });
    await rm(marker, { force: true });
  };
  const open = await leftOpen(system, marker);
  if (open !== null) await close(open, 0, 0, 'the process that fetched is gone');
  const { seq } = await system.log.append({
    ...common,
    type: 'mirror.fetch',
    resource: { repository: repo.name },
    decision: recorded(decision),
  });
  await writeDurably(marker, `${seq}\n`);
  try {
    const done = await update();
    await close(seq, done.listing.refs.length, done.received, null);
    return done;
  } catch (error) {
    await close(seq, 0, 0, error instanceof CordonError ? error.message.slice(0, 4000) : 'unexpected');
    throw error;
  }
}

/** The event that a marker names, unless its outcome is recorded after all. */
async function leftOpen(system: System, marker: string): Promise<number | null> {
  const seq = Number(await readFile(marker, 'utf8').catch(() => Number.NaN));
  if (!Number.isSafeInteger(seq)) return null;
  const types = ['mirror.fetched'] as const;
  for (const { event } of readEvents(join(system.home, 'audit'), { from: seq, types })) {
    if (event.cause === seq) return null;
  }
  return seq;
}
