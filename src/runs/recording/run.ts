/** The recording of one run: what is kept of the world, or stands in for it. */
import { join } from 'node:path';
import type { EgressTape } from '../../gateways/egress/tape.ts';
import type { ModelRecorder } from '../../gateways/llm/ledger.ts';
import type { ModelReplay } from '../../gateways/llm/replay.ts';
import type { McpRecorder, McpReplay } from '../../gateways/mcp/gateway.ts';
import type { RunScope } from '../scope.ts';
import { bodyKey } from './bodies.ts';
import type { Beginning } from './entry.ts';

/** The clock and the randomness that a run offers its agent: in a replay those of the recorded run. */
export interface Offered {
  readonly epoch: number;
  readonly seed: string;
}

export function offeredEnv({ epoch, seed }: Offered): Record<string, string> {
  return { SOURCE_DATE_EPOCH: String(epoch), CORDON_SEED: seed };
}

/**
 * Opens the recorder where a gateway could hear something from outside, or a document of the policy lies where it may change: all else
 * can be found again.
 */
export async function openRecorder(scope: RunScope): Promise<void> {
  const { request, tape, run, dir, redactor, system, documents, offered } = scope;
  const { policy } = scope.loaded;
  tape?.own.push(run.id);
  const heard = policy.network.length > 0 || policy.llm.providers.length > 0 || policy.mcp.servers.length > 0;
  const loose = request.policyFile !== null || request.repo !== null || documents.organisation !== null;
  if (!request.record || tape !== null || !(heard || loose)) return;
  const { Recorder } = await import('./recorder.ts');
  const start: Beginning = { documents, branch: scope.repository.baseBranch, ...offered };
  const own = [run.id];
  const recorder = new Recorder({
    file: join(dir, 'recording.jsonl'),
    redactor,
    start,
    own,
    drawn: scope.agent.drawn ?? [],
    monotonic: () => system.clock.monotonic(),
  });
  scope.recorder = recorder;
  scope.later(() => recorder.drop());
}

const CUT =
  'the recording of this run is not whole, and a replay will lack the rest: an answer or all of them were too long, or the disk too slow';

/** Puts the recording beside the log, with its event. */
export async function keepRecording(scope: RunScope): Promise<void> {
  const { recorder, run, system } = scope;
  if (recorder === null) return;
  scope.recorder = null;
  const { ref, entries, bytes, cut } = await recorder.keep(run.id, system.content);
  if (cut) scope.io.onProgress({ step: CUT });
  await run.log.append(
    { type: 'run.recorded', action: null, resource: { entries, bytes, cut }, content: ref },
    'requester',
  );
}

export function egressTape({ recorder, tape, redactor }: RunScope): EgressTape | null {
  if (tape !== null) {
    return {
      playing: true,
      record: () => ({ head() {}, piece() {}, end() {} }),
      answer(method, url, asked) {
        const entry = tape.http(method, redactor.redact(url), bodyKey(asked, tape, redactor));
        return entry === null ? null : { ...entry, complete: entry.whole && entry.result === 'completed' };
      },
    };
  }
  if (recorder === null) return null;
  return { playing: false, record: (method, url, asked) => recorder.http(method, url, asked), answer: () => null };
}

/** Null where nothing is kept, or the policy keeps nothing of what is said to models. */
export function modelRecorder({ recorder, loaded }: Pick<RunScope, 'recorder' | 'loaded'>): ModelRecorder | null {
  const { content } = loaded.policy.llm;
  if (recorder === null || content === 'none') return null;
  return {
    begin(wire, asked, searched) {
      const answering = recorder.model(wire, asked, { whole: content === 'full', searched });
      return {
        head: (status, headers) => answering.head(status, { ...headers }),
        piece: (bytes) => answering.piece(bytes),
        end: (result) => answering.end({ result }),
      };
    },
  };
}

/** Answers that came whole. */
const WHOLE: readonly string[] = ['completed', 'budget', 'spent'];
const SPENT = {
  code: 'budget_exceeded',
  message: 'a budget for language models had no room, as in the recorded run',
  remedy: 'cordon runs show tells which budget that was, and what to do',
  never: true, // where that ended the run is recorded, and not to be found out again
};

/** A budget had no room then: the end of the agent is explained by it now as then, and where the run was ended it is. */
function spentAgain(
  { spent, stop }: RunScope,
  { result, status, id }: { readonly result: string; readonly status: number; readonly id: number },
  operation: 'generate' | 'count',
): void {
  if (spent === null) return;
  if (result === 'budget' || result === 'spent') spent.refused(SPENT);
  if (result === 'spent') stop.abort(spent.error(SPENT));
  if (result !== 'completed' || status !== 200) return;
  spent.requested(id, { operation, requestDigest: '' });
  spent.answered(id, { result, reason: null });
}

export function modelReplay(scope: RunScope): ModelReplay | null {
  const { tape, run, agent } = scope;
  if (tape === null) return null;
  tape.drawn.push(...(agent.drawn ?? []));
  tape.aside.push(...(agent.aside ?? []));
  return {
    answer(wire, asked, operation) {
      // The agent asks on, in the moment that it takes to end it: then it was heard no more.
      if (scope.stop.signal.aborted) return null;
      const entry = tape.model(wire, asked);
      const fit = tape.steps.at(-1)?.fit ?? 'missing';
      run.log.enqueue({ type: 'llm.replayed', action: null, resource: { wire, fit } });
      if (entry === null) return null;
      spentAgain(scope, entry, operation);
      return {
        status: entry.status,
        headers: entry.headers,
        pieces: entry.pieces,
        complete: entry.whole && WHOLE.includes(entry.result),
      };
    },
  };
}

/** Null where nothing is kept of what is said. */
export function mcpRecorder({ recorder, loaded }: RunScope): McpRecorder | null {
  if (recorder === null || loaded.policy.llm.content === 'none') return null;
  return { record: (server, method, params, answer) => recorder.mcp(server, method, params, { ...answer }) };
}

export function mcpReplay({ tape, run }: RunScope): McpReplay | null {
  if (tape === null) return null;
  return {
    answer(server, method, params) {
      const [fit, answer] = tape.mcp(server, method, run.log.redacted(params));
      run.log.enqueue({ type: 'mcp.replayed', action: null, resource: { server, method, fit } });
      return answer;
    },
  };
}
