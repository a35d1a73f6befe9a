import { originOf } from '../agents/task.ts';
import type { AuditEvent } from '../audit/event.ts';
import { counted } from '../base/counted.ts';
import { formatDuration } from '../base/duration.ts';
import { clip, columns, safeText, shellLine } from '../base/term.ts';
import { agentWords, type RunRequest, type RunResult } from '../runs/request.ts';
import type { RunRecord } from '../store/index.ts';
import { storyOf } from './audit-source.ts';
import { type Context, outputOf } from './context.ts';
import { credentialJson, credentialLines, credentialNames } from './credentials.ts';
import { howItEnded, shortDigest, subject } from './event-subjects.ts';
import { withRun } from './local.ts';
import { modelText } from './models-text.ts';
import { observedLines, observedOf } from './observed.ts';
import type { Output, OutputOptions } from './output.ts';
import type { RunStory, StoryCommand } from './run-story.ts';
import { markedStatus } from './run-summary.ts';
import { runJson, stateOf } from './run-view.ts';

/** Lines of a list before it is cut, with the verb that shows all of it. */
const SHOWN = 12;

export interface ShowOptions extends OutputOptions {
  readonly observe?: boolean;
}

export async function show(context: Context, id: string, options: ShowOptions): Promise<void> {
  const out = outputOf(context, options);
  await withRun(context, id, async (run, { paths }) => {
    const story = await storyOf(paths, run);
    const observed = options.observe === true ? await observedOf(paths, run) : null;
    if (out.json) {
      out.document({ ...(runJson(run) as object), story: storyJson(story), ...(observed && { observed }) });
      return;
    }
    out.line(
      ...heading(run, story, out),
      ...credentialLines(story, out),
      ...refusals(story, out),
      ...(observed === null ? [] : observedLines(observed, out)),
      ...commandList(run, story, out),
      ...fileList(run, story, out),
    );
    out.line(...enforcement(story, out), ...record(run, story, out));
  });
}

function heading(run: RunRecord, story: RunStory, out: Output): string[] {
  const request = run.request as unknown as RunRequest;
  const result = run.result as unknown as RunResult | null;
  const { bold, dim } = out.style;
  const why = result?.stopReason ?? story.stopped?.outcome.reason ?? '';
  const rows: [string, string][] = [
    ['requested by', safeText(run.requester)],
    [
      'when',
      `${new Date(run.created).toISOString()}${result === null ? '' : `, took ${formatDuration(result.usage.wallMs)}`}`,
    ],
    ['repository', `${safeText(run.repository)} at ${run.base?.slice(0, 12) ?? 'an unknown commit'}`],
    ...(request.task === null ? [] : [['task', safeText(request.task)] as [string, string]]),
    ...(request.context ?? []).map((part): [string, string] => ['with', safeText(`${originOf(part)}, as data`)]),
    ['agent', safeText(shellLine(agentWords(request.agent)))],
    ['model', modelText(story, request.model ?? null)],
    ...(result?.agent == null ? [] : [['said', safeText(result.agent.summary)] as [string, string]]),
    ['credentials', credentialNames(story, out)],
    ...resumptionRows(run, request),
    ['policy', policyText(run, story)],
    ...packagesRow(story, out),
    ['delivered', delivered(run)],
  ];
  return [
    `${bold(run.id)}  ${markedStatus(stateOf(run), out)} ${safeText(why)}`,
    ...columns(rows.map(([name, value]) => [dim(name), value])),
  ];
}

/** Where the work of a lost run comes from, and how it goes on. */
function resumptionRows(run: RunRecord, { resumes, agent, record }: RunRequest): [string, string][] {
  const lost = stateOf(run) === 'lost' && agent.kind === 'builtin' && record;
  return [
    ...(resumes === undefined ? [] : [['goes on from', resumes] as [string, string]]),
    ...(lost ? [['to go on', `cordon runs resume ${run.id}`] as [string, string]] : []),
  ];
}

function packagesRow({ dependencies, downloaded, mismatched }: RunStory, out: Output): [string, string][] {
  if (dependencies === null && downloaded.length === 0 && mismatched.length === 0) return [];
  const count = dependencies?.resource.count ?? downloaded.length;
  const cut = mismatched.length === 0 ? '' : out.style.red(`, ${mismatched.length} cut: not what the index says`);
  return [['packages', `${count} recorded${cut}`]];
}

function policyText(run: RunRecord, story: RunStory): string {
  const layers = story.policy?.resource.layers.map((layer) => safeText(layer.file)).join(' + ') ?? '';
  return (
    [layers, run.policyDigest === null ? '' : shortDigest(run.policyDigest)].filter(Boolean).join(' = ') || 'not loaded'
  );
}

function delivered(run: RunRecord): string {
  if (run.branch !== null && run.head !== null) return `branch ${safeText(run.branch)} at ${run.head.slice(0, 12)}`;
  return run.head === null ? 'nothing' : `commit ${run.head.slice(0, 12)}`;
}

