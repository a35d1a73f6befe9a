import { isAlive } from '../base/process-identity.ts';
import { hasEnded, isRunState } from '../runs/run.ts';
import type { RunRecord } from '../store/index.ts';

/** The state, except that a run whose process is gone is not going on, whatever the store still says. */
export function stateOf(run: RunRecord): string {
  return isRunState(run.state) && !hasEnded(run.state) && !isAlive(run.owner) ? 'lost' : run.state;
}

/** A run as `--json` shows it: without what concerns this machine alone. */
export function runJson(run: RunRecord): unknown {
  const { owner, cgroup, created, updated, ...rest } = run;
  return {
    ...rest,
    state: stateOf(run),
    created: new Date(created).toISOString(),
    updated: new Date(updated).toISOString(),
  };
}
