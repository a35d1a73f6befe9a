import type { Command } from 'commander';
import { Option } from 'commander';
import { profileNames } from '../agents/profiles/index.ts';
import { formatDuration } from '../base/duration.ts';
import { safeText } from '../base/term.ts';
import { resolvePaths } from '../config/paths.ts';
import type { Settings } from '../config/schema.ts';
import { begin } from '../runs/ahead.ts';
import type { RunRequest, RunResult } from '../runs/request.ts';
import type { Progress } from '../runs/system.ts';
import { approvalPrompt } from './approval-prompt.ts';
import { type Context, newCommand, outputOf } from './context.ts';
import { GuestOutput } from './guest-output.ts';
import type { Output } from './output.ts';
import { countOption, cpusOption, durationOption, type RunOptions, sizeOption, toRunRequest } from './run-request.ts';
import { exitCodeOf, summaryLines } from './run-summary.ts';

const EXAMPLES = `
Examples:
  cordon run -- sh -c 'make test > result.txt'
  cordon run --model claude/claude-sonnet-4-5 "fix the failing test"          the built-in agent
  cordon run --agent claude-code --model claude/claude-sonnet-4-5 "fix the failing test"
  cordon run --workspace ~/src/app --path 'services/billing/**' "fix the rounding" -- ./agent.sh
  cordon run --read-only --timeout 5m -- /usr/bin/grep -rn password .
  cordon run --observe -- npm ci             what the policy lacks for it, to review

The command runs in a sandbox that sees this one repository at one commit, and nothing else of this machine. What it
changed arrives as a branch; your working tree is not touched. Exit codes: 0 delivered, 1 the command failed, 2 wrong
command line, 3 not allowed, 4 approval denied, 5 a limit, 6 this machine cannot enforce it, 7 a fault outside.`;

const collect = (value: string, before: readonly string[]) => [...before, value];

export function command(context: Context): Command {
  return newCommand()
    .usage('[options] [TASK] [-- CMD…]')
    .argument('[task]', 'what is to be done, in words; the command finds it in $CORDON_TASK_FILE')
    .option('-w, --workspace <dir>', 'a local git repository (default: the current one)')
    .option('--repo <url>', 'or a remote one: https://git.acme.example/team/app')
    .option('--base <ref>', 'start from this commit, branch or tag', 'HEAD')
    .option('--branch <name>', 'deliver to this branch (default: cordon/<run id>)')
    .option('--path <glob>', 'only this is checked out and may change; repeatable', collect, [])
    .option('--context <file>', 'text that comes with the task as data, - for standard input; repeatable', collect, [])
    .addOption(
      new Option(
        '--agent <name>',
        `command (what stands behind --), builtin, acp (CMD, talked with), or one of ${profileNames.join(', ')}`,
      ).choices(['command', 'builtin', 'acp', ...profileNames]),
    )
    .option('--policy <file>', 'a policy instead of .cordon/policy.yaml at the base commit')
    .option('--allow-net <host[:port]>', 'allow a host besides the policy; repeatable', collect, [])
    .option('--allow-command <path>', 'allow a program besides the policy; repeatable', collect, [])
    .option('--secret <name>', 'have a secret lent that the organisation’s policy names; repeatable', collect, [])
    .option('--model <provider/model>', 'the language model the agent is to use')
    .option('--max-steps <n>', 'answers of the model, of the built-in agent (default: 200)', countOption)
    .addOption(
      new Option(
        '--approvals <how>',
        'who answers when the policy asks: prompt or deny (default: prompt on a terminal, else deny)',
      ).choices(['prompt', 'queue', 'deny']),
    )
    .addOption(
      new Option('--deliver <how>', 'what becomes of the change: branch, patch or none (default: branch)').choices([
        'branch',
        'pr',
        'patch',
        'none',
      ]),
    )
    .option('--read-only', 'an analysis: nothing is delivered')
    .option('--timeout <time>', 'end it after this time, such as 30m', durationOption)
    .option('--memory <size>', 'of all processes together, such as 2g', sizeOption)
    .option('--cpus <n>', 'processors', cpusOption)
    .option('--pids <n>', 'processes and threads together', countOption)
    .option('--disk <size>', 'written to /workspace, /tmp and $HOME together', sizeOption)
    .option('--observe', 'in the end, the least that would have permitted what was denied, as YAML to review')
    .option('--record', 'keep the agent’s output (default)')
    .option('--no-record', 'do not')
    .addHelpText('after', EXAMPLES)
    .action(async (task: string | undefined, options: RunOptions & { json?: boolean; quiet?: boolean }) => {
      await run(context, outputOf(context, options), task, options);
    });
}

async function run(context: Context, out: Output, task: string | undefined, options: RunOptions): Promise<void> {
  const { loadSettings } = await import('../config/load.ts');
  const settings = await loadSettings(resolvePaths(context.env).configFile);
  const { cwd, interactive } = context;
  const data = options.context?.length
    ? await (await import('./context-files.ts')).readContext(options.context, cwd)
    : [];
  const request = toRunRequest(task, context.rest, options, { cwd, interactive, settings, context: data });
  const result = await runRequested(context, out, request, settings);
  context.exitCode = exitCodeOf(result.status);
  if (options.observe === true) {
    const { observe } = await import('./observed.ts');
    const { observed, lines } = await observe(context, result.runId, out);
    if (out.json) out.document({ ...result, observed });
    else out.line(...summaryLines(result, request, out, context.cwd), ...lines);
  } else if (out.json) out.document(result);
  else out.line(...summaryLines(result, request, out, context.cwd));
}

/** Runs it with progress on standard error, and closes everything whatever comes of it. */
export async function runRequested(
  context: Context,
  out: Output,
  request: RunRequest,
  {
    secrets,
    network,
    forges,
    mcp_folders: mcpFolders,
  }: Pick<Settings, 'secrets' | 'network' | 'forges' | 'mcp_folders'> = {},
): Promise<RunResult> {
  const discovery = begin(request, resolvePaths(context.env));
  discovery.catch(() => {});
  const [{ composeSystem }, { executeRun }] = await Promise.all([
    import('../compose.ts'),
    import('../runs/pipeline.ts'),
  ]);
  const system = await composeSystem({ secrets, network, forges, mcpFolders });
  const guest = new GuestOutput(out);
  const ask = approvalPrompt(context, out);
  try {
    return await executeRun(
      system,
      request,
      {
        signal: context.signal,
        onProgress: (progress) => out.progress(progressLine(out, progress)),
        notes: !out.quiet,
        onOutput: (stream, chunk) => guest.write(stream, chunk),
        ...(ask === undefined ? {} : { ask }),
      },
      discovery,
    );
  } finally {
    guest.end();
    await system.close();
  }
}

export function progressLine(out: Output, progress: Progress): string {
  const { bold, dim, red } = out.progressStyle;
  if (progress.alarming) return bold(red(`! ${safeText(progress.step)}`));
  const took = progress.ms === undefined ? '' : ` ${dim(`(${formatDuration(progress.ms)})`)}`;
  return `${dim('·')} ${safeText(progress.step)}${took}`;
}
