import type { ContentStore } from './content.ts';
import { crossing } from './crossing.ts';
import type { EventDecision, Principal } from './event.ts';
import type { AuditLog } from './log.ts';

/**
 * Deletes what is kept of a run beside the tree, with who did it and why in the log before and the result after.
 * The tree still verifies; `read` of the content then says that it was deleted. Throws `AuditUnavailableError` with nothing
 * deleted when it cannot be recorded, `StorageError` when it cannot be deleted.
 */
export async function deleteRunContent(
  log: AuditLog,
  content: ContentStore,
  request: { run: string; principal: Principal; reason: string; decision?: EventDecision },
): Promise<void> {
  const { run, principal, reason, decision } = request;
  const common = { run: null, principal, action: null } as const;
  await crossing(
    log,
    { ...common, type: 'content.delete', resource: { run, reason }, ...(decision === undefined ? {} : { decision }) },
    () => content.deleteRun(run),
    (result) => ({
      ...common,
      type: 'content.deleted',
      resource: { run },
      outcome: result.ok
        ? { result: 'done', reason: null }
        : { result: 'failed', reason: (result.error as Error).message.slice(0, 1000) },
    }),
  );
}
