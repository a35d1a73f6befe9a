import { type Clock, timestamp } from '../base/clock.ts';
import { CordonError, ExitCode } from '../base/errors.ts';
import { type ActionName, type Decision, refText } from '../policy/index.ts';
import type { RunRequest } from './request.ts';
import { type RunLog, recorded } from './run-log.ts';
import type { RunIo } from './system.ts';

/** Nobody said yes. */
export class ApprovalDeniedError extends CordonError {
  constructor(message: string, remedy: string) {
    super('approval_denied', ExitCode.approval, message, { remedy });
  }
}

/** A yes, bound to exactly what was asked. */
export interface Approval {
  /** Index of its event. */
  readonly seq: number;
  readonly by: string;
  readonly subjectDigest: string;
  readonly at: string;
}

/**
 * Puts what the policy asks to whoever answers for this run. On one machine that is the person at the terminal, or
 * nobody. Resolves with a yes; throws {@link ApprovalDeniedError} on a no, on silence, and where nobody is there.
 */
export async function decideAsk(
  decision: Decision,
  action: ActionName,
  what: string,
  request: RunRequest,
  log: RunLog,
  io: RunIo,
  clock: Clock,
): Promise<Approval> {
  const { approvers = [], count = 1, expiresMs = 0 } = decision.ask ?? {};
  const approval = decision.subjectDigest.slice('sha256:'.length, 'sha256:'.length + 16);
  const cause = await log.append({
    type: 'approval.requested',
    action,
    resource: { approval, summary: what, approvers: [...approvers], count, expiresMs },
    decision: recorded(decision),
  });
  // Two people cannot be asked at one terminal.
  const present = request.approvals === 'prompt' && io.ask !== undefined && count <= 1;
  const yes =
    present && (await io.ask?.({ action: what, reason: decision.reason, rules: decision.rules.map(refText) })) === true;
  const seq = await log.append({
    type: 'approval.decided',
    action,
    resource: { approval, subjectDigest: decision.subjectDigest },
    outcome: {
      answer: yes ? 'approved' : 'denied',
      note: present
        ? null
        : count > 1
          ? `${count} people must be asked, and there is one terminal`
          : 'nobody was there to be asked',
    },
    cause,
  });
  const { subjectDigest } = decision;
  if (yes) return { seq, by: request.requester.id, subjectDigest, at: timestamp(clock.now()) };
  throw new ApprovalDeniedError(
    `${what} needs an approval, and ${present ? 'it was not given' : count > 1 ? `${count} people must give it` : 'nobody was there to give it'}: ${decision.reason}`,
    present ? 'cordon runs show RUN tells what changed' : 'run it from a terminal with --approvals prompt',
  );
}
