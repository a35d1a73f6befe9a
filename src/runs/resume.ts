/** `cordon runs resume`: the work of a lost run of the built-in agent goes on in a new one, from what its record holds. */
import { join } from 'node:path';
import type { AuditEvent } from '../audit/event.ts';
import { readEvents } from '../audit/read.ts';
import { ConflictError, PolicyDeniedError } from '../base/errors.ts';
import { git } from '../base/git.ts';
import { diffPolicies, type EffectivePolicy, type PolicyAction } from '../policy/index.ts';
import type { RunRecord } from '../store/index.ts';
import { discover, type Found } from './discover.ts';
import { executeRun } from './pipeline.ts';
import { loadPolicy } from './policy-layers.ts';
import type { Principal, RunRequest, RunResult } from './request.ts';
import { refuseTwice } from './resume-once.ts';
import { type Documents, type Resumption, readResumption } from './resumption.ts';
import type { RunIo, System } from './system.ts';
import { refuseOverTime } from './used-before.ts';

/**
 * The lost run stays closed as it is; the new one names it. Throws `ConflictError` for a run that cannot go on, `PolicyDeniedError` where the
 * policy in force now is stricter than the one it ran under, and what `executeRun` throws before a run exists.
 */
export async function resumeRun(system: System, record: RunRecord, by: Principal, io: RunIo): Promise<RunResult> {
  const request = record.request as unknown as RunRequest;
  refuse(record, request, by);
  const events = eventsOf(system, record.id);
  await refuseDelivered(record, request, events);
  await refuseTwice(system, record, null);
  const resumption = await readResumption(system.home, system.content, record.id);
  const again: RunRequest = {
    ...request,
    base: record.base ?? request.base,
    model: request.model ?? resumption.model,
    resumes: record.id,
  };
  const actions = events.flatMap(actionOf);
  return executeRun(system, again, io, discover(again), (found, machine) =>
    underItsPolicy(found, machine, again, resumption, actions),
  );
}

function eventsOf(system: System, run: string): AuditEvent[] {
  return [...readEvents(join(system.home, 'audit'), { run })].map(({ event }) => event);
}

function refuse(record: RunRecord, request: RunRequest, by: Principal): void {
  const { id, state } = record;
  if (state !== 'lost') {
    throw new ConflictError(`run ${id} was not lost: ${state}`, {
      remedy: 'only a run whose process died goes on; start another: cordon run',
    });
  }
  if (request.agent.kind !== 'builtin') {
    throw new ConflictError(`run ${id} is one of ${request.agent.kind}, whose state died with its sandbox`, {
      remedy: 'only runs of the built-in agent go on; start it again: cordon run',
    });
  }
  if (request.replayOf !== undefined) throw new ConflictError(`run ${id} is a replay`, { remedy: 'replay it again' });
  if (request.requester.id !== by.id) {
    throw new ConflictError(`run ${id} was requested by ${request.requester.id}, and you are ${by.id}`, {
      remedy: 'who requested it can have it go on; or start another run',
    });
  }
}

/** What was delivered must not be delivered a second time. */
export async function refuseDelivered(
  { id, base }: RunRecord,
  request: RunRequest,
  events: readonly AuditEvent[],
): Promise<void> {
  const again = (what: string) =>
    new ConflictError(`run ${id} ${what}`, { remedy: 'look at it; what is still to be done is a task for a new run' });
  for (const event of events) {
    if (event.type === 'delivery.patch.done' && event.outcome.result === 'done')
      throw again('has kept its change as a patch');
    if (event.type !== 'git.forwarded') continue;
    const { ref } = event.resource;
    const done = events.find((one) => one.type === 'git.forward.done' && one.cause === event.seq);
    if (done?.type === 'git.forward.done' && done.outcome.result === 'failed') continue;
    if (done !== undefined || request.repo !== null) throw again(`has delivered its change to ${ref}, or was about to`);
    // Only git's own "there is none" says that it was not: a working tree need not have its repository in `.git`.
    const found = await discover({ ...request, policyFile: null, base: base ?? request.base });
    const place = { gitDir: found?.repository.commonDir ?? '' };
    const there = await git(place, ['rev-parse', '--verify', '--quiet', ref]);
    if (there.exitCode !== 1) throw again(`has delivered its change to ${ref}, from ${base?.slice(0, 12)}`);
  }
}

/** It goes on under the documents it began with, as long as those in force now are not stricter. */
async function underItsPolicy(
  found: Found,
  system: System,
  request: RunRequest,
  resumption: Resumption,
  actions: readonly PolicyAction[],
): Promise<{ readonly found: Found; readonly system: System }> {
  const { documents } = resumption;
  const then = asThen(found, system, documents);
  const [old, now] = await Promise.all([
    loadPolicy(request, then.found, then.system.organisation),
    loadPolicy(request, found, system.organisation),
  ]);
  refuseOverTime(resumption, old.policy);
  const stricter = stricterIn(old.policy, now.policy, actions);
  if (stricter.length > 0) {
    throw new PolicyDeniedError(
      `run ${resumption.run} cannot go on: the policy in force now is stricter than the one it ran under: ${stricter.slice(0, 5).join('; ')}`,
      [],
      { remedy: 'give the task to a new run, which is held to the policy of now' },
    );
  }
  return { system: then.system, found: { ...then.found, resumption } };
}

function asThen(found: Found, system: System, { organisation, repository }: Documents) {
  return { found: { ...found, document: repository ?? found.document }, system: { ...system, organisation } };
}

/** Lines whose addition only permits more. */
const GRANTS = /^(security\.allowed_network_hosts|llm_policy\.(allowed_providers|models)|git\.push\.branches|tests)\b/;

/** What the second policy takes away, for a person. A difference that cannot be shown to permit more counts as one. */
function stricterIn(old: EffectivePolicy, now: EffectivePolicy, actions: readonly PolicyAction[]): string[] {
  const { same, answers, lines } = diffPolicies(old, now, actions);
  if (same) return [];
  const refused = [...answers.deny, ...answers.ask].map(
    ({ subject, before, after }) => `${subject}: ${before.effect} then, ${after.effect} now (${after.reason})`,
  );
  const changed = lines
    .filter(({ key, change }) => !(change === 'added' && GRANTS.test(key)))
    .map(({ layer, key, change, before, after }) => {
      const values = [before === undefined ? null : `${before} then`, after === undefined ? null : `${after} now`];
      return `${layer} ${key} ${change}${values.some((one) => one !== null) ? `: ${values.filter(Boolean).join(', ')}` : ''}`;
    });
  return [...refused, ...changed];
}

/** What the run asked its policy, as far as events of it tell. */
function actionOf(event: AuditEvent): PolicyAction[] {
  if (event.type === 'tool.requested') {
    const { server, tool } = event.resource;
    return [{ action: 'tool.call', server, tool }];
  }
  if (event.type === 'llm.request') {
    const { provider, model } = event.resource;
    return [{ action: 'llm.request', provider, model }];
  }
  return [];
}
