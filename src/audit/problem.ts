/** What can be wrong with a log; stable names for programs that read the report. */
export type ProblemCode =
  /** A file that the checkpoint says must be there is not. */
  | 'file_missing'
  /** A file has not the form or size it must have. */
  | 'file_malformed'
  /** The checkpoint is not signed by this key, or not a checkpoint of this log. */
  | 'checkpoint_invalid'
  /** The checkpoint is signed, but for another tree than these records make. */
  | 'root_mismatch'
  /** A hash of a tile is not that of the records below it. */
  | 'tile_mismatch'
  /** A record is not an event as the log writes them. */
  | 'record_malformed'
  /** A record stands at another place than the one it names. */
  | 'record_seq'
  /** The journal does not continue what is in the tiles. */
  | 'journal_mismatch'
  /** The journal ends with bytes that are no whole batch: a write cut by a crash, or tampering. */
  | 'journal_torn'
  /** The journal is damaged in the middle. */
  | 'journal_damaged'
  /** An earlier checkpoint is not a prefix of this log: records were taken away or rewritten. */
  | 'rollback'
  /** An inclusion proof does not lead to the checkpoint's root. */
  | 'proof_invalid'
  /** An event names a cause that does not exist or comes later. */
  | 'cause_unknown'
  /** An outcome names a cause that is no intent it could close, or of another run. */
  | 'cause_wrong'
  /** An intent has two outcomes. */
  | 'outcome_twice'
  /** An intent has no outcome, and its run is neither alive nor recorded as lost. */
  | 'outcome_missing';

export interface Problem {
  readonly code: ProblemCode;
  /** The first record concerned; null when it is about no single one. */
  readonly seq: number | null;
  /** The file, relative to what was verified. */
  readonly where: string;
  readonly message: string;
}

export interface OpenIntent {
  readonly seq: number;
  readonly type: string;
  readonly run: string | null;
  /** `alive`: its run goes on. `lost`: its run is recorded as lost. */
  readonly excuse: 'alive' | 'lost' | null;
}

export interface VerifyReport {
  /** True when there is no problem at all. */
  readonly ok: boolean;
  readonly kind: 'log' | 'export' | 'run' | 'proof';
  readonly origin: string;
  /** Records of the log, by the checkpoint. */
  readonly size: number;
  /** Records that were recomputed. */
  readonly records: number;
  /** The signed checkpoint that they were checked against; keep it to find a later rollback. */
  readonly checkpoint: string | null;
  /** Ordered by record; at most {@link MAX_PROBLEMS}. */
  readonly problems: readonly Problem[];
  readonly moreProblems: number;
  /** Every intent without an outcome, also the excused ones; at most {@link MAX_PROBLEMS}. */
  readonly openIntents: readonly OpenIntent[];
  /** Records whose time is before that of the record they follow: the clock was set back, which is no tampering by itself. */
  readonly clockWentBack: readonly number[];
  readonly firstTime: string | null;
  readonly lastTime: string | null;
}

export const MAX_PROBLEMS = 100;

/** Gathers problems with bounded memory, whatever a hostile log holds. */
export class ProblemList {
  readonly #list: Problem[] = [];
  #dropped = 0;

  add(problem: Problem): void {
    if (this.#list.length < 10 * MAX_PROBLEMS) this.#list.push(problem);
    else this.#dropped++;
  }

  get empty(): boolean {
    return this.#list.length === 0;
  }

  report(): Pick<VerifyReport, 'ok' | 'problems' | 'moreProblems'> {
    const order = (p: Problem) => p.seq ?? Number.MAX_SAFE_INTEGER;
    const sorted = this.#list.toSorted((a, b) => order(a) - order(b));
    const problems = sorted.slice(0, MAX_PROBLEMS);
    return { ok: this.empty, problems, moreProblems: this.#dropped + sorted.length - problems.length };
  }
}
