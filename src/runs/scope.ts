import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { McpPlace } from '../agents/agent.ts';
import { CancelledError } from '../base/errors.ts';
import type { Redactor } from '../base/redact/index.ts';
import type { PackageRecord, RecordedQuery } from '../gateways/egress/packages/record.ts';
import type { Mcp } from '../gateways/mcp/gateway.ts';
import type { Source } from '../policy/index.ts';
import type { RunAgent } from './agent.ts';
import type { CommandRecord } from './command-record.ts';
import type { Found } from './discover.ts';
import type { RunLedger } from './ledger.ts';
import type { LoadedPolicy } from './policy-layers.ts';
import type { Recorder } from './recording/recorder.ts';
import type { Offered } from './recording/run.ts';
import type { Tape } from './recording/tape.ts';
import type { RunRequest } from './request.ts';
import type { Resumption } from './resumption.ts';
import type { SpentBudget } from './spent-budget.ts';
import type { RunIo, System } from './system.ts';
import type { Notice, Repository } from './workspace.ts';

/** Milliseconds that a step may still take after the run was cancelled. */
const PATIENCE = 3_000;

/** What every step of one run works with. */
export class RunScope {
  readonly system: System;
  readonly request: RunRequest;
  readonly io: RunIo;
  readonly repository: Repository;
  readonly loaded: LoadedPolicy;
  readonly run: RunLedger;
  /** Knows every value lent to this run; what is recorded, kept and shown goes through it (redaction.ts). */
  readonly redactor: Redactor;
  /** The one that works in this run. */
  readonly agent: RunAgent;
  /** The run's folder on the trusted side. */
  readonly dir: string;
  /** Short name of the branch that is delivered; null when nothing is. */
  readonly branch: string | null;
  /** Set as soon as there is a sandbox. */
  record: CommandRecord | null = null;
  /** What came from outside, for a replay; null when nothing is kept of it. */
  recorder: Recorder | null = null;
  /** Answers in place of the world; null but in a replay. */
  readonly tape: Tape | null;
  /** The lost run whose work goes on in this one. */
  readonly resumption: Resumption | null;
  /** The clock and the randomness that the agent is offered. */
  readonly offered: Offered;
  /** As they were read: a recording holds them. */
  readonly documents: { readonly organisation: Source | null; readonly repository: Source | null };
  /** What came from package registries; null where the policy names none, or nothing was asked for yet. */
  packages: PackageRecord | null = null;
  /** Where the agent finds the MCP servers that the policy names; set before its plan is made. */
  mcp: readonly McpPlace[] = [];
  /** The same servers, for an agent on this side; null where the policy names none. */
  mcpServers: Mcp | null = null;
  /** What is known of budgets that are used up; null where no model can be asked. */
  spent: SpentBudget | null = null;
  /** Aborted, with the reason, when the sandbox itself ends the run, or its record is full. */
  readonly stop = new AbortController();
  readonly #undo: (() => unknown)[] = [];

  constructor(
    system: System,
    request: RunRequest,
    io: RunIo,
    found: Found,
    loaded: LoadedPolicy,
    run: RunLedger,
    redactor: Redactor,
    agent: RunAgent,
  ) {
    this.agent = agent;
    const { repository, document, tape, resumption } = found;
    this.tape = tape ?? null;
    this.resumption = resumption ?? null;
    this.offered = tape?.start ?? {
      epoch: Math.floor(system.clock.now() / 1000),
      seed: randomBytes(16).toString('hex'),
    };
    this.documents = { organisation: system.organisation, repository: document };
    this.redactor = redactor;
    this.system = system;
    this.request = request;
    this.io = io;
    this.repository = repository;
    this.loaded = loaded;
    this.run = run;
    this.dir = join(system.runs, run.id);
    this.branch = request.readOnly || request.deliver === 'none' ? null : (request.branch ?? `cordon/${run.id}`);
    run.log.whenFull((why) => this.stop.abort(why));
  }

  /** True when exactly that package came through this run's gateway, whole. */
  wasRecorded(query: RecordedQuery): boolean {
    return this.packages?.wasRecorded(query) ?? false;
  }

  /** To be undone when the run ends, whatever ends it; last first. */
  later(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  /**
   * The work's result, or `CancelledError` when the requester cancels. Work that is nearly done is waited for, so that all
   * it did is undone with the rest; only what hangs is left behind.
   */
  async unlessCancelled<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.io;
    const stuck = new Promise<'stuck'>((resolve) => {
      const patience = () => setTimeout(resolve, PATIENCE, 'stuck').unref();
      if (signal.aborted) patience();
      else signal.addEventListener('abort', patience, { once: true });
    });
    const ended = await Promise.race([work.then((value) => ({ value })), stuck]);
    if (ended === 'stuck' || signal.aborted) throw new CancelledError('cancelled by the requester');
    return ended.value;
  }

  /** Undoes what was done, and resolves when the last thing the sandbox had to tell is recorded. */
  async settle(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) await undo();
    await this.record?.finished();
  }

  note(notice: Notice | null): void {
    if (notice !== null) this.io.onProgress({ step: `note: ${notice.message}` });
  }

  /** Something that weakens what a reader would take for granted: shown in red. */
  warn(message: string): void {
    this.io.onProgress({ step: message, alarming: true });
  }

  /** Does one step and shows how long it took. */
  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const { clock } = this.system;
    const start = clock.monotonic();
    const result = await work();
    this.io.onProgress({ step: name, ms: clock.monotonic() - start });
    return result;
  }
}
