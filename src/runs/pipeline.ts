/**
 * A run, top to bottom. Read this first.
 *
 *   request → policy → workspace → sandbox → agent → change → judgement → proof → delivery → sealed run
 *
 * Every step records what it is about to do before it does it. Whatever fails, the run ends in exactly one state, its
 * record is closed, and nothing of it is left on the machine but what was delivered.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentFailedError, CancelledError, OutsideError, PolicyDeniedError } from '../base/errors.ts';
import { Redactor } from '../base/redact/index.ts';
import { type Decision, refText } from '../policy/index.ts';
import { resolveToolbox } from '../sandbox/toolbox.ts';
import { openAgent, runAgent } from './agent.ts';
import { AgentOutput } from './agent-output.ts';
import { commitAuthor } from './author.ts';
import { commitAndPush, recordChanges } from './change.ts';
import { branchRef, refuseTakenBranch } from './deliver.ts';
import { discover, type Found } from './discover.ts';
import { handOver } from './hand-over.ts';
import { judge } from './judge.ts';
import { RunLedger } from './ledger.ts';
import { learnValues } from './lent.ts';
import { ORIGIN } from './origin.ts';
import { loadPolicy } from './policy-layers.ts';
import { type Prepared, prepare } from './prepare.ts';
import { redactedIo, redactedSystem } from './redaction.ts';
import { agentWords, type RunRequest, type RunResult } from './request.ts';
import { RunScope } from './scope.ts';
import type { RunIo, System } from './system.ts';

export type Settle = (found: Found, system: System) => Promise<{ readonly found: Found; readonly system: System }>;

/**
 * Runs a request to its end. Resolves with the result whatever becomes of the agent; throws only before the run exists:
 * a document or the workspace cannot be used (`DocumentError`, `WorkspaceError`), the branch that was named is taken
 * (`ConflictError`) or none (`UsageError`), `--path` matches nothing, or nothing can be recorded.
 */
export async function executeRun(
  machine: System,
  request: RunRequest,
  person: RunIo,
  discovery: Promise<Found | null> = discover(request),
  /** Has the last word on what is run: under which documents, and from where it goes on (resume.ts). */
  settle: Settle = async (found, system) => ({ found, system }),
): Promise<RunResult> {
  const redactor = new Redactor();
  const [opened, io] = [redactedSystem(machine, redactor), redactedIo(person, redactor)];
  const first = (await discovery) ?? (await fetchRemote(opened, request, io, redactor));
  try {
    const { found, system } = await settle(first, opened);
    return await runIn(found, system, request, io, redactor);
  } finally {
    first.repository.remote?.close();
  }
}

async function fetchRemote(system: System, request: RunRequest, io: RunIo, redactor: Redactor): Promise<Found> {
  const { discoverRemote } = await import('./remote.ts');
  return discoverRemote(system, request, io, redactor);
}

async function runIn(
  found: Found,
  system: System,
  request: RunRequest,
  io: RunIo,
  redactor: Redactor,
): Promise<RunResult> {
  const { repository } = found;
  if (request.branch !== null) branchRef(request.branch); // also where nothing makes it: git inside has its name
  if (request.branch !== null && request.deliver === 'branch' && found.tape === undefined)
    await refuseTakenBranch(repository, request.branch);
  if (found.notice !== undefined && io.notes) io.onProgress({ step: `note: ${found.notice.message}` });
  if (request.paths.length > 0) await (await import('./asked-paths.ts')).checkPaths(repository, request.paths, io);
  const loaded = await loadPolicy(request, found, system.organisation);
  if (request.model !== null && found.tape === undefined) {
    const { checkModel, noteModel } = await import('./model-choice.ts');
    const checked = checkModel(system, request.model, loaded.policy);
    await (request.agent.kind === 'command' ? noteModel(checked, io) : checked);
  }
  const agent = await openAgent(system, request, loaded);
  await learnValues(system, request, loaded.policy, redactor);
  const run = await RunLedger.open(system, request, repository, loaded, redactor);
  const scope = new RunScope(system, request, io, found, loaded, run, redactor, agent);
  try {
    mayStart(run.decision);
    await run.move('preparing');
    const prepared = await scope.step('sandbox ready', () => scope.unlessCancelled(prepare(scope)));
    await run.move('running');
    const touched = await scope.step('agent done', () => work(scope, prepared));
    await run.move('delivering');
    const last = scope.branch === null ? 'nothing to deliver' : 'delivered';
    const delivered = await scope.step(last, () => deliver(scope, prepared, touched));
    return await run.seal({ status: 'succeeded', reason: summary(scope, delivered) }, scope);
  } catch (error) {
    return await run.seal(orCancelled(error, io), scope);
  } finally {
    await rm(join(scope.dir, 'quarantine.git'), { recursive: true, force: true });
  }
}

/** A helper of this machine that was ended with the run is no fault of the machine's. Any other error stays what it is. */
function orCancelled(error: unknown, { signal }: RunIo): unknown {
  return signal.aborted && error instanceof OutsideError
    ? new CancelledError('cancelled by the requester', { cause: error })
    : error;
}