/** Every denial with the rule that determined it; the same one again is counted, not repeated. */
export function refusals(story: RunStory, out: Output): string[] {
  if (story.refused.length === 0) return [];
  const seen = new Map<string, { readonly lines: readonly string[]; count: number }>();
  for (const event of story.refused) {
    const { rules = [], reason = '' } = event.decision ?? {};
    const why = rules.length === 0 ? [safeText(reason)] : rules.map((rule) => `rule ${safeText(rule)}`);
    const lines = [safeText(`${event.action ?? event.type} ${what(event)}`), ...why];
    const known = seen.get(lines.join('\n'));
    if (known === undefined) seen.set(lines.join('\n'), { lines, count: 1 });
    else known.count++;
  }
  const { bold, dim, red } = out.style;
  const shown = [...seen.values()].map(({ lines: [action = '', ...why], count }) => [
    `  ${red('✗')} ${action}${count > 1 ? dim(` × ${count}`) : ''}`,
    ...why.map((line) => `    ${dim(clip(line, out.width - 4))}`),
  ]);
  return ['', bold(`Denied (${story.refused.length})`), ...shown.flat()];
}

/** What was decided upon, without the outcome: that it was denied is said already. */
function what(event: AuditEvent): string {
  return event.type === 'git.decided' ? `${event.resource.ref} (${event.resource.kind})` : subject(event);
}

function commandList(run: RunRecord, story: RunStory, out: Output): string[] {
  if (story.commands.length === 0) return [];
  const lines = commandLines(story.commands.slice(0, SHOWN), out);
  const rest = story.commands.length - SHOWN;
  return [
    '',
    out.style.bold(`Commands (${story.commands.length})`),
    ...lines,
    ...(rest > 0 ? [out.style.dim(`  … ${rest} more: cordon runs commands ${run.id}`)] : []),
    ...(story.recordsLost > 0
      ? [out.style.red(`  ${counted(story.recordsLost, 'record')} lost: this list is not complete`)]
      : []),
  ];
}

/** One line a program: how long, how it ended, and what it was, indented under what started it. */
export function commandLines(list: readonly StoryCommand[], out: Output): string[] {
  const depths = new Map<number, number>();
  const rows = list.map(({ started, exited }) => {
    const { id, parent, argv, argvCut } = started.resource;
    const depth = (depths.get(parent) ?? -1) + 1;
    depths.set(id, depth);
    const ending = exited === undefined ? 'no end' : shortEnding(exited.outcome.how);
    const took = exited === undefined ? '' : formatDuration(exited.outcome.durationMs);
    const indent = '  '.repeat(Math.min(depth, 12));
    return [
      `  ${out.style.dim(took.padStart(9))}`,
      ending,
      `${indent}${safeText(shellLine(argv))}${argvCut ? ' …' : ''}`,
    ];
  });
  return columns(rows);
}

function shortEnding(how: Parameters<typeof howItEnded>[0]): string {
  return how.kind === 'replaced' ? '→' : how.kind === 'signalled' ? `signal ${how.signal}` : howItEnded(how);
}

function fileList(run: RunRecord, story: RunStory, out: Output): string[] {
  if (story.files.length === 0) return [];
  const { bold, dim, green, red, yellow } = out.style;
  const marks = { added: green('+'), modified: yellow('~'), deleted: red('-') };
  const rest = story.files.length - SHOWN;
  return [
    '',
    bold(`Changed files (${story.files.length})`),
    ...story.files.slice(0, SHOWN).map(({ resource }) => `  ${marks[resource.change]} ${safeText(resource.path)}`),
    ...(rest > 0 ? [dim(`  … ${rest} more: cordon runs diff --stat ${run.id}`)] : []),
  ];
}

function enforcement(story: RunStory, out: Output): string[] {
  if (story.started === null) return [];
  const { bold, dim } = out.style;
  const rows = story.started.resource.controls.map(({ name, state, mechanism }) => [
    `  ${safeText(name)}`,
    state === 'enforced' ? '' : safeText(state),
    dim(safeText(mechanism)),
  ]);
  const limits = story.limits.map(
    ({ resource }) => `  ${out.style.red('reached')} ${safeText(`${resource.limit}: ${resource.detail}`)}`,
  );
  return ['', bold('Enforced by'), ...columns(rows), ...limits];
}

function record(run: RunRecord, story: RunStory, out: Output): string[] {
  const { dim } = out.style;
  if (story.firstSeq === null) return ['', dim('the audit log has nothing of this run')];
  return ['', dim(`audit log: events ${story.firstSeq} to ${story.lastSeq} · cordon audit show --run ${run.id}`)];
}

function storyJson(story: RunStory): unknown {
  return {
    commands: story.commands.map(({ started, exited }) => ({
      ...started.resource,
      ...(exited === undefined ? {} : { ...exited.resource, ...exited.outcome }),
    })),
    denied: story.refused.map((event) => ({
      action: event.action,
      resource: event.resource,
      decision: event.decision,
    })),
    credentials: story.credentials.map(credentialJson),
    secretsRefused: story.secretsRefused.map(({ resource, decision }) => ({ ...resource, decision })),
    files: story.files.map((event) => event.resource),
    controls: story.started?.resource.controls ?? [],
    limits: story.limits.map((event) => event.resource),
    packages: story.downloaded.map((event) => event.resource),
    packagesCut: story.mismatched.map((event) => event.resource),
    sbom: story.dependencies === null ? null : story.dependencies.resource.sbom,
    recordsLost: story.recordsLost,
  };
}

export async function commands(context: Context, id: string, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  await withRun(context, id, async (run, { paths }) => {
    const story = await storyOf(paths, run);
    if (out.json) {
      for (const one of (storyJson(story) as { commands: unknown[] }).commands) out.jsonLine(one);
      return;
    }
    out.line(...commandLines(story.commands, out));
    if (story.recordsLost > 0)
      out.line(out.style.red(`${counted(story.recordsLost, 'record')} lost: this list is not complete`));
  });
}
