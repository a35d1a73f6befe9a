/**
 * A run, top to bottom. Read this first.
 *
 *   request → policy → workspace → sandbox → agent → change → judgement → delivery → sealed run
 *
 * Every step records what it is about to do before it does it. Whatever fails, the run ends in exactly one state, its
 * record is closed, and nothing of it is left on the machine but what was delivered.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentFailedError, CancelledError, LimitError, PolicyDeniedError } from '../base/errors.ts';
import { type Decision, refText } from '../policy/index.ts';
import { resolveToolbox } from '../sandbox/toolbox.ts';
import { runAgent } from './agent.ts';
import { AgentOutput } from './agent-output.ts';
import { commitAuthor } from './author.ts';
import { commitAndPush, recordChanges } from './change.ts';
import { prepareCheckout } from './checkout.ts';
import { CommandRecord } from './command-record.ts';
import { handOver, judge } from './judge.ts';
import { RunLedger } from './ledger.ts';
import { ORIGIN, type Origin, openOrigin } from './origin.ts';
import { type LoadedPolicy, loadPolicy } from './policy-layers.ts';
import type { RunRequest, RunResult } from './request.ts';
import type { RunIo, System } from './system.ts';
import { inspectRepository, type Notice, type Repository, uncommittedWork } from './workspace.ts';

/**
 * Runs a request to its end. Resolves with the result whatever becomes of the agent; throws only before the run exists:
 * a document or the workspace cannot be used (`DocumentError`, `WorkspaceError`), or nothing can be recorded.
 */
export async function executeRun(system: System, request: RunRequest, io: RunIo): Promise<RunResult> {
  const started = system.clock.monotonic();
  const repository = await inspectRepository(request.workspace, request.base);
  const loaded = await loadPolicy(request, repository, system.organisation);
  const run = await RunLedger.open(system, request, repository, loaded);
  const steps = new RunSteps(system, run, request, repository, loaded, io);
  try {
    await steps.all();
    return await run.seal({ status: 'succeeded', reason: steps.summary() }, steps.facts(started));
  } catch (error) {
    await steps.abandon();
    return await run.seal(error, steps.facts(started));
  } finally {
    await steps.cleanUp();
  }
}

class RunSteps {
  readonly #system: System;
  readonly #run: RunLedger;
  readonly #request: RunRequest;
  readonly #repository: Repository;
  readonly #loaded: LoadedPolicy;
  readonly #io: RunIo;
  readonly #dir: string;
  readonly #branch: string | null;
  /** What has to be undone in the end, last first. */
  readonly #undo: (() => unknown)[] = [];
  #output: AgentOutput | null = null;
  #record: CommandRecord | null = null;
  #changedFiles = 0;
  #head: string | null = null;
  #delivered = false;

  constructor(
    system: System,
    run: RunLedger,
    request: RunRequest,
    repository: Repository,
    loaded: LoadedPolicy,
    io: RunIo,
  ) {
    this.#system = system;
    this.#run = run;
    this.#request = request;
    this.#repository = repository;
    this.#loaded = loaded;
    this.#io = io;
    this.#dir = join(system.runs, run.id);
    this.#branch = request.readOnly || request.deliver === 'none' ? null : (request.branch ?? `cordon/${run.id}`);
  }

  async all(): Promise<void> {
    this.#mayStart();
    await this.#run.move('preparing');
    const { sandbox, origin } = await this.#step('sandbox ready', () => this.#prepare());
    await this.#run.move('running');
    await this.#step('agent done', () => this.#agent(sandbox));
    await this.#run.move('delivering');
    await this.#step('delivered', () => this.#deliver(sandbox, origin));
  }

