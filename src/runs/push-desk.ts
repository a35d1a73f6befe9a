/** What becomes of each push inside a run: recorded, judged at that moment, recorded again. */
import { git } from '../base/git.ts';
import { explainRefusal } from '../gateways/git/explain.ts';
import type { PushJudge, PushVerdict, ReceivedPush } from '../gateways/git/push.ts';
import type { RefCommand } from '../gateways/git/receive.ts';
import type { Decision, EffectivePolicy, GitPushAction } from '../policy/index.ts';
import type { PushReview } from './push-review.ts';
import { type RunLog, recorded } from './run-log.ts';
import type { Repository } from './workspace.ts';

export interface DeskOptions {
  readonly repository: Repository;
  readonly policy: EffectivePolicy;
  readonly log: RunLog;
  /** Of pushes to the run's own branch; null when the run delivers nothing. */
  readonly review: PushReview | null;
  readonly isSigned: (commit: Buffer) => Promise<boolean>;
}

/** The last push that the quarantine holds. */
export interface LastPush {
  /** Seq of the event that recorded its coming in. */
  readonly received: number;
  /** True when that event has its outcome: the push was judged, and accepted. */
  readonly decided: boolean;
}

/** A pusher waits this long for an approval, and hears of it this often. Milliseconds. */
const HOLD = { most: 10 * 60_000, every: 15_000 };

/**
 * While the agent works, every push is inspected and decided upon before a ref moves. When the run delivers, the push of its
 * last state is taken as it is: `judge` (judge.ts) then decides on it and answers to the run, not to the sandbox.
 */
export class PushDesk implements PushJudge {
  readonly #options: DeskOptions;
  #delivering = false;
  #last: LastPush | null = null;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  get last(): LastPush | null {
    return this.#last;
  }

  deliver(): void {
    this.#delivering = true;
  }

  async screen(commands: readonly RefCommand[]): Promise<PushVerdict> {
    const other = commands.find(({ ref, kind }) => ref !== this.#options.review?.ref || kind === 'delete');
    if (other === undefined) return { permit: true };
    const decision = this.#decideByName(other);
    const reason = this.#reasonFor(decision);
    await this.#record(await this.#received(commands, 0), other, reason, decision);
    const denied = decision.effect === 'deny' ? decision : null;
    // No rule would open it: what the policy's remedy permits is not delivered either.
    const details = explainRefusal({ facts: null, findings: [], commits: [], touched: new Map() }, denied, null);
    return {
      permit: false,
      reason: commands.length === 1 ? reason : `${other.ref}: ${reason}`,
      details: [...details, `  ${this.#instead(other)}`],
    };
  }

  async judge(push: ReceivedPush): Promise<PushVerdict> {
    const { review } = this.#options;
    const [command] = push.commands;
    if (review === null || command === undefined) return { permit: false, reason: 'this run delivers nothing' };
    const received = await this.#received(push.commands, push.packBytes);
    if (push.failure !== null) {
      await this.#record(received, command, push.failure, null);
      return { permit: false, reason: push.failure };
    }
    if (this.#delivering) {
      // The base itself is no change: nothing will be judged.
      const decided = command.new === push.quarantine.base;
      if (decided) await this.#record(received, command, null, null);
      this.#last = { received, decided };
      return { permit: true };
    }
    const kind = await kindOf(push, command);
    const hold = { ...HOLD, signal: push.signal, say: push.say };
    const verdict = await review
      .judge({ quarantine: push.quarantine, head: command.new, kind, isSigned: this.#options.isSigned }, received, hold)
      .catch(async (error: unknown) => {
        await this.#record(received, command, 'the push could not be judged', null);
        throw error;
      });
    if (verdict.reason !== null) return { permit: false, reason: verdict.reason, details: review.explain(verdict) };
    this.#last = { received, decided: true };
    return { permit: true };
  }

  #received(commands: readonly RefCommand[], packBytes: number): Promise<number> {
    const known = (oid: string) => (/^0+$/.test(oid) ? null : oid);
    return this.#options.log.append(
      {
        type: 'git.received',
        action: 'git.push',
        resource: {
          repository: this.#options.repository.name,
          commands: commands.map(({ ref, old, new: to }) => ({ ref, from: known(old), to: known(to) })),
          packBytes,
        },
      },
      'agent',
    );
  }

  async #record(cause: number, command: RefCommand, reason: string | null, decision: Decision | null): Promise<void> {
    const { ref, kind } = command;
    const nothing = { commits: 0, changedPaths: 0, changedLines: 0 };
    await this.#options.log.append({
      type: 'git.decided',
      action: 'git.push',
      resource: { repository: this.#options.repository.name, ref, kind, ...nothing },
      outcome: { result: reason === null ? 'accepted' : 'refused', reason: reason ?? 'there is nothing new in it' },
      cause,
      ...(decision === null ? {} : { decision: recorded(decision) }),
    });
  }

  #decideByName({ ref, kind }: RefCommand): Decision {
    const { log, policy, repository } = this.#options;
    return log.decide(policy, {
      action: 'git.push',
      repository: repository.name,
      ref,
      kind,
      tag: ref.startsWith('refs/tags/'),
      changedPaths: [],
      changedLines: 0,
      largestFile: 0,
      commits: 0,
      authors: [],
      signed: false,
      secrets: false,
    });
  }

  #instead({ ref }: RefCommand): string {
    const own = this.#options.review?.ref;
    if (own === undefined) return 'what it changes is read only: leave commits where they are';
    if (ref === own) return `${own} is delivered when the run ends: leave it, or push another state of it`;
    return `this run delivers ${own} alone: git push origin HEAD:${own}, or git push without a branch`;
  }

  #reasonFor(decision: Decision): string {
    if (decision.effect === 'deny') return decision.reason;
    const { review } = this.#options;
    return review === null ? 'this run delivers nothing' : `this run delivers ${review.ref} and no other ref`;
  }
}

/**
 * The run's own branch does not exist before it is delivered: as often as the run rewrites it, what comes of it is one new
 * branch, in its last state. A ref of the repository's is updated or forced, by ancestry, whatever the client says of it.
 */
async function kindOf({ quarantine }: ReceivedPush, { ref, old, new: to }: RefCommand): Promise<GitPushAction['kind']> {
  if (ref !== quarantine.baseRef) return 'create';
  const from = /^0+$/.test(old) ? quarantine.base : old;
  const result = await git(quarantine.place, ['merge-base', '--is-ancestor', from, to], { timeout: 60_000 });
  return result.exitCode === 0 ? 'update' : 'force';
}
