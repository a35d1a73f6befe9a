import { lstat, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { VKEY_FILE } from '../audit/keys.ts';
import type { VerifyReport } from '../audit/problem.ts';
import { verifyAudit } from '../audit/verify.ts';
import { ExitCode, NotFoundError, UsageError } from '../base/errors.ts';
import { isAlive } from '../base/process-identity.ts';
import { safeText } from '../base/term.ts';
import { type Paths, resolvePaths } from '../config/paths.ts';
import { unfinishedStates } from '../runs/run.ts';
import { type Context, outputOf } from './context.ts';
import { withLocalData } from './local.ts';
import type { Output, OutputOptions } from './output.ts';
import { counted } from './run-summary.ts';

export interface VerifyOptions extends OutputOptions {
  readonly key?: string;
  readonly trusted?: readonly string[];
}

export async function verify(context: Context, path: string | undefined, options: VerifyOptions): Promise<void> {
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  const own = path === undefined;
  const report = await verifyAudit(own ? await ownLog(paths) : resolve(context.cwd, path), {
    vkey: await keyText(options.key, context, paths),
    trusted: await Promise.all((options.trusted ?? []).map((file) => readFile(resolve(context.cwd, file), 'utf8'))),
    ...(own ? { aliveRuns: await aliveRuns(context) } : {}),
  });
  context.exitCode = report.ok ? ExitCode.ok : ExitCode.agentFailed;
  if (out.json) out.document(report);
  else out.line(...reportLines(report, out));
}

async function ownLog(paths: Paths): Promise<string> {
  try {
    await lstat(paths.audit);
    return paths.audit;
  } catch (cause) {
    throw new NotFoundError(`there is no audit log in ${paths.audit} yet`, {
      cause,
      remedy: 'it begins with the first run: cordon run -- CMD…',
    });
  }
}

/** The key itself, or the file that holds it. */
async function keyText(key: string | undefined, context: Context, paths: Paths): Promise<string> {
  if (key?.includes('+')) return key.trim();
  const file = key === undefined ? join(paths.keys, VKEY_FILE) : resolve(context.cwd, key);
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new UsageError(`the public key ${safeText(file)} cannot be read`, {
      cause,
      remedy: 'give --key: the line, or the file, that the log’s owner handed to you (keys/audit.vkey)',
    });
  }
}

/** Their last intents have no outcome yet, which is no finding. */
function aliveRuns(context: Context): Promise<ReadonlySet<string>> {
  return withLocalData(context, async ({ store }) => {
    const { runs } = await store.listRuns({ states: unfinishedStates, limit: 1_000 });
    return new Set(runs.filter((run) => isAlive(run.owner)).map((run) => run.id));
  });
}

export function reportLines(report: VerifyReport, out: Output): string[] {
  const { bold, dim, green, red } = out.style;
  const what = { log: 'the log', export: 'the export', run: 'the export of a run', proof: 'the proof' }[report.kind];
  const head = report.ok
    ? `${bold(green('✓'))} ${what} holds: ${counted(report.records, 'record')} recomputed, signed by ${safeText(report.origin)}`
    : `${bold(red('✗'))} ${what} does not hold: ${counted(report.problems.length + report.moreProblems, 'problem')} in ${counted(report.records, 'record')}`;
  const problems = report.problems.map((problem) => {
    const place = problem.seq === null ? safeText(problem.where) : `record ${problem.seq} (${safeText(problem.where)})`;
    return `  ${red(problem.code)} ${place}: ${safeText(problem.message)}`;
  });
  const more = report.moreProblems > 0 ? [dim(`  … and ${report.moreProblems} more`)] : [];
  const excused = report.openIntents.filter((intent) => intent.excuse !== null);
  const open =
    excused.length === 0 ? [] : [dim(`  ${counted(excused.length, 'intent')} without outcome, of runs that go on or are recorded as lost`)];
  const time = report.firstTime === null ? [] : [dim(`  from ${report.firstTime} to ${report.lastTime}, tree of ${report.size}`)];
  return [head, ...time, ...problems, ...more, ...open];
}