  #mayStart(): void {
    const { decision } = this.#run;
    if (decision.effect === 'permit') return;
    throw new PolicyDeniedError(`this run may not start: ${decision.reason}`, rulesOf(decision), {
      ...(decision.remedy === undefined ? {} : { remedy: decision.remedy }),
    });
  }

  async #prepare() {
    const { policy, toolbox } = this.#loaded;
    const { log } = this.#run;
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const checkout = await prepareCheckout({
      home: this.#system.home,
      repository: this.#repository,
      paths: this.#request.paths,
      depth: policy.git.fetch.depth,
      owner: this.#system.guestOwner,
      clock: this.#system.clock,
    });
    this.#undo.push(() => checkout.release());
    const uncommitted = uncommittedWork(this.#repository, checkout.view).catch(() => null);
    this.#undo.push(async () => this.#note(await uncommitted));
    for (const notice of [...this.#repository.notices, ...checkout.notices]) this.#note(notice);
    this.#refuseIfCancelled();
    const sandbox = await this.#system.sandbox.create({
      runId: this.#run.id,
      runDir: this.#dir,
      workspace: { kind: 'checkout', dir: checkout.dir },
      toolbox,
      limits: policy.limits,
      etc: { gitconfig: gitConfiguration(this.#repository) },
      files: { task: `${this.#request.task ?? ''}\n` },
    });
    this.#undo.push(() => sandbox.destroy());
    const limit = new AbortController();
    this.#record = new CommandRecord(sandbox, log, policy, (hit) => {
      if (hit.stopped) limit.abort(new LimitError(hit.limit, hit.detail));
    });
    const origin = await openOrigin({
      sandbox,
      runDir: this.#dir,
      repository: this.#repository,
      checkout,
      branch: this.#branch,
      policy,
      log,
    });
    this.#undo.push(() => origin.close());
    await this.#run.started(sandbox, checkout.base, toolbox);
    this.#output = new AgentOutput(policy.limits.output, () => this.#system.clock.monotonic(), this.#io.onOutput);
    this.#stopped = limit.signal;
    return { sandbox, origin };
  }

  #stopped: AbortSignal = new AbortController().signal;

  async #agent(sandbox: Awaited<ReturnType<System['sandbox']['create']>>): Promise<void> {
    const { policy } = this.#loaded;
    const output = this.#output as AgentOutput;
    try {
      await runAgent(
        { sandbox, run: this.#run.id, request: this.#request, policy, stopped: this.#stopped, output },
        this.#io,
      );
    } finally {
      if (this.#request.record) await output.keep(this.#run.id, this.#system.content, this.#run.log);
      const changes = await recordChanges(sandbox, this.#run.id, this.#run.log, this.#system.content);
      this.#changedFiles = changes.files;
      this.#touched = changes.touched;
    }
    const hit = this.#record?.limit ?? null;
    if (hit?.stopped) throw new LimitError(hit.limit, hit.detail);
    const lost = this.#record?.lost ?? 0;
    if (lost > 0 && policy.sandbox.recorder.onLoss === 'fail') {
      throw new AgentFailedError(`the record of commands is not complete: ${lost} lost`, {
        remedy: 'run it again; sandbox.recorder.on_loss: continue in the policy accepts gaps',
      });
    }
  }

  #touched = false;

  async #deliver(sandbox: Awaited<ReturnType<System['sandbox']['create']>>, origin: Origin): Promise<void> {
    const branch = this.#branch;
    if (branch === null || !this.#touched) return;
    const { policy } = this.#loaded;
    const trusted = await sandbox.sibling(await resolveToolbox([{ path: '/usr/bin/git' }]));
    const author = await commitAuthor(this.#repository);
    const { id } = this.#run;
    await commitAndPush({
      sandbox: trusted,
      run: id,
      base: this.#repository.base,
      message: commitMessage(this.#request, id),
      author,
      origin: ORIGIN,
      branch,
    });
    await trusted.destroy();
    const head = await origin.quarantine.head(`refs/heads/${branch}`);
    const received = origin.received();
    if (head === null || received === null || head === this.#repository.base) return;
    this.#refuseIfCancelled();
    const arrival = { quarantine: origin.quarantine, head, repository: this.#repository, branch, received };
    await judge(arrival, this.#request, policy, this.#run.log, this.#io);
    await handOver(arrival, this.#request, this.#dir, this.#run.log);
    this.#head = head;
    this.#delivered = true;
  }

  #note(notice: Notice | null): void {
    if (notice !== null) this.#io.onProgress({ step: `note: ${notice.message}` });
  }

  #refuseIfCancelled(): void {
    if (this.#io.signal.aborted) throw new CancelledError('cancelled by the requester');
  }

  async #step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const { clock } = this.#system;
    const start = clock.monotonic();
    const result = await work();
    this.#io.onProgress({ step: name, ms: clock.monotonic() - start });
    return result;
  }

  summary(): string {
    if (this.#delivered)
      return this.#request.deliver === 'patch' ? 'the change is kept as a patch' : 'the change is delivered';
    if (this.#branch === null) return 'done; nothing was to be delivered';
    return 'done; there was no change to deliver';
  }

  facts(started: number) {
    return {
      head: this.#head,
      branch: this.#delivered && this.#request.deliver === 'branch' ? this.#branch : null,
      changedFiles: this.#changedFiles,
      commands: () => this.#record?.commands ?? 0,
      lost: () => this.#record?.lost ?? 0,
      outputBytes: this.#output?.bytes ?? 0,
      wallMs: Math.round(this.#system.clock.monotonic() - started),
      /** The sandbox goes before the record is closed: its last events belong to it. */
      settle: () => this.#settle(),
    };
  }

  async #settle(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) await undo();
    await this.#record?.finished();
  }

  /** Nothing of a failed run goes on while its record is closed. */
  async abandon(): Promise<void> {
    await this.#settle().catch(() => {}); // seal tells what the log could not take
  }

  async cleanUp(): Promise<void> {
    await rm(join(this.#dir, 'quarantine.git'), { recursive: true, force: true });
  }
}

function rulesOf(decision: Decision): string[] {
  return decision.rules.map(refText);
}

function commitMessage(request: RunRequest, run: string): string {
  const [first = ''] = (request.task ?? '').trim().split('\n');
  const subject = first === '' ? `Change by ${request.agent.argv[0]}` : first;
  return `${subject.slice(0, 72)}\n\nCordon-Run: ${run}\n`;
}

/** `/etc/gitconfig` inside: `origin` is the gateway, and nothing of the user's configuration. */
function gitConfiguration(_: Repository): string {
  return `[remote "origin"]\n\turl = ${ORIGIN}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[user]\n\tname = Cordon agent\n\temail = agent@cordon.invalid\n[advice]\n\tdetachedHead = false\n[init]\n\tdefaultBranch = main\n`;
}
