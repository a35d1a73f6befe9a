import type { Insertable, Selectable, Updateable } from 'kysely';
import type { Json } from '../../base/canonical-json.ts';
import type { NewRun, RunPatch, RunRecord } from '../store.ts';

/** The tables as they are in the database; JSON documents are text there. */
export interface Database {
  runs: RunTable;
  spending: SpendingTable;
}

interface SpendingTable {
  id: string;
  budget: string;
  at: number;
  nano_usd: number;
  tokens: number;
  requests: number;
}

interface RunTable {
  id: string;
  created: number;
  updated: number;
  state: string;
  requester: string;
  repository: string;
  request: string;
  base: string | null;
  branch: string | null;
  head: string | null;
  policy_digest: string | null;
  result: string | null;
  owner_pid: number;
  owner_start: string;
  owner_boot: string;
  first_audit_seq: number | null;
  last_audit_seq: number | null;
  cgroup: string | null;
  keep_until: number | null;
}

export type RunRow = Selectable<RunTable>;

export function toRow(run: NewRun): Insertable<RunTable> {
  return {
    id: run.id,
    created: run.created,
    updated: run.created,
    state: run.state,
    requester: run.requester,
    repository: run.repository,
    request: JSON.stringify(run.request),
    base: run.base ?? null,
    branch: run.branch ?? null,
    policy_digest: run.policyDigest ?? null,
    owner_pid: run.owner.pid,
    owner_start: run.owner.startTime,
    owner_boot: run.owner.bootId,
    first_audit_seq: run.firstAuditSeq ?? null,
    cgroup: run.cgroup ?? null,
    keep_until: run.keepUntil ?? null,
  };
}

export function patchRow(patch: RunPatch): Updateable<RunTable> {
  const { at, owner, policyDigest, firstAuditSeq, lastAuditSeq, result, keepUntil, ...same } = patch;
  return {
    ...same,
    updated: at,
    ...(policyDigest === undefined ? {} : { policy_digest: policyDigest }),
    ...(firstAuditSeq === undefined ? {} : { first_audit_seq: firstAuditSeq }),
    ...(lastAuditSeq === undefined ? {} : { last_audit_seq: lastAuditSeq }),
    ...(keepUntil === undefined ? {} : { keep_until: keepUntil }),
    ...(result === undefined ? {} : { result: result === null ? null : JSON.stringify(result) }),
    ...(owner === undefined ? {} : { owner_pid: owner.pid, owner_start: owner.startTime, owner_boot: owner.bootId }),
  };
}

export function fromRow(row: RunRow): RunRecord {
  return {
    id: row.id,
    created: row.created,
    updated: row.updated,
    state: row.state,
    requester: row.requester,
    repository: row.repository,
    request: JSON.parse(row.request) as Json,
    base: row.base,
    branch: row.branch,
    head: row.head,
    policyDigest: row.policy_digest,
    result: row.result === null ? null : (JSON.parse(row.result) as Json),
    owner: { pid: row.owner_pid, startTime: row.owner_start, bootId: row.owner_boot },
    firstAuditSeq: row.first_audit_seq,
    lastAuditSeq: row.last_audit_seq,
    cgroup: row.cgroup,
    keepUntil: row.keep_until,
  };
}
