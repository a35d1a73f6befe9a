import type { Summary } from './bundle-check.ts';
import { closedBy, phaseOf } from './event.ts';
import { MAX_PROBLEMS, type OpenIntent, type ProblemCode, type ProblemList } from './problem.ts';

/**
 * Follows intents to their outcomes across records, in order. An intent that policy denied needs no outcome; `run.lost`
 * stands for the outcome of every intent of its run that has none. Memory grows with the intents that are open, and by
 * a bit for each that was closed or denied.
 */
export class Causality {
  readonly #problems: ProblemList;
  readonly #where: string;
  readonly #open = new Map<number, Summary>();
  readonly #closed = new SeqSet();
  readonly #denied = new SeqSet();
  readonly #lost = new Set<string>();
  /** Which records there are: all of them in a log (null), only some in an export of one run. */
  readonly #known: ((seq: number) => boolean) | null;

  constructor(problems: ProblemList, where: string, known: ((seq: number) => boolean) | null = null) {
    this.#problems = problems;
    this.#where = where;
    this.#known = known;
  }

  add(summary: Summary): void {
    const { seq, type, run, denied } = summary;
    const wrong = this.#wrongCause(summary);
    if (wrong !== null)
      this.#problems.add({ code: wrong[0], seq, where: this.#where, message: `record ${seq}: ${type} ${wrong[1]}` });
    if (type === 'run.lost' && run !== null) this.#lost.add(run);
    if (phaseOf(type) !== 'intent') return;
    if (denied) this.#denied.add(seq);
    else this.#open.set(seq, summary);
  }

  /** Closes the intent that an outcome names; what is wrong with the cause, if anything. */
  #wrongCause({ seq, type, run, cause }: Summary): [ProblemCode, string] | null {
    if (cause !== null && cause >= seq)
      return ['cause_unknown', `names record ${cause}, which comes later, as its cause`];
    const closes = closedBy(type);
    if (closes.length === 0) return null;
    // A run can be lost before it started: there is no intent of its own to name then.
    if (cause === null) return type === 'run.lost' ? null : ['cause_unknown', 'names no cause'];
    if (this.#known !== null && !this.#known(cause))
      return ['cause_unknown', `names record ${cause}, which is not here`];
    const intent = this.#open.get(cause);
    if (this.#closed.has(cause)) return ['outcome_twice', `is the second outcome of record ${cause}`];
    if (intent === undefined && !this.#denied.has(cause))
      return ['cause_wrong', `names record ${cause}, which is no intent, as its cause`];
    if (intent !== undefined && !closes.includes(intent.type)) {
      return ['cause_wrong', `cannot be the outcome of record ${cause}, a ${intent.type}`];
    }
    if (intent !== undefined && intent.run !== run) {
      return ['cause_wrong', `of run ${run} names record ${cause} of run ${intent.run} as its cause`];
    }
    this.#open.delete(cause);
    this.#closed.add(cause);
    return null;
  }

  /** What is still open, and a problem for each that nothing excuses. */
  finish(aliveRuns: ReadonlySet<string>): OpenIntent[] {
    const open: OpenIntent[] = [];
    for (const { seq, type, run } of this.#open.values()) {
      const excuse = run === null ? null : this.#lost.has(run) ? 'lost' : aliveRuns.has(run) ? 'alive' : null;
      if (open.length < MAX_PROBLEMS) open.push({ seq, type, run, excuse });
      if (excuse !== null) continue;
      const of = run === null ? '' : ` of run ${run}`;
      const message = `record ${seq}: ${type}${of} has no outcome`;
      this.#problems.add({ code: 'outcome_missing', seq, where: this.#where, message });
    }
    return open;
  }
}

/** Numbers of records as bits: a `Set` would take fifty times the memory and end at 2^24 of them. */
class SeqSet {
  static readonly #SPAN = 2048;
  readonly #parts = new Map<number, Uint8Array>();

  add(seq: number): void {
    const index = Math.floor(seq / SeqSet.#SPAN);
    let part = this.#parts.get(index);
    if (part === undefined) {
      part = new Uint8Array(SeqSet.#SPAN / 8);
      this.#parts.set(index, part);
    }
    const bit = seq % SeqSet.#SPAN;
    part[bit >> 3] = (part[bit >> 3] as number) | (1 << (bit & 7));
  }

  has(seq: number): boolean {
    const bit = seq % SeqSet.#SPAN;
    const byte = this.#parts.get(Math.floor(seq / SeqSet.#SPAN))?.[bit >> 3] ?? 0;
    return (byte & (1 << (bit & 7))) !== 0;
  }
}
