/** One run's judgements of what is pushed: each state of the branch is inspected once, each question is put once. */
import { type TimerClock, timestamp } from '../base/clock.ts';
import { inspectPush, type PushInspection } from '../gateways/git/checks.ts';
import { explainRefusal, placeOf } from '../gateways/git/explain.ts';
import type { LockRules } from '../gateways/git/lockfiles/inspect.ts';
import type { Quarantine } from '../gateways/git/quarantine.ts';
import { type Decision, type EffectivePolicy, type GitPushAction, subjectDigest } from '../policy/index.ts';
import { type Approval, ApprovalDeniedError, decideAsk, type Hold } from './ask.ts';
import type { RunRequest } from './request.ts';
import { type RunLog, recorded } from './run-log.ts';
import type { RunIo } from './system.ts';
import type { Repository } from './workspace.ts';

export interface ReviewOptions {
  readonly repository: Repository;
  /** Short name of the branch that this run delivers. */
  readonly branch: string;
  readonly policy: EffectivePolicy;
  readonly request: RunRequest;
  readonly log: RunLog;
  readonly io: RunIo;
  readonly clock: TimerClock;
  /** The name of a secret that the bytes hold, or the shape of one; null when they hold none. */
  readonly secretIn?: (bytes: Buffer | string) => string | null;
  /** What to hold lock files to; absent where the policy says nothing of packages. */
  readonly locks?: LockRules;
}

export interface Candidate {
  readonly quarantine: Quarantine;
  readonly head: string;
  readonly kind: GitPushAction['kind'];
  /** True for a commit object that this run's own key signed. */
  readonly isSigned?: (commit: Buffer) => Promise<boolean>;
}

export interface Verdict {
  readonly accepted: boolean;
  readonly inspection: PushInspection;
  /** Null when the inspection itself was stopped by a limit. */
  readonly decision: Decision | null;
  /** In one line; null when it is accepted. */
  readonly reason: string | null;
  /** Set when somebody was to be asked and did not say yes. */
  readonly unapproved: ApprovalDeniedError | null;
  /** Index of the event that recorded the decision: of the question, where somebody was asked. */
  readonly decided: number;
  readonly approvals: readonly Approval[];
  /** When its objects were looked at. */
  readonly inspectedAt: string;
}

export class PushReview {
  readonly #options: ReviewOptions;
  #inspected: { readonly head: string; readonly inspection: PushInspection; readonly at: string } | null = null;
  /** Subject digests of what somebody has approved, and of what was denied. */
  readonly #answers = new Map<string, ApprovalDeniedError | Approval>();
  /** Subject digests of what was accepted, with the events to show for it. */
  readonly #accepted = new Map<string, Verdict>();

  constructor(options: ReviewOptions) {
    this.#options = options;
  }

  get ref(): string {
    return `refs/heads/${this.#options.branch}`;
  }

  /** The earlier acceptance of exactly this, if there was one: then there is nothing left to decide or to record. */
  async acceptedBefore(candidate: Candidate): Promise<Verdict | null> {
    const { facts } = await this.#inspect(candidate);
    return facts === null ? null : (this.#accepted.get(subjectDigest(facts)) ?? null);
  }

  /** Inspects, decides, asks where the policy asks, and records the outcome of the intent `received`. */
  async judge(candidate: Candidate, received: number, hold?: Hold): Promise<Verdict> {
    const { log, policy } = this.#options;
    const inspection = await this.#inspect(candidate);
    const { facts } = inspection;
    const refused = inspection.findings.find((finding) => finding.severity === 'refuse');
    const decision = facts === null ? null : log.decide(policy, facts);
    const asks = refused === undefined && decision?.effect === 'ask';
    const answer = asks ? await this.#ask(decision, hold) : null;
    const unapproved = answer instanceof ApprovalDeniedError ? answer : null;
    const reason =
      refused !== undefined
        ? `${placeOf(refused)}${refused.message}`
        : decision === null
          ? 'the push could not be inspected'
          : decision.effect === 'deny'
            ? decision.reason
            : (unapproved?.message ?? null);
    const decided = await log.append({
      type: 'git.decided',
      action: 'git.push',
      resource: {
        repository: this.#options.repository.name,
        ref: this.ref,
        kind: candidate.kind,
        commits: facts?.commits ?? 0,
        changedPaths: facts?.changedPaths.length ?? 0,
        changedLines: facts?.changedLines ?? 0,
      },
      outcome: { result: reason === null ? 'accepted' : 'refused', reason },
      cause: received,
      ...(decision === null ? {} : { decision: recorded(decision) }),
    });
    const approvals = answer === null || answer instanceof ApprovalDeniedError ? [] : [answer];
    const inspectedAt = this.#inspected?.at ?? timestamp(this.#options.clock.now());
    const accepted = reason === null;
    // Where somebody was asked, the decision is on record with the question, and their yes lies behind it.
    const decidedAt = approvals[0]?.asked ?? decided;
    const common = { accepted, inspection, decision, reason, unapproved, approvals, inspectedAt };
    const verdict = { ...common, decided: decidedAt };
    // What was refused is thrown away: the same commit may come again with other objects, or with those that were missing.
    if (!accepted) this.#inspected = null;
    if (verdict.accepted && decision !== null) this.#accepted.set(decision.subjectDigest, verdict);
    return verdict;
  }

  /** For the terminal of whoever pushed. */
  explain({ inspection, decision, unapproved }: Verdict): string[] {
    return explainRefusal(inspection, decision, unapproved?.remedy);
  }

  /** The same thing is not asked twice: what was denied stays denied, what nobody answered may be asked again. */
  async #ask(decision: Decision, hold: Hold | undefined): Promise<ApprovalDeniedError | Approval> {
    const { request, log, io, clock } = this.#options;
    const before = this.#answers.get(decision.subjectDigest);
    if (before !== undefined) return before;
    try {
      const yes = await decideAsk(decision, 'git.push', `git push to ${this.ref}`, request, log, io, clock, hold);
      this.#answers.set(decision.subjectDigest, yes);
      return yes;
    } catch (error) {
      if (!(error instanceof ApprovalDeniedError)) throw error;
      if (!error.expired) this.#answers.set(decision.subjectDigest, error);
      return error;
    }
  }

  async #inspect({ quarantine, head, kind, isSigned }: Candidate): Promise<PushInspection> {
    if (this.#inspected?.head !== head) {
      const { repository, secretIn, locks } = this.#options;
      const inspection = await inspectPush({
        quarantine,
        head,
        repository: repository.name,
        ref: this.ref,
        ...(secretIn && { secretIn }),
        ...(locks && { locks }),
        ...(isSigned && { isSigned }),
      });
      this.#inspected = { head, inspection, at: timestamp(this.#options.clock.now()) };
    }
    const { inspection } = this.#inspected;
    return inspection.facts === null ? inspection : { ...inspection, facts: { ...inspection.facts, kind } };
  }
}
