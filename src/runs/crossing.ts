/** What the policy says of a crossing that the agent is about to make, with a person asked where it asks. */
import type { Narrow } from '../gateways/egress/ledger.ts';
import { type Decision, decide, type PolicyAction, subject } from '../policy/index.ts';
import { ApprovalDeniedError, decideAsk } from './ask.ts';
import type { RunScope } from './scope.ts';

/** What a person is asked, where it is more than the policy's own subject: then the answer is bound to all of it. */
export interface Question {
  readonly what: string;
  readonly subjectDigest: string;
}

/** Longer than any run: the policy's own time is what counts. Milliseconds. */
const EVER = 2 ** 31 - 1;

/** `until`: aborted when nobody waits for the answer any more. */
export async function decideCrossing(
  scope: Pick<RunScope, 'run' | 'loaded' | 'request' | 'io' | 'system'>,
  action: PolicyAction,
  narrow?: Narrow,
  question?: Question,
  until?: AbortSignal,
): Promise<Decision> {
  const { run, loaded, request, io } = scope;
  const ruled = decide(loaded.policy, action);
  const judged = run.log.count(
    ruled.effect === 'deny' || narrow === undefined ? ruled : await narrow(ruled),
    action,
    ruled,
  );
  if (judged.effect !== 'ask') return judged;
  const { what, subjectDigest } = question ?? { what: subject(action), subjectDigest: judged.subjectDigest };
  const decision = { ...judged, subjectDigest };
  const hold = until === undefined ? undefined : { signal: until, most: EVER, every: EVER, say: () => {} };
  try {
    await decideAsk(decision, action.action, what, request, run.log, io, scope.system.clock, hold);
    return { ...decision, effect: 'permit' };
  } catch (error) {
    const why = error instanceof ApprovalDeniedError ? `; ${error.why}` : '';
    return { ...decision, effect: 'deny', reason: `${decision.reason}${why}` };
  }
}
