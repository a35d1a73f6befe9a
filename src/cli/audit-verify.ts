import { lstat, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { VerifyReport } from '../audit/problem.ts';
import { verifyAudit } from '../audit/verify.ts';
import { counted } from '../base/counted.ts';
import { EnforcementError, ExitCode, NotFoundError, StorageError } from '../base/errors.ts';
import { isAlive } from '../base/process-identity.ts';
import { safeText, shellWord } from '../base/term.ts';
import { type Paths, resolvePaths } from '../config/paths.ts';
import { unfinishedStates } from '../runs/run.ts';
import { readPublicKey } from './audit-key.ts';
import { type Context, outputOf } from './context.ts';
import { withLocalData } from './local.ts';
import type { Output, OutputOptions } from './output.ts';

export interface VerifyOptions extends OutputOptions {
  readonly key?: string;
  readonly trusted?: readonly string[];
}

export async function verify(context: Context, path: string | undefined, options: VerifyOptions): Promise<void> {
  const out = outputOf(context, options);
  const report = path === undefined ? await verifyOwnLog(context, options) : await verifyAt(context, path, options);
  context.exitCode = report.ok ? ExitCode.ok : ExitCode.agentFailed;
  if (out.json) out.document(report);
  else out.line(...reportLines(report, out));
}

/** This installation's log. What goes on right now has no outcome yet, which is no finding. */
export async function verifyOwnLog(context: Context, options: VerifyOptions = {}): Promise<VerifyReport> {
  const paths = resolvePaths(context.env);
  const log = await ownLog(paths);
  const aliveRuns = await unfinishedRuns(context, options);
  return verifyAudit(log, { ...(await given(context, paths, options)), aliveRuns });
}

async function verifyAt(context: Context, path: string, options: VerifyOptions): Promise<VerifyReport> {
  const place = resolve(context.cwd, path);
  const whole = resolvePaths({}, { home: place });
  if ((await isFolder(whole.audit)) && (await isFolder(whole.keys)))
    throw new NotFoundError(`${safeText(path)} is a whole data folder, and its log lies in it`, {
      remedy: `cordon audit verify ${shellWord(whole.audit)}`,
    });
  return verifyAudit(place, await given(context, resolvePaths(context.env), options));
}

async function isFolder(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => null))?.isDirectory() === true;
}

async function given(context: Context, paths: Paths, options: VerifyOptions) {
  const trusted = (options.trusted ?? []).map((file) => readFile(resolve(context.cwd, file), 'utf8'));
  return { vkey: await readPublicKey(options.key, context.cwd, paths), trusted: await Promise.all(trusted) };
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

/**
 * Where that cannot be told, as from a copy with nothing but the log, none goes on: an intent too many is a finding, and never one
 * too few. A folder that others can change is refused only where the key comes out of it.
 */
async function unfinishedRuns(context: Context, options: VerifyOptions): Promise<ReadonlySet<string>> {
  try {
    return await withLocalData(context, async ({ store }) => {
      const { runs } = await store.listRuns({ states: unfinishedStates, limit: 1_000 });
      return new Set(runs.filter((run) => isAlive(run.owner)).map((run) => run.id));
    });
  } catch (error) {
    if (error instanceof EnforcementError && options.key === undefined) {
      const { control, message, remedy } = error;
      const named = `${remedy ?? ''}; or name the log’s key, from elsewhere: --key KEY`;
      throw new EnforcementError(control, message, { cause: error, remedy: named });
    }
    if (!(error instanceof StorageError || error instanceof EnforcementError)) throw error;
    const why = safeText(error.message);
    outputOf(context, options).progress(`cordon: which runs go on is not known, and counted as none: ${why}`);
    return new Set();
  }
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
    excused.length === 0
      ? []
      : [dim(`  ${counted(excused.length, 'intent')} without outcome, of runs that go on or are recorded as lost`)];
  const time =
    report.firstTime === null ? [] : [dim(`  from ${report.firstTime} to ${report.lastTime}, tree of ${report.size}`)];
  const dead = report.kind === 'log' && !report.ok && report.problems.every(({ code }) => code === 'outcome_missing');
  const remedy =
    '  → if the process of a run was killed: the next `cordon run` records that run as lost; then verify again';
  return [head, ...time, ...problems, ...more, ...open, ...(dead ? [remedy] : [])];
}
