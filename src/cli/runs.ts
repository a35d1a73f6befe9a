import type { Command } from 'commander';
import { Option } from 'commander';
import { ConflictError, OutsideError } from '../base/errors.ts';
import { isAlive } from '../base/process-identity.ts';
import { clip, columns, safeText, shellLine } from '../base/term.ts';
import { agentWords, type RunRequest } from '../runs/request.ts';
import { hasEnded, type RunState, transitions } from '../runs/run.ts';
import type { RunRecord } from '../store/index.ts';
import { type Context, newCommand, newGroup, outputOf } from './context.ts';
import { withLocalData, withRun } from './local.ts';
import type { OutputOptions } from './output.ts';
import { countOption } from './run-request.ts';
import { runJson, stateOf } from './run-view.ts';
import type { LogOptions } from './runs-files.ts';
import type { PruneOptions } from './runs-prune.ts';
import type { ReplayOptions } from './runs-replay.ts';
import type { ShowOptions } from './runs-show.ts';

const states = Object.keys(transitions);
const RUN = 'the run’s id, or its first characters';

export function command(context: Context): Command {
  const runs = newGroup();
  runs.addCommand(
    newCommand('list')
      .description('runs, newest first')
      .addOption(new Option('--state <state>', `only these: ${states.join(', ')}`).choices(states))
      .option('--limit <n>', 'at most so many', countOption, 30)
      .option('--cursor <cursor>', 'go on where the page before ended')
      .action((options: ListOptions) => list(context, options)),
  );
  const one = (name: string, description: string) => newCommand(name).description(description).argument('<run>', RUN);
  runs.addCommand(
    one('show', 'who asked, what ran, what changed, what was denied, why it ended')
      .option('--observe', 'also the least that would permit what was denied, as YAML to review')
      .action(async (id: string, options: ShowOptions) => (await import('./runs-show.ts')).show(context, id, options)),
  );
  runs.addCommand(
    one('commands', 'every program that ran, as seen from outside the sandbox').action(
      async (id: string, options: OutputOptions) => (await import('./runs-show.ts')).commands(context, id, options),
    ),
  );
  runs.addCommand(
    one('logs', 'what the agent wrote')
      .option('--raw', 'the bytes as they were; not onto a terminal')
      .addOption(new Option('--stream <stream>', 'only this one: stdout or stderr').choices(['stdout', 'stderr']))
      .action(async (id: string, options: LogOptions) => (await import('./runs-files.ts')).logs(context, id, options)),
  );
  runs.addCommand(
    one('diff', 'the delivered change')
      .option('--stat', 'only which files, and how much')
      .action(async (id: string, options: OutputOptions & { stat?: boolean }) =>
        (await import('./runs-files.ts')).diff(context, id, options),
      ),
  );
  runs.addCommand(
    one('artifacts', 'what the run left: patch, report').action(async (id: string, options: OutputOptions) =>
      (await import('./runs-files.ts')).artifacts(context, id, options),
    ),
  );
  runs.addCommand(
    one('replay', 'run it again from its recording, without any network, and compare')
      .option('--policy <file>', 'run nothing: what would this policy have said to what the run asked?')
      .action(async (id: string, options: ReplayOptions) =>
        (await import('./runs-replay.ts')).replay(context, id, options),
      ),
  );
  runs.addCommand(
    one('resume', 'go on with a run of the built-in agent whose process died').action(
      async (id: string, options: OutputOptions) => (await import('./runs-resume.ts')).resume(context, id, options),
    ),
  );
  runs.addCommand(
    newCommand('prune')
      .description('delete what is kept of runs whose retention is over: output, prompts, answers, recordings')
      .argument('[run]', 'only of this one, whether its time is over or not')
      .option('--dry-run', 'say of which, and delete nothing')
      .action(async (id: string | undefined, options: PruneOptions) =>
        (await import('./runs-prune.ts')).prune(context, id, options),
      ),
  );
  runs.addCommand(
    one('cancel', 'end a run that is still going').action((id: string, options: OutputOptions) =>
      cancel(context, id, options),
    ),
  );
  return runs;
}

interface ListOptions extends OutputOptions {
  readonly state?: string;
  readonly limit: number;
  readonly cursor?: string;
}

async function list(context: Context, options: ListOptions): Promise<void> {
  const out = outputOf(context, options);
  const page = await withLocalData(context, ({ store }) =>
    store.listRuns({
      limit: Math.min(options.limit, 1_000),
      ...(options.state === undefined ? {} : { states: [options.state] }),
      ...(options.cursor === undefined ? {} : { cursor: options.cursor }),
    }),
  );
  if (out.json) {
    out.document({ runs: page.runs.map(runJson), next: page.next });
    return;
  }
  if (page.runs.length === 0) {
    out.progress('no runs yet: cordon run -- CMD…');
    return;
  }
  const rows = page.runs.map((run) => [
    run.id,
    new Date(run.created).toISOString().slice(0, 16).replace('T', ' '),
    stateOf(run),
    safeText(run.branch ?? '-'),
    clip(safeText(whatFor(run)), 60),
  ]);
  out.line(...columns([['RUN', 'STARTED (UTC)', 'STATE', 'BRANCH', 'WHAT'].map(out.style.dim), ...rows]));
  if (page.next !== null) out.progress(`more: cordon runs list --cursor ${page.next}`);
}

function whatFor(run: RunRecord): string {
  const request = run.request as unknown as Partial<RunRequest>;
  return request.task ?? shellLine(request.agent === undefined ? [] : agentWords(request.agent));
}

async function cancel(context: Context, id: string, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  await withRun(context, id, async (run) => {
    if (hasEnded(run.state as RunState) || !isAlive(run.owner)) {
      throw new ConflictError(`run ${run.id} has ended: ${stateOf(run)}`);
    }
    try {
      // The process that drives the run ends it in order, as for Ctrl-C.
      process.kill(run.owner.pid, 'SIGTERM');
    } catch (cause) {
      throw new OutsideError(
        `run ${run.id} belongs to a process that cannot be signalled: ${(cause as Error).message}`,
        {
          cause,
          remedy: `as the user who started it: cordon runs cancel ${run.id}`,
        },
      );
    }
    if (out.json) out.document({ runId: run.id, cancelling: true });
    else out.line(`asked run ${run.id} to stop`);
  });
}
