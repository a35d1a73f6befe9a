import type { Clock } from '../base/clock.ts';
import { ConflictError, NotFoundError, UsageError } from '../base/errors.ts';
import { isAlive, type ProcessIdentity } from '../base/process-identity.ts';
import type { RunPatch, RunRecord, Store } from '../store/store.ts';
import { isRunState, mayFollow, type RunState, unfinishedStates } from './run.ts';

/** Moves a run on, if the state machine allows it and nobody else has moved it; throws `ConflictError` otherwise. */
export async function moveRun(
  store: Store,
  id: string,
  from: RunState,
  to: RunState,
  patch: Omit<RunPatch, 'state'>,
): Promise<void> {
  if (!mayFollow(from, to)) throw new ConflictError(`a run that is ${from} cannot become ${to} (run ${id})`);
  await store.updateRun(id, from, { ...patch, state: to });
}

/** The run that a person means by an id or its first characters. Throws `NotFoundError`, or `UsageError` for several. */
export async function findRun(store: Store, idOrPrefix: string): Promise<RunRecord> {
  const runs = await store.findRuns(idOrPrefix, 3);
  const [run] = runs;
  if (run === undefined) {
    throw new NotFoundError(`there is no run "${idOrPrefix}"`, { remedy: 'cordon runs list' });
  }
  if (runs.length === 1 || run.id === idOrPrefix) return run;
  throw new UsageError(`"${idOrPrefix}" is the beginning of several runs: ${runs.map((r) => r.id).join(', ')}`, {
    remedy: 'type more of the id',
  });
}

/** What was found of a run whose process is gone. */
export interface LeftBehind {
  readonly lastAuditSeq?: number;
  /** The end that the audit log has of it, when only the row in the store was left behind; else it is `lost`. */
  readonly state?: RunState;
}

/**
 * Closes as `lost` every unfinished run whose process is gone. `clean` ends what is left of it (its control group, its
 * mounts, its folder) and records the loss; the run is closed only after that, so that a crash in between tries again.
 * Several processes may do this at once: one of them closes the run, the others pass on. Returns what was closed here.
 */
export async function closeLostRuns(
  store: Store,
  clock: Clock,
  clean: (run: RunRecord) => Promise<LeftBehind>,
  alive: (owner: ProcessIdentity) => boolean = isAlive,
): Promise<readonly RunRecord[]> {
  const closed: RunRecord[] = [];
  let cursor: string | null | undefined;
  while (cursor !== null) {
    const page = await store.listRuns({
      states: unfinishedStates,
      limit: 100,
      ...(cursor === undefined ? {} : { cursor }),
    });
    for (const run of page.runs) {
      if (alive(run.owner) || !isRunState(run.state)) continue;
      const { state = 'lost', ...facts } = await clean(run);
      const to = mayFollow(run.state, state) ? state : 'lost';
      try {
        await moveRun(store, run.id, run.state, to, { at: clock.now(), ...facts });
        closed.push(run);
      } catch (error) {
        if (!(error instanceof ConflictError)) throw error;
      }
    }
    cursor = page.next;
  }
  return closed;
}