function mayStart(decision: Decision): void {
  if (decision.effect === 'permit') return;
  throw new PolicyDeniedError(`this run may not start: ${decision.reason}`, decision.rules.map(refText), {
    ...(decision.remedy === undefined ? {} : { remedy: decision.remedy }),
  });
}

/** The agent at work. Resolves with whether anything in its workspace is other than it was. */
async function work(scope: RunScope, { sandbox, network, mcp, launch }: Prepared): Promise<boolean> {
  const { system, request, io, run, stop, redactor, agent } = scope;
  const { policy } = scope.loaded;
  refuseIfCancelled(io);
  const { show, verdict, talk } = agent.follow(scope);
  const output = new AgentOutput(policy.limits.output, () => system.clock.monotonic(), show, redactor);
  const start = agent.start === undefined ? undefined : agent.start.bind(agent, scope);
  const elapsed = scope.resumption?.elapsedMs ?? 0;
  const failure = await runAgent(
    { sandbox, run: run.id, launch, start, policy, elapsed, stopped: stop.signal, output, verdict, talk },
    io,
  ).then(
    () => null,
    (error: unknown) => error,
  );
  network.rest();
  await mcp.close();
  if (scope.recorder !== null) await (await import('./recording/run.ts')).keepRecording(scope);
  run.facts.outputBytes = output.bytes;
  if (request.record) await output.keep(run.id, system.content, run.log);
  if (policy.dependencies.inspected.length > 0) await (await import('./dependencies.ts')).recordDependencies(scope);
  const { files, touched } = await recordChanges(sandbox, run.id, run.log, system.content);
  run.facts.changedFiles = files;
  // A limit that ended the agent is told a moment after the agent's own end, which it explains.
  if (stop.signal.aborted && !(failure instanceof CancelledError)) throw stop.signal.reason;
  const explained = request.agent.kind === 'command' ? failure : (scope.spent?.explained(failure) ?? failure);
  if (explained === failure) noteSpent(scope);
  if (explained !== null) throw explained;
  const lost = scope.record?.lost ?? 0;
  if (lost > 0 && policy.sandbox.recorder.onLoss === 'fail') {
    throw new AgentFailedError(`the record of commands is not complete: ${lost} lost`, {
      remedy: 'run it again; sandbox.recorder.on_loss: continue in the policy accepts gaps',
    });
  }
  return touched;
}

/** An agent may end well, or for reasons of its own, though a budget had no room for what it asked last. */
function noteSpent({ spent, io }: RunScope): void {
  if (spent?.last == null) return;
  const { message, remedy } = spent.last;
  const what = `a language model was asked for more than there is, and for nothing after that: ${message}`;
  io.onProgress({ step: `note: ${what}${remedy === null ? '' : ` (${remedy})`}` });
}

/** Resolves with whether there was something to deliver, and it is delivered. */
async function deliver(scope: RunScope, { sandbox, origin }: Prepared, touched: boolean): Promise<boolean> {
  const { branch, repository, request, run, io } = scope;
  if (branch === null || !touched || scope.tape !== null) return false;
  const gitOnly = await resolveToolbox([{ path: '/usr/bin/git' }]);
  scope.record?.allow(gitOnly);
  const trusted = await sandbox.sibling(gitOnly);
  const [author, message] = [await commitAuthor(repository), commitMessage(request, run.id)];
  origin.deliver();
  const unsigned = await commitAndPush({ sandbox: trusted, run: run.id, message, author, origin: ORIGIN, branch });
  if (unsigned !== null) scope.warn(`what was left uncommitted is committed without a signature: ${unsigned}`);
  await trusted.destroy();
  const head = await origin.quarantine.head(`refs/heads/${branch}`);
  const last = origin.last();
  const { quarantine, review, isSigned } = origin;
  if (head === null || last === null || review === null || head === repository.base) return false;
  refuseIfCancelled(io);
  const arrival = { quarantine, head, repository, branch, last, isSigned };
  const judgement = await judge(arrival, review, run.log, io);
  const { attest } = await import('./attestation.ts'); // many runs deliver nothing
  const attested = await attest(scope, arrival, judgement);
  await handOver(arrival, request, scope, attested.refs);
  run.facts.attestation = request.deliver === 'branch' ? attested.result : { ...attested.result, ref: null };
  run.facts.head = head;
  run.facts.branch = request.deliver === 'branch' ? branch : null;
  return true;
}

function refuseIfCancelled(io: RunIo): void {
  if (io.signal.aborted) throw new CancelledError('cancelled by the requester');
}

function summary({ request, branch }: RunScope, delivered: boolean): string {
  if (delivered) return request.deliver === 'patch' ? 'the change is kept as a patch' : 'the change is delivered';
  return branch === null ? 'done; nothing was to be delivered' : 'done; there was no change to deliver';
}

function commitMessage(request: RunRequest, run: string): string {
  const [first = ''] = (request.task ?? '').trim().split('\n');
  const subject = first === '' ? `Change by ${agentWords(request.agent)[0]}` : first;
  return `${subject.slice(0, 72)}\n\nCordon-Run: ${run}\n`;
}
