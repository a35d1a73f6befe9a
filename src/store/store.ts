import type { Json } from '../base/canonical-json.ts';
import type { ProcessIdentity } from '../base/process-identity.ts';

/**
 * The port to relational state: what `cordon runs` shows. The audit log, not the store, is the evidence.
 *
 * Durability: a write is on the disk before its promise resolves. Concurrency: any number of processes share one store;
 * every write is one transaction, and `updateRun` is compare-and-set on the state, so of two writers one loses with
 * `ConflictError`. Nothing is retried here but the wait for another process's short transaction (5 s, then `StorageError`).
 */
export interface Store {
  /** Throws `ConflictError` when the id is taken; the caller draws another. */
  createRun(run: NewRun): Promise<void>;
  /**
   * Changes the run only if it is still in state `from`; otherwise throws `ConflictError` and changes nothing.
   * Whether `to` may follow `from` is the caller's to know (runs/run.ts). Throws `NotFoundError` for an unknown id.
   */
  updateRun(id: string, from: string, patch: RunPatch): Promise<void>;
  /** By full id; null when there is none. */
  getRun(id: string): Promise<RunRecord | null>;
  /** At most `limit` runs whose id begins with `prefix`, newest first: a person types the first few characters. */
  findRuns(prefix: string, limit: number): Promise<readonly RunRecord[]>;
  listRuns(query: RunQuery): Promise<RunPage>;
  /** Runs whose `keepUntil` is not after `at`, the longest due first; `limit` at most. */
  dueRuns(at: number, limit: number): Promise<readonly RunRecord[]>;
  /**
   * Adds the entry if it fits into the budget beside all entries of the period, in one step that no other process comes between. Returns
   * what was in the budget before; `added` says whether it fit.
   */
  reserveSpending(
    entry: SpendingEntry,
    bounds: SpendingBounds,
  ): Promise<{ readonly added: boolean; readonly before: Spending }>;
  /** Puts what was really spent in place of what was reserved. Returns what is in the budget from `since` on. */
  settleSpending(entry: SpendingEntry, since: number): Promise<Spending>;
  close(): Promise<void>;
}

/** Money in billionths of a US dollar. */
export interface Spending {
  readonly nanoUsd: number;
  readonly tokens: number;
  readonly requests: number;
}

export interface SpendingEntry extends Spending {
  /** Unique. */
  readonly id: string;
  /** Which budget it counts against: `requester user:ann day`. */
  readonly budget: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface SpendingBounds {
  /** Start of the period, in milliseconds since the epoch. */
  readonly since: number;
  /** Null where there is no bound. */
  readonly nanoUsd: number | null;
  readonly tokens: number | null;
  readonly requests: number | null;
}

/** One run as it is kept. `request` and `result` are whole documents, whose shapes belong to src/runs/request.ts. */
export interface RunRecord {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly created: number;
  readonly updated: number;
  readonly state: string;
  readonly requester: string;
  readonly repository: string;
  readonly request: Json;
  readonly base: string | null;
  readonly branch: string | null;
  readonly head: string | null;
  readonly policyDigest: string | null;
  readonly result: Json | null;
  /** The process that drives it: when that is gone and the run has not ended, the run is lost. */
  readonly owner: ProcessIdentity;
  readonly firstAuditSeq: number | null;
  readonly lastAuditSeq: number | null;
  /** What must be ended when the owner died: the run's control group, in the kernel's file system. */
  readonly cgroup: string | null;
  /** When what is kept of it beside the log is to be deleted, in milliseconds since the epoch; null once it is. */
  readonly keepUntil: number | null;
}

export type NewRun = Pick<RunRecord, 'id' | 'created' | 'state' | 'requester' | 'repository' | 'request' | 'owner'> &
  Partial<Pick<RunRecord, 'base' | 'branch' | 'policyDigest' | 'firstAuditSeq' | 'cgroup' | 'keepUntil'>>;

/** What may change. `updated` is set from `at`; a key that is left out stays as it is. */
export type RunPatch = { readonly at: number; readonly state?: string } & Partial<
  Pick<
    RunRecord,
    | 'base'
    | 'branch'
    | 'head'
    | 'policyDigest'
    | 'result'
    | 'owner'
    | 'firstAuditSeq'
    | 'lastAuditSeq'
    | 'cgroup'
    | 'keepUntil'
  >
>;

export interface RunQuery {
  /** Only these states; all when left out. */
  readonly states?: readonly string[];
  readonly repository?: string;
  /** From 1 to 1,000. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly cursor?: string;
}

/** Newest first. `next` is null on the last page. */
export interface RunPage {
  readonly runs: readonly RunRecord[];
  readonly next: string | null;
}
