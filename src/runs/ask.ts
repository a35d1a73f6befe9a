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

/**
 * Puts what the policy asks to whoever answers for this run. On one machine that is the person at the terminal, or
 * nobody. Resolves on a yes; throws {@link ApprovalDeniedError} on a no, on silence, and where nobody is there.
 */
export async function decideAsk(
  decision: Decision,
  action: ActionName,
  what: string,
  request: RunRequest,
  log: RunLog,
  io: RunIo,
): Promise<void> {
  const { approvers = [], count = 1, expiresMs = 0 } = decision.ask ?? {};
  const approval = decision.subjectDigest.slice('sha256:'.length, 'sha256:'.length + 16);
  const cause = await log.append({
    type: 'approval.requested',
    action,
    resource: { approval, summary: what, approvers: [...approvers], count, expiresMs },
    decision: recorded(decision),
  });
  const present = request.approvals === 'prompt' && io.ask !== undefined;
  const yes =
    present && (await io.ask?.({ action: what, reason: decision.reason, rules: decision.rules.map(refText) })) === true;
  await log.append({
    type: 'approval.decided',
    action,
    resource: { approval, subjectDigest: decision.subjectDigest },
    outcome: { answer: yes ? 'approved' : 'denied', note: present ? null : 'nobody was there to be asked' },
    cause,
  });
  if (yes) return;
  throw new ApprovalDeniedError(
    `${what} needs an approval, and ${present ? 'it was not given' : 'nobody was there to give it'}: ${decision.reason}`,
    present ? 'cordon runs show RUN tells what changed' : 'run it from a terminal with --approvals prompt',
  );
}
