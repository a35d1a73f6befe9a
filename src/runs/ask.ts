import { type TimerClock, timestamp } from '../base/clock.ts';
import { formatDuration } from '../base/duration.ts';
import { CordonError, ExitCode } from '../base/errors.ts';
import { type ActionName, type Decision, refText } from '../policy/index.ts';
import type { RunRequest } from './request.ts';
import { type RunLog, recorded } from './run-log.ts';
import type { RunIo } from './system.ts';

/** Nobody said yes. */
export class ApprovalDeniedError extends CordonError {
  /** True when nobody answered in time: asked again, somebody may. */
  readonly expired: boolean;
  /** Why there is no yes, in a few words. */
  readonly why: string;
  constructor(message: string, remedy: string, why: string, expired = false) {
    super('approval_denied', ExitCode.approval, message, { remedy });
    this.expired = expired;
    this.why = why;
  }
}

/** A yes, bound to exactly what was asked. */
export interface Approval {
  /** Index of its event. */
  readonly seq: number;
  /** Index of the question's event, which has the decision. */
  readonly asked: number;
  readonly by: string;
  readonly subjectDigest: string;
  readonly at: string;
}

/** Somebody in the sandbox holds a connection open until the answer. */
export interface Hold {
  /** Aborted when they no longer do. */
  readonly signal: AbortSignal;
  /** Milliseconds that they are kept waiting at most; the policy's own time may be shorter. */
  readonly most: number;
  /** Milliseconds between two words that somebody is still being asked. */
  readonly every: number;
  say(line: string): void;
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
  clock: TimerClock,
  hold?: Hold,
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
  const absent = count > 1 ? `${count} people must give it` : 'nobody was there to give it';
  const most = Math.min(expiresMs, hold?.most ?? expiresMs);
  if (present) hold?.say(`approval ${approval} is needed; waiting for it, ${formatDuration(most)} at most`);
  const answer = present ? await answerOf(decision, what, io, clock, most, hold) : 'denied';
  const seq = await log.append({
    type: 'approval.decided',
    action,
    resource: { approval, subjectDigest: decision.subjectDigest },
    outcome: {
      answer,
      note: noteOf(present, count, answer, hold),
    },
    cause,
  });
  const { subjectDigest } = decision;
  if (answer === 'approved')
    return { seq, asked: cause, by: request.requester.id, subjectDigest, at: timestamp(clock.now()) };
  const late = hold?.signal.aborted ? 'who asked for it is gone' : `nobody gave it within ${formatDuration(most)}`;
  const why = present ? (answer === 'denied' ? 'it was not given' : late) : absent;
  throw new ApprovalDeniedError(
    `${what} needs an approval, and ${why}: ${decision.reason}`,
    present ? whatNext(answer, hold) : unattended(decision),
    why,
    answer === 'expired',
  );
}

function noteOf(present: boolean, count: number, answer: string, hold: Hold | undefined): string | null {
  if (present) return answer === 'expired' && hold?.signal.aborted ? 'who asked for it went away' : null;
  return count > 1 ? `${count} people must be asked, and there is one terminal` : 'nobody was there to be asked';
}

/** How somebody comes to be asked; and, where a switch of the policy's is all that asks, how nobody needs to be. */
function unattended({ rules }: Decision): string {
  const asked = 'run it from a terminal with --approvals prompt';
  const switches = rules.map((rule) => /^git\.push\.(\w+): ask$/.exec(rule.text)?.[1]);
  if (switches.length === 0 || switches.includes(undefined)) return asked;
  const all = [...new Set(switches)].map((name) => `${name}: permit`).join(', ');
  return `${asked}, or have the policy permit it to runs without anybody there: git: {push: {${all}}}`;
}

function whatNext(answer: 'denied' | 'expired', hold: Hold | undefined): string {
  if (hold === undefined) return 'cordon runs show RUN tells what changed';
  return answer === 'expired'
    ? 'push the same commit again to ask again'
    : 'another commit may be asked about; this one was denied';
}

async function answerOf(
  decision: Decision,
  what: string,
  io: RunIo,
  clock: TimerClock,
  most: number,
  hold: Hold | undefined,
): Promise<'approved' | 'denied' | 'expired'> {
  const late = new AbortController();
  const forget = clock.after(most, () => late.abort());
  const silence = hold === undefined ? () => {} : remind(clock, hold);
  const signal = hold === undefined ? late.signal : AbortSignal.any([late.signal, hold.signal]);
  const over = new Promise<'expired'>((resolve) => {
    if (signal.aborted) resolve('expired');
    signal.addEventListener('abort', () => resolve('expired'), { once: true });
  });
  try {
    const rules = decision.rules.map(refText);
    const answered = io
      .ask?.({ action: what, reason: decision.reason, rules, signal })
      .then((yes) => (yes === 'expired' ? yes : yes ? ('approved' as const) : ('denied' as const)));
    const answer = (await Promise.race([over, answered])) ?? 'denied';
    return answer;
  } catch (error) {
    if (signal.aborted) return 'expired';
    throw error;
  } finally {
    forget();
    silence();
  }
}

/** Says again and again that somebody is still being asked, until what it returns is called. */
function remind(clock: TimerClock, hold: Hold): () => void {
  const started = clock.monotonic();
  let stop = () => {};
  const next = () => {
    stop = clock.after(hold.every, () => {
      hold.say(`still waiting, ${formatDuration(clock.monotonic() - started)}`);
      next();
    });
  };
  next();
  return () => stop();
}
