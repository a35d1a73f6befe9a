import { safeText } from '../../base/term.ts';
import { type Decision, refText } from '../../policy/index.ts';
import type { Finding, PushInspection } from './checks.ts';

/** Findings named one by one; what is more is counted. */
const SHOWN = 12;

/**
 * What a developer reads whose push was refused: which rule, which commit, which file and line, how to ask.
 * Every line is printable. `remedy`: instead of the policy's; null: there is none.
 */
export function explainRefusal(
  inspection: PushInspection,
  decision: Decision | null,
  remedy?: string | null,
): string[] {
  const refusals = inspection.findings.filter((finding) => finding.severity === 'refuse');
  const lines = refusals.slice(0, SHOWN).map((finding) => `  ${placeOf(finding)}${finding.message}`);
  if (refusals.length > SHOWN) lines.push(`  and ${refusals.length - SHOWN} more`);
  if (decision !== null && decision.effect !== 'permit') {
    lines.push(`  ${decision.reason}`);
    for (const rule of decision.rules.slice(0, SHOWN)) lines.push(`    rule    ${refText(rule)}  ${rule.text}`);
    for (const finding of evidence(inspection, decision))
      lines.push(`    because ${placeOf(finding)}${finding.message}`);
  }
  const help = remedy === undefined ? decision?.remedy : remedy;
  if (help !== undefined && help !== null) lines.push(`  to ask: ${help}`);
  lines.push('  nothing of this push was taken');
  return lines.map(safeText);
}

/** `commit 1a2b3c4d5e6f src/config.ts:14: ` */
export function placeOf({ commit, path, line }: Finding): string {
  const file = path === null ? null : line === undefined ? path : `${path}:${line}`;
  const parts = [commit === null ? null : `commit ${commit.slice(0, 12)}`, file].filter((part) => part !== null);
  return parts.length === 0 ? '' : `${parts.join(' ')}: `;
}

/** What stands behind a decision: where the credentials are, and which commit first touched a path that it names. */
export function evidence(inspection: PushInspection, decision: Decision): Finding[] {
  const found = inspection.findings.filter((finding) => finding.severity === 'evidence');
  const ofRule = (start: string, about?: Finding['about']) =>
    decision.rules.some((rule) => rule.text.startsWith(start)) ? found.filter((each) => each.about === about) : [];
  const behind = [...ofRule('git.push.secrets'), ...ofRule('dependencies', 'dependencies')];
  const named: Finding[] = [];
  for (const [path, commit] of inspection.touched) {
    if (named.length >= SHOWN) break;
    if (decision.reason.includes(JSON.stringify(path)))
      named.push({ severity: 'evidence', path, commit, message: 'changed here' });
  }
  return [...behind.slice(0, SHOWN), ...named];
}
