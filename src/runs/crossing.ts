/** What the policy says of a crossing that the agent is about to make, with a person asked where it asks. */
import type { Narrow } from '../gateways/egress/ledger.ts';
import { type Decision, decide, type PolicyAction, subject } from '../policy/index.ts';
import { decideAsk } from './ask.ts';
import type { RunScope } from './scope.ts';

export async function decideCrossing(scope: RunScope, action: PolicyAction, narrow?: Narrow): Promise<Decision> {
  const { run, loaded, request, io } = scope;
  const ruled = decide(loaded.policy, action);
  const decision = run.log.count(ruled.effect === 'deny' || narrow === undefined ? ruled : await narrow(ruled), action);
  if (decision.effect !== 'ask') return decision;
  try {
    await decideAsk(decision, action.action, subject(action), request, run.log, io, scope.system.clock);
    return { ...decision, effect: 'permit' };
  } catch {
    return { ...decision, effect: 'deny' };
  }
}
