import { counted } from '../base/counted.ts';
import { formatDuration } from '../base/duration.ts';
import { ExitCode } from '../base/errors.ts';
import { safeLines, safeText, shellWord } from '../base/term.ts';
import type { RunRequest, RunResult, RunStatus } from '../runs/request.ts';
import { modelFigures } from './models-text.ts';
import type { Output } from './output.ts';

const exitCodes: Readonly<Record<RunStatus, ExitCode>> = {
  succeeded: ExitCode.ok,
  failed: ExitCode.agentFailed,
  denied: ExitCode.policy,
  approval_denied: ExitCode.approval,
  limit: ExitCode.limit,
  enforcement: ExitCode.enforcement,
  outside: ExitCode.outside,
  cancelled: ExitCode.cancelled,
  lost: ExitCode.outside,
};

export function exitCodeOf(status: RunStatus): ExitCode {
  return exitCodes[status];
}

/** The last lines of `cordon run`: what came of it, in figures, and what to type next. */
export function summaryLines(result: RunResult, request: RunRequest, out: Output, cwd: string): string[] {
  const { bold, dim } = out.style;
  const { permit, deny, ask } = result.decisions;
  const figures = [
    counted(result.changedFiles, 'changed file'),
    counted(result.commands, 'command'),
    `${permit} permitted, ${deny} denied${ask > 0 ? `, ${ask} asked` : ''}`,
    formatDuration(result.usage.wallMs),
  ].join(' · ');
  const rows = [
    `${markedStatus(result.status, out)} ${safeLines(result.stopReason)}`,
    ...result.rules.map((rule) => `  ${dim('rule')} ${safeText(rule)}`),
    ...(result.remedy === null ? [] : [`  → ${safeLines(result.remedy)}`]),
    `${dim('run')}     ${result.runId}  ${dim(figures)}`,
  ];
  rows.push(...lentRows(result, out));
  const { models } = result.usage;
  if (models.requests > 0) rows.push(`${dim('models')}  ${modelFigures(models)}`);
  if (result.branch !== null) rows.push(`${dim('branch')}  ${bold(safeText(result.branch))}`);
  return [...rows, '', ...nextSteps(result, request, cwd).map(([line, why]) => `  ${line.padEnd(58)} ${dim(why)}`)];
}

/** What it was lent; a value that was in the sandbox is red. */
function lentRows({ credentials }: RunResult, out: Output): string[] {
  const { bold, dim, red } = out.style;
  return credentials.map(({ name, use, where }) =>
    use === 'header'
      ? `${dim('secret')}  ${safeText(name)} for ${safeText(where)}`
      : `${dim('secret')}  ${bold(red(`! the value of ${safeText(name)} was in the sandbox, as ${safeText(where)}`))}`,
  );
}

function nextSteps(result: RunResult, request: RunRequest, cwd: string): (readonly [string, string])[] {
  const id = result.runId;
  const steps: (readonly [string, string])[] = [];
  if (result.branch !== null && request.repo !== null) {
    const { scheme, host, port, path } = request.repo;
    const place = port === (scheme === 'https' ? 443 : 80) ? host : `${host}:${port}`;
    steps.push([`git fetch ${scheme}://${place}${path} ${shellWord(result.branch)}`, 'the change, in FETCH_HEAD']);
  } else if (result.branch !== null) {
    const where = request.workspace === cwd ? '' : ` -C ${shellWord(request.workspace)}`;
    steps.push([`git${where} diff ${result.base.slice(0, 12)}..${shellWord(result.branch)}`, 'the change']);
  }
  if (request.deliver === 'patch' && result.head !== null)
    steps.push([`cordon runs artifacts ${id}`, 'where the patch is']);
  steps.push([
    `cordon runs show ${id}`,
    result.decisions.deny > 0 ? 'what was denied, and by which rule' : 'all about it',
  ]);
  if (result.decisions.deny > 0) steps.push([`cordon runs show ${id} --observe`, 'what would have permitted it']);
  if (result.attestation?.ref != null && result.branch !== null) {
    const where = request.workspace === cwd ? '' : ` -w ${shellWord(request.workspace)}`;
    steps.push([`cordon verify${where} ${shellWord(result.branch)}`, 'that it was authorised']);
  }
  steps.push([`cordon audit verify`, 'that the record is whole']);
  return steps;
}

export function markedStatus(status: string, out: Output): string {
  const { bold, green, red, yellow } = out.style;
  if (status === 'succeeded') return bold(green('✓ succeeded'));
  if (status === 'cancelled' || status === 'lost') return bold(yellow(`! ${status}`));
  return bold(red(`✗ ${status.replace('_', ' ')}`));
}
