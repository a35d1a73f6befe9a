import { counted } from '../../base/counted.ts';
import { formatDuration } from '../../base/duration.ts';
import type { Problem } from '../../base/errors.ts';
import { columns, type Palette, safeText } from '../../base/term.ts';
import type { PolicyDiff } from '../../policy/diff.ts';
import type { Explanation } from '../../policy/explain.ts';
import { type Decision, type EffectivePolicy, refText } from '../../policy/index.ts';
import type { TestResult } from '../../policy/inline-tests.ts';
import type { Risk } from '../../policy/risk.ts';

/** Text for people. Everything that comes from a document goes through `safeText`. */

function effectWord(effect: Decision['effect'], style: Palette): string {
  const paint = { permit: style.green, deny: style.red, ask: style.yellow }[effect];
  return style.bold(paint(effect));
}

function renderProblem(problem: Problem, style: Palette): string[] {
  const place = `${problem.file}:${problem.line}:${problem.column}`;
  return [
    `${style.bold(safeText(place))} ${safeText(problem.message)}`,
    ...(problem.remedy === undefined ? [] : [`  ${style.dim('→')} ${safeText(problem.remedy)}`]),
  ];
}

export function renderCheck(policy: EffectivePolicy, style: Palette): string[] {
  const layers =
    [...policy.layers]
      .reverse()
      .map((layer) => safeText(layer.file))
      .join(' under ') || 'the built-in default (no document)';
  return [
    ...policy.warnings.flatMap((warning) => renderProblem(warning, style)),
    policy.warnings.length === 0 ? style.green(`✓ ${layers}`) : `${layers}: ${policy.warnings.length} without effect`,
    style.dim(policy.digest),
    ...(policy.layers.length === 0
      ? [`  ${style.dim('→')} cordon init writes a .cordon/policy.yaml to begin with`]
      : []),
  ];
}

export function renderExplanation(explanation: Explanation, style: Palette): string[] {
  const { decision } = explanation;
  return [
    `${effectWord(decision.effect, style)}  ${safeText(decision.reason)}`,
    ...columns(decision.rules.map((rule) => [`  ${style.bold(safeText(refText(rule)))}`, safeText(rule.text)])),
    ...(decision.ask === undefined
      ? []
      : decision.ask.requirements.map(
          (r) =>
            `  ${r.count} of ${r.approvers.length === 0 ? 'anybody who may decide' : safeText(r.approvers.join(', '))} within ${formatDuration(r.expiresMs)}`,
        )),
    ...(decision.remedy === undefined ? [] : [`  ${style.dim('→ to permit it,')} ${safeText(decision.remedy)}`]),
    ...explanation.notes.map((note) => `  ${style.dim('note:')} ${safeText(note)}`),
  ];
}

export function renderTests(
  results: readonly TestResult[],
  subjectOf: (result: TestResult) => string,
  style: Palette,
): string[] {
  if (results.length === 0) return ['no tests; write some under `tests:`'];
  const failed = results.filter((result) => !result.passed);
  return [
    ...results.flatMap((result) => {
      const mark = result.passed ? style.green('✓') : style.red('✗');
      const line = `${mark} ${safeText(`${result.file}:${result.line}`)}  ${safeText(subjectOf(result))}: ${result.expect}`;
      return result.passed
        ? [line]
        : [line, `    ${effectWord(result.decision.effect, style)}  ${safeText(result.decision.reason)}`];
    }),
    '',
    failed.length === 0
      ? style.green(`${results.length} passed`)
      : style.red(`${failed.length} of ${results.length} failed`),
  ];
}

export function renderDiff(diff: PolicyDiff, style: Palette): string[] {
  const answers = (['permit', 'ask', 'deny'] as const).flatMap((effect) =>
    diff.answers[effect].length === 0
      ? []
      : [
          `${effectWord(effect, style)} now:`,
          ...diff.answers[effect].map((change) => {
            const times = change.times > 1 ? ` (${change.times} times)` : '';
            return `  ${safeText(change.subject)}${times}  ${style.dim(`was ${change.before.effect}; ${safeText(change.after.reason)}`)}`;
          }),
        ],
  );
  const lines = diff.lines.map((line) => {
    if (line.change === 'added')
      return style.green(`+ ${safeText(line.key)}${line.after === undefined ? '' : `: ${safeText(line.after)}`}`);
    if (line.change === 'removed')
      return style.red(`- ${safeText(line.key)}${line.before === undefined ? '' : `: ${safeText(line.before)}`}`);
    return style.yellow(`~ ${safeText(line.key)}: ${safeText(line.before ?? '')} → ${safeText(line.after ?? '')}`);
  });
  const compared = `${counted(diff.compared, 'action')} compared`;
  if (answers.length === 0 && lines.length === 0) return [`no difference (${compared})`];
  return [
    ...lines,
    ...(lines.length > 0 ? [''] : []),
    ...(answers.length > 0 ? answers : ['no action is answered differently']),
    style.dim(compared),
  ];
}

export function renderRisks(risks: readonly Risk[], style: Palette): string[] {
  const paint = { high: style.red, medium: style.yellow, low: style.dim };
  return risks.flatMap((risk) => [
    `${paint[risk.severity](risk.severity.padEnd(6))}  ${safeText(risk.sentence)}`,
    ...(risk.remedy === undefined ? [] : [`        ${style.dim(`→ ${safeText(risk.remedy)}`)}`]),
  ]);
}
