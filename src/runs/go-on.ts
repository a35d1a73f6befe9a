import { type Resumed, resumptionNote } from '../agents/builtin/resumed.ts';
import type { Json } from '../base/canonical-json.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { keepContent } from './keep-content.ts';
import { refuseTwice } from './resume-once.ts';
import type { Resumption } from './resumption.ts';
import type { RunScope } from './scope.ts';
import type { WorkspaceKeeper } from './workspace-keeper.ts';
import { restoreWorkspace } from './workspace-restore.ts';

/** Uncertain calls that stand in the event, and characters of each. */
const MOST = 50;
const LONGEST = 400;

/** Puts back what was kept of a lost run's workspace, and has the record say where its work goes on. Resolves with what its agent knew. */
export async function goOn(
  scope: RunScope,
  sandbox: Sandbox,
  resumption: Resumption,
  keeper: WorkspaceKeeper | null,
): Promise<Resumed> {
  const { run, packs, spent, taken, elapsedMs, calls } = resumption;
  if (scope.request.replayOf === undefined) {
    const lost = await scope.system.store.getRun(run);
    await refuseTwice(scope.system, { id: run, created: lost?.created ?? 0 }, scope.run.id);
  }
  const { files, withheld } = await restoreWorkspace(scope, sandbox, run, packs);
  // Before it counts as begun: from then on this run's own record is all that the next one looks at.
  await keeper?.keep();
  const note = resumptionNote(taken.uncertain, withheld);
  const resumed: Resumed = {
    ...taken.resumed,
    messages: [...taken.resumed.messages, { kind: 'user', text: note }],
  };
  const { steps, toolCalls } = resumed;
  const uncertain = taken.uncertain.slice(0, MOST).map((line) => line.slice(0, LONGEST));
  const resource = { run, steps, toolCalls, ...spent, elapsedMs, calls, uncertain, files };
  const kept = await keepContent(scope, resumed as unknown as Json);
  await scope.run.log.append({ type: 'agent.resumed', action: null, resource, ...kept });
  scope.io.onProgress({ step: `goes on from run ${run}: steps so far: ${steps}, files put back: ${files}` });
  for (const line of uncertain) scope.io.onProgress({ step: `note: ${line}` });
  return resumed;
}
