/** What has arrived in quarantine is looked at as a whole and decided upon. */

import { type Clock, timestamp } from '../base/clock.ts';
import { PolicyDeniedError } from '../base/errors.ts';
import { inspectPush } from '../gateways/git/checks.ts';
import type { CommitFacts } from '../gateways/git/commits.ts';
import type { Quarantine } from '../gateways/git/quarantine.ts';
import { type Decision, type EffectivePolicy, refText } from '../policy/index.ts';
import { type Approval, decideAsk } from './ask.ts';
import type { RunRequest } from './request.ts';
import { type RunLog, recorded } from './run-log.ts';
import type { RunIo } from './system.ts';
import type { Repository } from './workspace.ts';

export interface Arrival {
  readonly quarantine: Quarantine;
  readonly head: string;
  readonly repository: Repository;
  readonly branch: string;
  /** Seq of the event that recorded its coming in. */
  readonly received: number;
  /** The name of a secret that the bytes hold, or the shape of one; null when they hold none. */
  readonly secretIn?: (bytes: Buffer | string) => string | null;
  readonly isSigned?: (commit: Buffer) => Promise<boolean>;
}

/** What was permitted, and by whom. */
export interface Judgement {
  /** New commits, oldest first. */
  readonly commits: readonly CommitFacts[];
  readonly decision: Decision;
  /** Index of the event that recorded it. */
  readonly decided: number;
  readonly approvals: readonly Approval[];
  /** When its objects were looked at. */
  readonly inspectedAt: string;
}

/** Throws `PolicyDeniedError` with every reason why not; resolves when all of it may leave. */
export async function judge(
  arrival: Arrival,
  request: RunRequest,
  policy: EffectivePolicy,
  log: RunLog,
  io: RunIo,
  clock: Clock,
): Promise<Judgement> {
  const { quarantine, head, branch, received } = arrival;
  const repository = arrival.repository.name;
  const ref = `refs/heads/${branch}`;
  const { secretIn, isSigned } = arrival;
  const asked = { ...(secretIn && { secretIn }), ...(isSigned && { isSigned }) };
  const inspection = await inspectPush({ quarantine, head, repository, ref, ...asked });
  const refusals = inspection.findings.filter((finding) => finding.severity === 'refuse');
  for (const { severity, message, path } of inspection.findings) {
    if (severity === 'note') io.onProgress({ step: `note: ${path === null ? '' : `${path}: `}${message}` });
  }
  const { facts } = inspection;
  const inspectedAt = timestamp(clock.now());
  const decision = facts === null ? undefined : log.decide(policy, facts);
  const refused = refusals.length > 0 || decision === undefined || decision.effect === 'deny';
  const reason = refusals[0]?.message ?? decision?.reason ?? 'the push could not be inspected';
  const decided = await log.append({
    type: 'git.decided',
    action: 'git.push',
    resource: {
      repository,
      ref,
      kind: facts?.kind ?? 'create',
      commits: facts?.commits ?? 0,
      changedPaths: facts?.changedPaths.length ?? 0,
      changedLines: facts?.changedLines ?? 0,
    },
    outcome: { result: refused ? 'refused' : 'accepted', reason: refused ? reason : null },
    cause: received,
    ...(decision === undefined ? {} : { decision: recorded(decision) }),
  });
  if (refused) throw denial(refusals, decision);
  const approvals =
    decision.effect === 'ask'
      ? [await decideAsk(decision, 'git.push', `git push to ${ref}`, request, log, io, clock)]
      : [];
  return { commits: inspection.commits, decision, decided, approvals, inspectedAt };
}

/** A push that brought nothing new, as when only ignored files changed: its record is closed, and nothing is delivered. */
export async function recordEmpty(log: RunLog, received: number, repository: string, branch: string): Promise<void> {
  const resource = {
    repository,
    ref: `refs/heads/${branch}`,
    kind: 'create',
    commits: 0,
    changedPaths: 0,
    changedLines: 0,
  };
  const outcome = { result: 'accepted', reason: 'there is nothing new in it' } as const;
  await log.append({ type: 'git.decided', action: 'git.push', resource, outcome, cause: received });
}

function denial(
  refusals: readonly { readonly message: string; readonly path: string | null; readonly commit: string | null }[],
  decision: Decision | undefined,
): PolicyDeniedError {
  const found = refusals.slice(0, 8).map(({ message, path, commit }) => {
    const where = [commit?.slice(0, 12), path].filter((part) => part !== null && part !== undefined).join(': ');
    return where === '' ? message : `${where}: ${message}`;
  });
  const rules = decision?.effect === 'deny' ? decision.rules.map(refText) : [];
  const reasons = [...found, ...(decision?.effect === 'deny' ? [decision.reason] : [])];
  return new PolicyDeniedError(`the change is not delivered: ${reasons.join('; ')}`, rules, {
    remedy: decision?.remedy ?? 'cordon runs show RUN tells what changed',
  });
}
