/** One run in the books: its row in the store, its beginning and its end in the audit log. */

import type { Json } from '../base/canonical-json.ts';
import { CordonError, type ErrorCode, PolicyDeniedError } from '../base/errors.ts';
import { newRunId } from '../base/ids.ts';
import { currentProcess } from '../base/process-identity.ts';
import type { Redactor } from '../base/redact/index.ts';
import type { Decision } from '../policy/index.ts';
import type { Sandbox, Toolbox } from '../sandbox/sandbox.ts';
import type { LoadedPolicy } from './policy-layers.ts';
import { promptParts, recordedPart } from './prompt.ts';
import { moveRun } from './registry.ts';
import {
  type AgentResult,
  type AttestationResult,
  type LentCredential,
  type ModelUsage,
  NO_USAGE,
  type RunRequest,
  type RunResult,
  type RunStatus,
} from './request.ts';
import { keepUntil } from './retention.ts';
import { mayFollow, type RunState } from './run.ts';
import { RunLog, recorded } from './run-log.ts';
import type { System } from './system.ts';
import type { Repository } from './workspace.ts';

/** What became known of a run on its way; filled in by its steps. */
export interface RunFacts {
  head: string | null;
  branch: string | null;
  attestation: AttestationResult | null;
  changedFiles: number;
  outputBytes: number;
  credentials: readonly LentCredential[];
  /** SHA-256 of the list of packages that came from registries, as it is kept; null where the policy names no registry. */
  sbomDigest: string | null;
  usage: ModelUsage;
  agent: AgentResult | null;
}

/** What has to happen before the record can be closed, and what it then says of the commands. */
export interface Closing {
  /** Ends the sandbox and resolves when its last event is recorded. */
  settle(): Promise<void>;
  readonly record: { readonly commands: number; readonly lost: number } | null;
}

const statusOf: Partial<Record<ErrorCode, RunStatus>> = {
  agent_failed: 'failed',
  policy_denied: 'denied',
  approval_denied: 'approval_denied',
  limit_exceeded: 'limit',
  enforcement_missing: 'enforcement',
  cancelled: 'cancelled',
};

export class RunLedger {
  readonly id: string;
  readonly log: RunLog;
  /** What the policy says to this run's starting at all. */
  readonly decision: Decision;
  readonly #system: System;
  readonly #policyDigest: string;
  readonly #base: string;
  readonly facts: RunFacts = {
    head: null,
    branch: null,
    attestation: null,
    changedFiles: 0,
    outputBytes: 0,
    credentials: [],
    sbomDigest: null,
    usage: NO_USAGE,
    agent: null,
  };
  readonly #opened: number;
  #state: RunState = 'created';
  #started: number | null = null;
  /** True once the log has this run's end: a second one would contradict it. */
  #ended = false;

  private constructor(id: string, log: RunLog, decision: Decision, system: System, loaded: LoadedPolicy, base: string) {
    this.id = id;
    this.log = log;
    this.decision = decision;
    this.#system = system;
    this.#opened = system.clock.monotonic();
    this.#policyDigest = loaded.policy.digest;
    this.#base = base;
  }

  /** Writes the run down: from here on it exists, and ends in one of its states. */
  static async open(
    system: System,
    request: RunRequest,
    repository: Repository,
    loaded: LoadedPolicy,
    redactor: Redactor,
  ): Promise<RunLedger> {
    const { store, clock } = system;
    const id = newRunId(clock.now());
    const log = new RunLog(system.log, id, request.requester, redactor);
    const { policy } = loaded;
    const start = {
      action: 'run.start',
      agent: request.agent.kind,
      repository: repository.name,
      readOnly: request.readOnly,
    } as const;
    const decision = log.count(await system.memo.decide(policy, start), start);
    const layers = policy.layers.map(({ layer, file, digest }) => ({ layer, file, digest }));
    log.enqueue({ type: 'policy.loaded', action: null, resource: { layers, effective: policy.digest } }, 'requester');
    await log.append({
      type: 'run.created',
      action: 'run.start',
      resource: requestRecord(request, repository),
      decision: recorded(decision),
    });
    const created = clock.now();
    await store.createRun({
      id,
      created,
      state: 'created',
      requester: request.requester.id,
      repository: repository.name,
      request: log.redacted(request) as unknown as Json,
      owner: currentProcess(),
      base: repository.base,
      policyDigest: policy.digest,
      firstAuditSeq: log.firstSeq,
      keepUntil: keepUntil(created, policy.llm.retentionDays),
    });
    return new RunLedger(id, log, decision, system, loaded, repository.base);
  }

