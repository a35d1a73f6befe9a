import { ConflictError, ExitCode } from '../base/errors.ts';
import { clip, safeText } from '../base/term.ts';
import { loadSettings } from '../config/load.ts';
import { resolvePaths } from '../config/paths.ts';
import type { EffectivePolicy } from '../policy/index.ts';
import type { Replayed } from '../runs/replay.ts';
import type { RunRequest } from '../runs/request.ts';
import type { RunRecord } from '../store/index.ts';
import { type Context, outputOf } from './context.ts';
import { GuestOutput } from './guest-output.ts';
import { withRun } from './local.ts';
import type { Output, OutputOptions } from './output.ts';
import { progressLine } from './run.ts';

export interface ReplayOptions extends OutputOptions {
  readonly policy?: string;
}

/** Exit code 0 when the replay did the same (its commands may differ), 1 when it diverged. */
export async function replay(context: Context, id: string, options: ReplayOptions): Promise<void> {
  const out = outputOf(context, options);
  if (options.policy !== undefined) return redecide(context, id, options.policy, out);
  const result = await withRun(context, id, (run) => play(context, out, run));
  if (out.json) out.document(result);
  else out.line(...verdictLines(result, out));
  if (result.verdict === 'diverged') context.exitCode = ExitCode.agentFailed;
}

async function play(context: Context, out: Output, run: RunRecord): Promise<Replayed> {
  const [{ composeSystem }, { replayRun }] = await Promise.all([import('../compose.ts'), import('../runs/replay.ts')]);
  const {
    secrets,
    network,
    forges,
    mcp_folders: mcpFolders,
  } = await loadSettings(resolvePaths(context.env).configFile);
  const system = await composeSystem({ secrets, network, forges, mcpFolders });
  const guest = new GuestOutput(out);
  try {
    return await replayRun(system, run, {
      signal: context.signal,
      onProgress: (progress) => out.progress(progressLine(out, progress)),
      notes: false,
      onOutput: (stream, chunk) => guest.write(stream, chunk),
    });
  } finally {
    guest.end();
    await system.close();
  }
}

function verdictLines(replayed: Replayed, out: Output): string[] {
  const { verdict, divergences, run, replay: again, steps } = replayed;
  const { bold, dim, green, red } = out.style;
  const words = {
    exact: green('exact: the same commands, the same tree'),
    'tree-equal': green('tree-equal: the same tree, by other ways'),
    diverged: red('diverged: another tree'),
  };
  const asked =
    steps.asked === 0 ? '' : `, ${steps.asked} requests to models (${steps.exact} exact, ${steps.like} alike)`;
  return [
    `${bold(words[verdict])}`,
    dim(`run ${run} played again as ${again}${asked}; nothing went online`),
    ...divergences
      .slice(0, 20)
      .flatMap(({ class: kind, at, expected, actual }) => [
        `  ${safeText(at)} ${dim(`(${kind})`)}`,
        `    recorded ${clip(safeText(expected), 300)}`,
        `    now      ${clip(safeText(actual), 300)}`,
      ]),
    ...sameLines(replayed).map((line) => dim(line)),
    ...(divergences.length > 20 ? [dim(`  and ${divergences.length - 20} more: --json has all`)] : []),
  ];
}

/** What was taken for the same, and what people answered then. */
function sameLines({ altered, reordered, unseen, aside, approvals }: Replayed): string[] {
  return [
    ...approvals.map(({ question, recorded, now }) => {
      if (now === null)
        return `  approval of ${safeText(question)}: ${recorded ?? 'never answered'} then, not asked again`;
      return `  approval of ${safeText(question)}: ${recorded === null ? 'not asked then, denied' : `${now}, as then`}`;
    }),
    ...altered.map(({ kind, count, expected, actual }) => {
      const example = `${clip(safeText(expected), 80)} → ${clip(safeText(actual), 80)}`;
      return `  taken for the same: ${count} × ${kind} (${example})`;
    }),
    ...(reordered > 0 ? [`  ${reordered} commands that the agent starts by itself came in another order`] : []),
    ...(aside > 0 ? [`  ${aside} commands that the agent starts for its own use are not compared`] : []),
    ...(unseen > 0
      ? [`  ${unseen} commands were ended with the run in one of the two, or gone before anybody saw how they ended`]
      : []),
  ];
}

/** Every question of the run to its policy, put to another one: no sandbox, nothing runs. Exit code 1 when an answer differs. */
async function redecide(context: Context, id: string, file: string, out: Output): Promise<void> {
  const [{ compilePolicy, decide, subject }, { readDocuments, readSource }, { decidedOf }] = await Promise.all([
    import('../policy/index.ts'),
    import('./policy/documents.ts'),
    import('./policy/recorded.ts'),
  ]);
  const { run, request } = await withRun(context, id, async (record) => {
    return { run: record.id, request: record.request as unknown as RunRequest };
  });
  const decided = await decidedOf(context, run);
  if (decided === null) throw new ConflictError(`the record of run ${run} does not say what it asked its policy`);
  const { organisation } = await readDocuments(context, {});
  const input = {
    repository: await readSource(context, file),
    ...(organisation === undefined ? {} : { organisation }),
    request: { ...request.grants, limits: request.limits, paths: request.paths },
  };
  const listed = await filesOf(await compilePolicy(input));
  const policy = await compilePolicy({ ...input, resolved: listed.resolved });
  const changed = decided.flatMap(({ effect, action }) => {
    if (action.action === 'command.execute' && listed.companions.has(action.sha256)) return [];
    const now = decide(policy, action);
    return now.effect === effect
      ? []
      : [{ action: action.action, subject: subject(action), before: effect, after: now.effect, reason: now.reason }];
  });
  if (changed.length > 0) context.exitCode = ExitCode.agentFailed;
  if (out.json) {
    out.document({ run, policyDigest: policy.digest, compared: decided.length, changed });
    return;
  }
  const { bold, dim } = out.style;
  out.line(
    bold(changed.length === 0 ? 'nothing would change' : `${changed.length} of ${decided.length} answers would change`),
    ...changed.map(
      ({ subject: what, before, after, reason }) =>
        `  ${safeText(what)}: ${before} → ${after} ${dim(safeText(reason))}`,
    ),
    ...(changed.length === 0 ? [dim(`${decided.length} answers compared`)] : []),
  );
}

/** What a policy's list of commands stands for on this machine, as for a run: the files behind the names, and what these bring along. */
async function filesOf({ commands }: EffectivePolicy) {
  const companions = new Set<string>();
  if (commands === null) return { resolved: new Map(), companions };
  const { resolveCommand, resolveToolbox } = await import('../sandbox/toolbox.ts');
  const toolbox = await resolveToolbox(commands);
  if (toolbox.kind === 'list')
    for (const { companionOf, sha256 } of toolbox.executables) if (companionOf !== null) companions.add(sha256);
  return { resolved: new Map(commands.map(({ path }) => [path, resolveCommand(path)])), companions };
}
