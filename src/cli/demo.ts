import { mkdir, mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { ConflictError } from '../base/errors.ts';
import { gitText } from '../base/git.ts';
import { safeLines, safeText, shellLine, shellWord } from '../base/term.ts';
import type { RunRequest, RunResult } from '../runs/request.ts';
import { type Context, newCommand, outputOf } from './context.ts';
import type { Output, OutputOptions } from './output.ts';
import { exitCodeOf, markedStatus } from './run-summary.ts';

interface DemoOptions extends OutputOptions {
  readonly dir?: string;
}

export function command(context: Context): Command {
  return newCommand()
    .option('--dir <dir>', 'make the example repository there (default: a new folder for temporary files)')
    .option('-y, --yes', 'install the system packages that are missing without asking (in a checkout)')
    .action((options: DemoOptions) => demo(context, options));
}

/** Makes the example repository, has a script work on it behind the boundary, and shows what can be known afterwards. */
async function demo(context: Context, options: DemoOptions): Promise<void> {
  const out = outputOf(context, options);
  const { demoAgent, demoTask, makeDemoRepository } = await import('./demo-repository.ts');
  const dir = await emptyFolder(context, options.dir);
  await makeDemoRepository(dir, Date.now());
  const { bold, dim } = out.progressStyle;
  out.progress(`${bold('A script repairs a failing test, inside the boundary')}`);
  out.progress(dim(`  repository  ${safeText(dir)}: a small invoice calculator`));
  out.progress(dim('  policy      .cordon/policy.yaml: seven programs, deliveries to cordon/**, and nothing else'));
  const [{ loadSettings }, { resolvePaths }, { runRequested }, { toRunRequest }] = await Promise.all([
    import('../config/load.ts'),
    import('../config/paths.ts'),
    import('./run.ts'),
    import('./run-request.ts'),
  ]);
  const settings = await loadSettings(resolvePaths(context.env).configFile);
  const nothing = { path: [], allowNet: [], allowCommand: [], secret: [] };
  const request = toRunRequest(
    demoTask,
    demoAgent,
    { ...nothing, workspace: dir, base: 'HEAD', deliver: 'branch', approvals: 'deny' },
    { cwd: context.cwd, interactive: false, settings },
  );
  const result = await runRequested(context, out, request);
  context.exitCode = exitCodeOf(result.status);
  await (out.json ? showJson(context, dir, result, out) : show(context, request, result, out));
}

async function emptyFolder(context: Context, named: string | undefined): Promise<string> {
  if (named === undefined) return join(await mkdtemp(join(tmpdir(), 'cordon-demo-')), 'invoices');
  const dir = resolve(context.cwd, named);
  await mkdir(dir, { recursive: true });
  if ((await readdir(dir)).length === 0) return dir;
  throw new ConflictError(`${safeText(dir)} is not empty`, { remedy: 'name a folder that is empty or not there yet' });
}

async function gather(context: Context, result: RunResult) {
  const [{ storyOf }, { withRun }, { verifyOwnLog }] = await Promise.all([
    import('./audit-source.ts'),
    import('./local.ts'),
    import('./audit-verify.ts'),
  ]);
  const story = await withRun(context, result.runId, (run, { paths }) => storyOf(paths, run));
  return { story, report: await verifyOwnLog(context) };
}

async function show(context: Context, request: RunRequest, result: RunResult, out: Output): Promise<void> {
  const { bold, dim } = out.style;
  const { story, report } = await gather(context, result);
  const [{ commandLines, refusals }, { reportLines }] = await Promise.all([
    import('./runs-show.ts'),
    import('./audit-verify.ts'),
  ]);
  const place = { gitDir: join(request.workspace, '.git') };
  out.line('', `${markedStatus(result.status, out)} ${safeText(result.stopReason)}`);
  if (result.head !== null && result.branch !== null) {
    const change = [
      'diff',
      '--no-ext-diff',
      '--no-textconv',
      '--no-color',
      '--unified=1',
      result.base,
      result.head,
      '--',
    ];
    const diff = (await gitText(place, change)).split('\n').filter((line) => !/^(diff|index|---) /.test(line));
    out.line(
      '',
      `${bold('Delivered')} branch ${bold(safeText(result.branch))} ${dim('· main and your working tree are as they were')}`,
    );
    out.line(...diff.map((line) => `  ${coloured(safeLines(line), out)}`));
  }
  const ran = story.commands.filter(({ exited }) => exited?.outcome.how.kind !== 'failed');
  const first = ran[0]?.started.resource.id;
  const own = ran.filter(({ started }) => started.resource.parent === first || started.resource.id === first);
  const more = `${ran.length - own.length} more that these started: ${cordonName(context)} runs commands ${result.runId}`;
  out.line('', `${bold(`Commands (${ran.length})`)} ${dim('· as the kernel saw them, not as the agent tells')}`);
  out.line(...commandLines(own, out), dim(`  … ${more}`));
  out.line(...refusals(story, out));
  out.line('', ...reportLines(report, out));
  out.line('', ...look(context, request, result).map((line) => `  ${line}`));
}

function coloured(line: string, out: Output): string {
  if (line.startsWith('+')) return out.style.green(line);
  return line.startsWith('-') ? out.style.red(line) : out.style.dim(line);
}

/** What a person types to start it: `./cordon` in a checkout. */
function cordonName(context: Context): string {
  return safeText(context.env.CORDON_COMMAND ?? 'cordon');
}

function look(context: Context, request: RunRequest, result: RunResult): string[] {
  const cordon = cordonName(context);
  const where = shellWord(request.workspace);
  return [
    ...(result.branch === null ? [] : [`git -C ${where} show ${shellWord(result.branch)}`]),
    `${cordon} runs show ${result.runId}`,
    `${cordon} run --workspace ${where} -- ${shellLine(['sh', '-c', 'your own command'])}`,
  ];
}

async function showJson(context: Context, dir: string, result: RunResult, out: Output): Promise<void> {
  const { story, report } = await gather(context, result);
  const denied = story.refused.map(({ action, resource, decision }) => ({ action, resource, decision }));
  out.document({ repository: dir, run: result, denied, verified: report.ok });
}
