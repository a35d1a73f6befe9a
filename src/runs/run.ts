import type { RunStatus } from './request.ts';

/** Where a run is: on its way, or at one of its ends, which are the statuses of a `RunResult`. */
export type RunState = 'created' | 'preparing' | 'running' | 'delivering' | RunStatus;

/** Whatever a run is doing, it can be cancelled, meet a fault outside, or lose the process that drives it. */
const always = ['outside', 'cancelled', 'lost'] as const;

/**
 * The state machine: what may follow what. `succeeded` comes only after delivering (also when there is nothing to
 * deliver): nothing can be called a success whose change has not been judged.
 */
export const transitions: Readonly<Record<RunState, readonly RunState[]>> = {
  created: ['preparing', 'denied', 'enforcement', ...always],
  preparing: ['running', 'failed', 'denied', 'approval_denied', 'limit', 'enforcement', ...always],
  running: ['delivering', 'failed', 'denied', 'approval_denied', 'limit', 'enforcement', ...always],
  delivering: ['succeeded', 'failed', 'denied', 'approval_denied', 'limit', 'enforcement', ...always],
  succeeded: [],
  failed: [],
  denied: [],
  approval_denied: [],
  limit: [],
  enforcement: [],
  outside: [],
  cancelled: [],
  lost: [],
};

export function isRunState(text: string): text is RunState {
  return Object.hasOwn(transitions, text);
}

export function mayFollow(from: RunState, to: RunState): boolean {
  return transitions[from].includes(to);
}

export function hasEnded(state: RunState): boolean {
  return transitions[state].length === 0;
}

export const unfinishedStates: readonly RunState[] = (Object.keys(transitions) as RunState[]).filter(
  (state) => !hasEnded(state),
);
