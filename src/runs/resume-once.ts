/** The work of a lost run goes on in one place only. */
import { join } from 'node:path';
import { readEvents } from '../audit/read.ts';
import { ConflictError } from '../base/errors.ts';
import { isAlive } from '../base/process-identity.ts';
import type { RunRecord } from '../store/index.ts';
import type { RunRequest } from './request.ts';
import type { System } from './system.ts';

/**
 * Throws `ConflictError` where the work of `lost` goes on in another run than `own`, or has. To be asked once more when `own` is in the list
 * of runs: of two that begin at the same time one at least sees the other.
 */
export async function refuseTwice(
  { home, store }: Pick<System, 'home' | 'store'>,
  { id, created }: Pick<RunRecord, 'id' | 'created'>,
  own: string | null,
): Promise<void> {
  let cursor: string | null | undefined;
  while (cursor !== null) {
    const page = await store.listRuns({ limit: 200, ...(cursor === undefined ? {} : { cursor }) });
    for (const run of page.runs) {
      if (run.created < created) return;
      const { resumes, replayOf } = run.request as unknown as RunRequest;
      if (resumes !== id || replayOf !== undefined || run.id === own) continue;
      const begun = [...readEvents(join(home, 'audit'), { run: run.id, types: ['agent.resumed'] })].length > 0;
      const going = run.result === null && run.state !== 'lost' && isAlive(run.owner);
      if (!begun && !going) continue;
      const next = run.state === 'lost' ? `cordon runs resume ${run.id}` : `cordon runs show ${run.id}`;
      throw new ConflictError(`run ${id} goes on in run ${run.id}, which is ${run.state}`, { remedy: next });
    }
    cursor = page.next;
  }
}
