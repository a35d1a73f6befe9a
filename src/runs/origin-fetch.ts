/** Fetches inside: each is decided upon, and recorded before and after. */
import { CordonError } from '../base/errors.ts';
import type { FetchVerdict } from '../gateways/git/server.ts';
import type { Decision, EffectivePolicy } from '../policy/index.ts';
import { type RunLog, recorded } from './run-log.ts';

export interface FetchRequest {
  /** As the policy names the repository. */
  readonly repository: string;
  /** The branch that the run starts from. */
  readonly base: string;
  readonly policy: EffectivePolicy;
  readonly log: RunLog;
  /** Resolves when somebody says yes; throws a `CordonError` otherwise. */
  ask(decision: Decision, what: string): Promise<unknown>;
}

/** An answer to what the policy asks holds for all fetches of that ref in the run: they are of the same. */
export function fetchDecider(request: FetchRequest): (ref: string) => Promise<FetchVerdict> {
  const { repository, base, policy, log } = request;
  const answers = new Map<string, Promise<string | null>>();
  return async (ref) => {
    const decision = log.decide(policy, { action: 'git.fetch', repository, ref, base: ref === base });
    const common = { action: 'git.fetch', resource: { repository, ref } } as const;
    const cause = await log.append({ ...common, type: 'git.fetch', decision: recorded(decision) }, 'agent');
    if (decision.effect === 'deny') return { permit: false, reason: decision.reason };
    const end = async (reason: string | null, bytes: number, whole: boolean) => {
      const outcome = { result: whole ? ('done' as const) : ('failed' as const), reason, bytes };
      await log.append({ ...common, type: 'git.fetched', outcome, cause }, 'agent');
    };
    if (decision.effect === 'ask') {
      const answer = answers.get(ref) ?? request.ask(decision, `git fetch of ${ref}`).then(() => null, refusalOf);
      answers.set(ref, answer);
      const refusal = await answer;
      if (refusal !== null) {
        await end(refusal, 0, false);
        return { permit: false, reason: refusal };
      }
    }
    return { permit: true, done: (bytes, whole) => end(null, bytes, whole) };
  };
}

function refusalOf(error: unknown): string {
  if (error instanceof CordonError) return error.message;
  throw error;
}
