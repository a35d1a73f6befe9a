/** What is kept of a run beside the log goes when its time is over: the run's key first, and with that every copy of it. */
import type { ContentStore } from '../audit/content.ts';
import type { Principal } from '../audit/event.ts';
import type { AuditLog } from '../audit/log.ts';
import { deleteRunContent } from '../audit/retention.ts';
import type { Clock } from '../base/clock.ts';
import { ConflictError, StorageError } from '../base/errors.ts';
import type { RunRecord, Store } from '../store/store.ts';
import { hasEnded, isRunState } from './run.ts';

const DAY = 86_400_000;

/** When the content of a run is to be deleted. Milliseconds since the epoch, as `created` is. */
export function keepUntil(created: number, retentionDays: number): number {
  return created + retentionDays * DAY;
}

export interface Keeper {
  readonly store: Store;
  readonly log: AuditLog;
  readonly content: ContentStore;
  readonly clock: Clock;
}

export interface Pruned {
  /** Ids of the runs whose content is gone now. */
  readonly deleted: readonly string[];
  /** What could not be deleted, and why; it is tried again with the next sweep. */
  readonly failed: readonly { readonly run: string; readonly reason: string }[];
}

/**
 * Deletes the content of ended runs whose time is over, oldest first, `limit` at most. Safe in several processes at once: what two delete
 * is deleted once, and recorded by both. Throws `AuditUnavailableError` with nothing more deleted when it cannot be recorded.
 */
export async function sweepExpired(keeper: Keeper, principal: Principal, limit: number): Promise<Pruned> {
  const deleted: string[] = [];
  const failed: { run: string; reason: string }[] = [];
  for (const run of await expiredRuns(keeper, limit)) {
    try {
      await deleteContent(keeper, run, principal, 'its retention is over');
      deleted.push(run.id);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      failed.push({ run: run.id, reason: error.message });
    }
  }
  return { deleted, failed };
}

/** Ended runs whose time is over, and whose content has not been deleted. */
export async function expiredRuns({ store, clock }: Keeper, limit: number): Promise<readonly RunRecord[]> {
  const due = await store.dueRuns(clock.now(), limit);
  return due.filter(({ state }) => isRunState(state) && hasEnded(state));
}

/** Before its time, too. Throws `ConflictError` for a run that goes on, `AuditUnavailableError`, `StorageError`. */
export async function deleteContent(
  { store, log, content, clock }: Keeper,
  run: RunRecord,
  principal: Principal,
  reason: string,
): Promise<void> {
  if (!isRunState(run.state) || !hasEnded(run.state))
    throw new ConflictError(`run ${run.id} goes on: what is kept of it can be deleted when it has ended`, {
      remedy: `cordon runs cancel ${run.id}`,
    });
  await deleteRunContent(log, content, { run: run.id, principal, reason });
  await store.updateRun(run.id, run.state, { at: clock.now(), keepUntil: null });
}
