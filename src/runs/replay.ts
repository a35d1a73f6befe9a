/** Runs a run again from its recording, and compares: same agent, fresh sandbox, nothing goes online. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';

import type { AuditEvent, ContentRef } from '../audit/event.ts';
import { readEvents } from '../audit/read.ts';
import { ConflictError, NotFoundError } from '../base/errors.ts';
import type { RunRecord } from '../store/index.ts';
import { executeRun } from './pipeline.ts';
import { RecordedAnswers, type ReplayedApproval } from './recording/answers.ts';
import { type Comparison, compareRuns } from './recording/compare.ts';
import { findAgain } from './recording/found.ts';
import { NotReplayableError } from './recording/not-replayable.ts';
import { RecordingVersionError } from './recording/reading.ts';
import { Tape } from './recording/tape.ts';
import { traceOf } from './recording/trace.ts';
import type { RunRequest, RunResult } from './request.ts';
import { readResumption } from './resumption.ts';
import type { RunIo, System } from './system.ts';

export interface Replayed extends Comparison {
  /** The recorded run, and the one that was made of it. */
  readonly run: string;
  readonly replay: string;
  readonly status: string;
  /** Questions to models: how many, and how many were exactly those of the recording. */
  readonly steps: { readonly asked: number; readonly exact: number; readonly like: number };
  /** What people were asked. */
  readonly approvals: readonly ReplayedApproval[];
}

/**
 * Throws `ConflictError` for a run that never started or goes on, `NotReplayableError` where its recording or its commit is not there, and
 * what `executeRun` throws before a run exists.
 */
export async function replayRun(system: System, record: RunRecord, io: RunIo): Promise<Replayed> {
  const events = [...eventsOf(system, record.id)];
  if (!events.some(({ type }) => type === 'run.stopped')) {
    throw new ConflictError(`run ${record.id} has no end in the log: it goes on, was lost, or never started`);
  }
  const recorded = requestOf(record);
  const tape = await tapeOf(system, record, recorded, events);
  const answers = new RecordedAnswers(record.id, events, tape.own);
  const request: RunRequest = { ...recorded, approvals: answers.attended ? 'prompt' : 'deny' };
  const found = await findAgain(system, record, request, tape);
  const machine = { ...system, organisation: tape.start.documents.organisation ?? system.organisation };
  // What went on from a lost run begins where that one ended.
  const resumption =
    request.resumes === undefined ? null : await readResumption(system.home, system.content, request.resumes);
  const begun = resumption === null ? found : { ...found, resumption };
  const result = await executeRun(machine, request, { ...io, ask: answers.ask }, Promise.resolve(begun));
  return compared(system, record, events, result, { tape, answers });
}

function* eventsOf(system: System, run: string): Generator<AuditEvent> {
  for (const { event } of readEvents(join(system.home, 'audit'), { run })) yield event;
}

/** The same request; its answers and approvals come from the record, and nothing of it is delivered. */
function requestOf(record: RunRecord): RunRequest {
  return { ...(record.request as unknown as RunRequest), record: false, replayOf: record.id };
}

async function tapeOf(
  system: System,
  record: RunRecord,
  request: RunRequest,
  events: readonly AuditEvent[],
): Promise<Tape> {
  const recorded = events.find((event) => event.type === 'run.recorded');
  if (recorded?.content !== undefined) {
    try {
      return await Tape.read(system.content.read(record.id, recorded.content as ContentRef));
    } catch (cause) {
      if (cause instanceof RecordingVersionError) {
        throw new NotReplayableError(record.id, 'recording missing', cause.message, {
          cause,
          remedy: 'replay it with the version of Cordon that ran it, or run its task again',
        });
      }
      if (!(cause instanceof NotFoundError)) throw cause;
      throw new NotReplayableError(record.id, 'content deleted', 'retention has deleted its recording', { cause });
    }
  }
  const heard = events.some(
    (event) => event.type === 'llm.request' || event.type === 'network.decided' || event.type === 'mcp.start',
  );
  if (heard || request.policyFile !== null || request.repo !== null) {
    throw new NotReplayableError(record.id, 'recording missing', 'it kept no recording', {
      remedy: 'runs keep one unless they are started with --no-record, or the settings say so',
    });
  }
  // It heard nothing from outside: its commit, and the policy in it, are all there is to find again.
  const seed = randomBytes(16).toString('hex');
  return Tape.blank({
    documents: { organisation: null, repository: null },
    branch: null,
    epoch: Math.floor(record.created / 1000),
    seed,
  });
}

async function compared(
  system: System,
  record: RunRecord,
  events: readonly AuditEvent[],
  result: RunResult,
  { tape, answers }: { readonly tape: Tape; readonly answers: RecordedAnswers },
): Promise<Replayed> {
  const before = await traceOf(record.id, events, system.content);
  const after = await traceOf(result.runId, [...eventsOf(system, result.runId)], system.content);
  const { steps, missing, otherBodies, unasked, renaming, drawn, aside } = tape;
  const { approvals } = answers;
  const count = (fit: string) => steps.filter((step) => step.fit === fit).length;
  return {
    run: record.id,
    replay: result.runId,
    status: result.status,
    steps: { asked: steps.length, exact: count('exact'), like: count('like') },
    approvals,
    ...compareRuns(before, after, { steps, missing, otherBodies, unasked, renaming, drawn, aside, approvals }),
  };
}
