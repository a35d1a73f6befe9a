/** The judged commit goes where it was to go: a branch here or on the forge, or a patch. Recorded before and after. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { digest } from '../base/digest.ts';
import { CordonError } from '../base/errors.ts';
import { deliverBranch, deliverPatch, type ExtraRef } from './deliver.ts';
import type { Arrival } from './judge.ts';
import type { RunRequest } from './request.ts';
import type { RunLog } from './run-log.ts';
import type { RunScope } from './scope.ts';

export async function handOver(
  arrival: Arrival,
  request: RunRequest,
  scope: RunScope,
  alongside: readonly ExtraRef[],
): Promise<void> {
  const { dir, run, io } = scope;
  const { log } = run;
  const { quarantine, head, repository, branch } = arrival;
  const folder = join(dir, 'artifacts');
  if (request.deliver === 'patch') {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const target = join(folder, 'change.patch');
    const cause = await log.append({
      type: 'delivery.patch',
      action: 'git.push',
      resource: { target, digest: digest(head), bytes: 0 },
    });
    await done(log, cause, deliverPatch(quarantine, head, target), (result) => ({
      type: 'delivery.patch.done',
      action: 'git.push',
      resource: { target },
      ...result,
    }));
    return;
  }
  const transfer = { ref: `refs/heads/${branch}`, from: null, to: head, target: repository.name };
  const cause = await log.append({ type: 'git.forwarded', action: 'git.push', resource: transfer });
  const { remote } = repository;
  const further = alongside.map(({ ref, oid }) => ({ ref, from: null, to: oid }));
  const act =
    remote === null
      ? deliverBranch({ repository, quarantine, head, branch, alongside })
      : import('./forward.ts').then(({ forwardBranch }) =>
          forwardBranch({
            remote,
            quarantine,
            head,
            branch,
            further,
            folder,
            signal: io.signal,
            onProgress: io.onProgress,
          }),
        );
  await done(log, cause, act, (result) => ({
    type: 'git.forward.done',
    action: 'git.push',
    resource: transfer,
    ...result,
  }));
}

type Done = { cause: number; outcome: { result: 'done' | 'failed'; reason: string | null } };

async function done(
  log: RunLog,
  cause: number,
  act: Promise<unknown>,
  event: (result: Done) => Parameters<RunLog['append']>[0],
): Promise<void> {
  try {
    await act;
  } catch (error) {
    const reason = error instanceof CordonError ? error.message : String(error);
    await log.append(event({ cause, outcome: { result: 'failed', reason: reason.slice(0, 4000) } }));
    throw error;
  }
  await log.append(event({ cause, outcome: { result: 'done', reason: null } }));
}