  async move(to: RunState): Promise<void> {
    await moveRun(this.#system.store, this.id, this.#state, to, { at: this.#system.clock.now() });
    this.#state = to;
  }

  /** Records what the run is about to be let do, durably, before any of it happens. */
  async started(sandbox: Sandbox, base: string, toolbox: Toolbox): Promise<void> {
    this.#started = await this.log.append({
      type: 'run.started',
      action: 'run.start',
      resource: {
        base,
        policyDigest: this.#policyDigest,
        toolboxDigest: toolbox.kind === 'list' ? toolbox.digest : null,
        driver: this.#system.sandbox.name,
        controls: sandbox.controls.map(({ name, state, mechanism }) => ({ name, state, mechanism })),
      },
    });
  }

  /** Closes the run: `ending` is a success, or what was thrown. Resolves with the result as it is kept. */
  async seal(ending: { status: 'succeeded'; reason: string } | unknown, closing: Closing): Promise<RunResult> {
    let end = this.log.redacted(endingOf(ending));
    try {
      await closing.settle();
    } catch (error) {
      if (end.status === 'succeeded') end = this.log.redacted(endingOf(error));
    }
    const { status, reason } = end;
    const counts = {
      commands: closing.record?.commands ?? 0,
      changedFiles: this.facts.changedFiles,
      outputBytes: this.facts.outputBytes,
      recordsLost: closing.record?.lost ?? 0,
      decisions: { ...this.log.decisions },
    };
    const { head, branch } = this.facts;
    if (!this.#ended) await this.log.recordDecisions(this.#system.content);
    if (this.#ended) {
      // The end is recorded; what failed after it was the store.
    } else if (this.#started !== null) {
      await this.log.append({
        type: 'run.stopped',
        action: 'run.start',
        resource: {},
        outcome: { status, reason, head, branch, counts },
        cause: this.#started,
      });
    } else {
      await this.log.append({ type: 'run.state', action: 'run.start', resource: { from: this.#state, to: status } });
    }
    this.#ended = true;
    const result: RunResult = {
      runId: this.id,
      status,
      stopReason: reason,
      rules: end.rules,
      remedy: end.remedy,
      base: this.#base,
      head,
      branch,
      changedFiles: counts.changedFiles,
      commands: counts.commands,
      decisions: counts.decisions,
      credentials: this.facts.credentials,
      usage: {
        wallMs: Math.round(this.#system.clock.monotonic() - this.#opened),
        outputBytes: counts.outputBytes,
        models: this.facts.usage,
      },
      agent: this.log.redacted(this.facts.agent),
      policyDigest: this.#policyDigest,
      auditCheckpoint: this.#system.log.checkpoint() ?? '',
      attestation: this.facts.attestation,
      pullRequest: null,
    };
    await this.#close(status, result);
    return result;
  }

  async #close(status: RunStatus, result: RunResult): Promise<void> {
    const { store, clock } = this.#system;
    // A run that fails before it ran is a fault of what is around it, whatever the error's own name.
    const to: RunState = mayFollow(this.#state, status) ? status : 'outside';
    await moveRun(store, this.id, this.#state, to, {
      at: clock.now(),
      head: result.head,
      branch: result.branch,
      result: result as unknown as Json,
      lastAuditSeq: this.log.lastSeq,
    });
    this.#state = to;
  }
}

interface Ending {
  readonly status: RunStatus;
  readonly reason: string;
  readonly rules: readonly string[];
  readonly remedy: string | null;
}

/** What became of a run, from a success or from what was thrown. */
function endingOf(ending: unknown): Ending {
  if (typeof ending === 'object' && ending !== null && 'status' in ending && ending.status === 'succeeded') {
    return { rules: [], remedy: null, ...(ending as { status: 'succeeded'; reason: string }) };
  }
  if (!(ending instanceof CordonError)) {
    const reason = `unexpected: ${ending instanceof Error ? ending.message : String(ending)}`;
    return { status: 'outside', reason, rules: [], remedy: null };
  }
  const rules = ending instanceof PolicyDeniedError ? ending.rules : [];
  return {
    status: statusOf[ending.code] ?? 'outside',
    reason: ending.message,
    rules,
    remedy: ending.remedy ?? null,
  };
}

function requestRecord(request: RunRequest, repository: Repository) {
  const { base, branch, paths, agent, task, policyFile, grants, approvals, deliver, readOnly, record, limits } =
    request;
  return {
    workspace: repository.name,
    base,
    branch,
    paths: [...paths],
    agent: {
      kind: agent.kind,
      argv: agent.argv.map((word) => word.slice(0, 4096)).slice(0, 256),
      ...(agent.maxSteps === undefined ? {} : { maxSteps: agent.maxSteps }),
    },
    task: task?.slice(0, 8192) ?? null,
    ...(request.context?.length ? { context: promptParts(request).slice(1).map(recordedPart) } : {}),
    model: request.model,
    ...(request.replayOf === undefined ? {} : { replayOf: request.replayOf }),
    ...(request.resumes === undefined ? {} : { resumes: request.resumes }),
    policyFile,
    grants: { net: [...grants.net], commands: [...grants.commands], secrets: [...grants.secrets] },
    approvals,
    deliver,
    readOnly,
    record,
    limits: { ...limits },
  };
}
