/** What has arrived in quarantine is looked at as a whole and decided upon. */

import { PolicyDeniedError } from '../base/errors.ts';
import type { CommitFacts } from '../gateways/git/commits.ts';
import { evidence, placeOf } from '../gateways/git/explain.ts';
import type { Quarantine } from '../gateways/git/quarantine.ts';
import { type Decision, refText } from '../policy/index.ts';
import type { Approval } from './ask.ts';
import type { LastPush } from './push-desk.ts';
import type { PushReview, Verdict } from './push-review.ts';
import type { RunLog } from './run-log.ts';
import type { RunIo } from './system.ts';
import type { Repository } from './workspace.ts';

export interface Arrival {
  readonly quarantine: Quarantine;
  readonly head: string;
  readonly repository: Repository;
  readonly branch: string;
  readonly last: LastPush;
  readonly isSigned?: (commit: Buffer) => Promise<boolean>;
}

/** What was permitted, and by whom. */
export interface Judgement {
  /** New commits, oldest first. */
  readonly commits: readonly CommitFacts[];
  readonly decision: Decision;
  /** Index of the event that recorded the decision: of the question, where somebody was asked. */
  readonly decided: number;
  readonly approvals: readonly Approval[];
  /** When its objects were looked at. */
  readonly inspectedAt: string;
}

/**
 * Throws `PolicyDeniedError` with every reason why not, or `ApprovalDeniedError`; resolves when all of it may leave. What was
 * accepted when the agent pushed it is not decided upon again.
 */
export async function judge(arrival: Arrival, review: PushReview, log: RunLog, io: RunIo): Promise<Judgement> {
  const { quarantine, head, last, isSigned } = arrival;
  const candidate = { quarantine, head, kind: 'create', ...(isSigned && { isSigned }) } as const;
  const before = last.decided ? await review.acceptedBefore(candidate) : null;
  if (before !== null) return judgementOf(before);
  const received = last.decided ? await takenUp(arrival, review.ref, log) : last.received;
  const verdict = await review.judge(candidate, received);
  const notes = verdict.inspection.findings.filter(({ severity }) => severity === 'note');
  // A file is looked at in its commit and in the whole.
  for (const note of new Set(notes.map(({ path, message }) => `${path === null ? '' : `${path}: `}${message}`)))
    io.onProgress({ step: `note: ${note}` });
  if (verdict.unapproved !== null) throw verdict.unapproved;
  return judgementOf(verdict);
}

function judgementOf(verdict: Verdict): Judgement {
  const { accepted, decision, decided, approvals, inspectedAt, inspection } = verdict;
  if (!accepted || decision === null) throw denial(verdict);
  return { commits: inspection.commits, decision, decided, approvals, inspectedAt };
}

/** What was taken as something else than it is to be delivered as is an arrival of its own. */
function takenUp({ head, repository }: Arrival, ref: string, log: RunLog): Promise<number> {
  return log.append({
    type: 'git.received',
    action: 'git.push',
    resource: { repository: repository.name, commands: [{ ref, from: null, to: head }], packBytes: 0 },
  });
}

function denial({ inspection, decision }: Verdict): PolicyDeniedError {
  const refusals = inspection.findings.filter((finding) => finding.severity === 'refuse');
  const found = refusals.slice(0, 8).map((finding) => `${placeOf(finding)}${finding.message}`);
  const denied = decision?.effect === 'deny' ? decision : null;
  const behind = denied === null ? [] : evidence(inspection, denied).map((one) => `${placeOf(one)}${one.message}`);
  const reasons = [...found, ...(denied === null ? [] : [denied.reason]), ...behind.slice(0, 8)];
  return new PolicyDeniedError(
    `the change is not delivered: ${reasons.join('; ')}`,
    (denied?.rules ?? []).map(refText),
    { remedy: decision?.remedy ?? 'cordon runs show RUN tells what changed' },
  );
}
