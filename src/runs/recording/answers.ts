/** What people answered when a recorded run asked them, answered again in its replay. */
import type { AuditEvent } from '../../audit/event.ts';
import type { RunIo } from '../system.ts';

export type HumanAnswer = 'approved' | 'denied' | 'expired';

/** One question that the policy put to a person. */
export interface ReplayedApproval {
  /** `git push to refs/heads/cordon/<run>`; the run's id is left out, which no replay shares. */
  readonly question: string;
  /** Null when it was not asked then, or its question had no answer. */
  readonly recorded: HumanAnswer | null;
  /** Null when the replay did not come to ask. */
  readonly now: HumanAnswer | null;
}

type Ask = NonNullable<RunIo['ask']>;

interface Waiting {
  readonly question: string;
  readonly answer: HumanAnswer | null;
}

export class RecordedAnswers {
  /** Questions that were not asked again yet, oldest first. */
  readonly #waiting: Waiting[] = [];
  readonly #given: ReplayedApproval[] = [];
  readonly #own: readonly string[];
  /** Somebody was there to be asked. Where nobody was, nobody is now. */
  readonly attended: boolean;

  /** `own`: words of the replay alone, which come to be known while it runs. */
  constructor(run: string, events: readonly AuditEvent[], own: readonly string[]) {
    this.#own = own;
    const answers = new Map<number, HumanAnswer>();
    let attended = false;
    for (const { type, cause, outcome } of decided(events)) {
      if (type === 'approval.decided' && cause !== null) answers.set(cause, outcome.answer);
      attended ||= outcome.note === null || outcome.answer !== 'denied';
    }
    this.attended = attended;
    for (const event of events) {
      if (event.type !== 'approval.requested') continue;
      const question = event.resource.summary.replaceAll(run, '<run>');
      this.#waiting.push({ question, answer: answers.get(event.seq) ?? null });
    }
  }

  /** Asks nobody. What was not asked then, or more often now, is denied. */
  readonly ask: Ask = async ({ action }) => {
    const question = this.#own.reduce((text, word) => text.replaceAll(word, '<run>'), action);
    const place = this.#waiting.findIndex((one) => one.question === question);
    const [found] = place === -1 ? [] : this.#waiting.splice(place, 1);
    const now = found?.answer ?? 'denied';
    this.#given.push({ question, recorded: found?.answer ?? null, now });
    return now === 'expired' ? 'expired' : now === 'approved';
  };

  /** Those of the replay in their order, then what it did not come to ask. */
  get approvals(): readonly ReplayedApproval[] {
    return [
      ...this.#given,
      ...this.#waiting.map(({ question, answer }) => ({ question, recorded: answer, now: null })),
    ];
  }
}

function decided(events: readonly AuditEvent[]) {
  return events.filter((event) => event.type === 'approval.decided');
}
