import type { Summary } from './bundle-check.ts';
import { closedBy, phaseOf } from './event.ts';
import { MAX_PROBLEMS, type OpenIntent, type ProblemList } from './problem.ts';

/**
 * Follows intents to their outcomes across records, in order. An intent that policy denied needs no outcome; `run.lost`
 * stands for the outcome of every intent of its run that has none. Memory grows with open intents and with outcomes
 * seen, not with records.
 */
export class Causality {
  readonly #problems: ProblemList;
  readonly #open = new Map<number, Summary>();
  readonly #closed = new Set<number>();
  readonly #denied = new Set<number>();
  readonly #lost = new Set<string>();
  readonly #where: string;
  /** Which records there are: all of them in a log, only some in an export of one run. */
  readonly #known: ((seq: number) => boolean) | null;

  constructor(problems: ProblemList, where: string, known: ((seq: number) => boolean) | null = null) {
    this.#problems = problems;
    this.#where = where;
    this.#known = known;
  }

  add(summary: Summary): void {
    const { seq, type, run, cause } = summary;
    if (cause !== null && cause >= seq)
      this.#report('cause_unknown', seq, `${type} names record ${cause}, which comes later, as its cause`);
    else if (closedBy(type).length > 0) this.#close(summary);
    if (type === 'run.lost' && run !== null) this.#lost.add(run);
    if (phaseOf(type) === 'intent') {
      if (summary.denied) this.#denied.add(seq);
      else this.#open.set(seq, summary);
    }
  }

  #close(summary: Summary): void {
    const { seq, type, run, cause } = summary;
    if (cause === null) return this.#report('cause_unknown', seq, `${type} names no cause`);
    if (this.#known !== null && !this.#known(cause))
      return this.#report('cause_unknown', seq, `${type} names record ${cause}, which is not here`);
    const intent = this.#open.get(cause);
    if (intent === undefined) {
      // A denied intent may have an outcome ("refused") and leaves no entry; it is a cause nobody else may close either.
      if (this.#closed.has(cause))
        this.#report('outcome_twice', seq, `${type} is the second outcome of record ${cause}`);
      else if (!this.#denied.has(cause))
        this.#report('cause_wrong', seq, `${type} names record ${cause}, which is no intent, as its cause`);
    } else if (!closedBy(type).includes(intent.type)) {
      return this.#report('cause_wrong', seq, `${type} cannot be the outcome of record ${cause}, a ${intent.type}`);
    } else if (intent.run !== run) {
      return this.#report(
        'cause_wrong',
        seq,
        `${type} of run ${run} names record ${cause} of run ${intent.run} as its cause`,
      );
    }
    this.#open.delete(cause);
    this.#closed.add(cause);
  }

  #report(code: 'cause_unknown' | 'cause_wrong' | 'outcome_twice', seq: number, message: string): void {
    this.#problems.add({ code, seq, where: this.#where, message: `record ${seq}: ${message}` });
  }

  /** What is still open, and a problem for each that nothing excuses. */
  finish(aliveRuns: ReadonlySet<string>): OpenIntent[] {
    const open: OpenIntent[] = [];
    for (const { seq, type, run } of this.#open.values()) {
      const excuse = run === null ? null : this.#lost.has(run) ? 'lost' : aliveRuns.has(run) ? 'alive' : null;
      if (open.length < MAX_PROBLEMS) open.push({ seq, type, run, excuse });
      if (excuse !== null) continue;
      const of = run === null ? '' : ` of run ${run}`;
      this.#problems.add({
        code: 'outcome_missing',
        seq,
        where: this.#where,
        message: `record ${seq}: ${type}${of} has no outcome`,
      });
    }
    return open;
  }
}
