/** Whether a replayed run did what the recorded one did. Pure. */
import type { ReplayedApproval } from './answers.ts';
import { alteredWords, type CommandDifference, compareCommands, type RanCommand } from './commands.ts';
import type { OtherBody, Step } from './tape.ts';
import type { Altered, Renaming } from './volatile.ts';

export interface ChangedPath {
  readonly path: string;
  readonly change: string;
  /** SHA-256 of the content; null where there is none. */
  readonly after: string | null;
}

/** One run, as its record tells it. */
export interface RunTrace {
  readonly run: string;
  readonly status: string;
  readonly commands: readonly RanCommand[];
  /** Null when the list was deleted. */
  readonly changes: readonly ChangedPath[] | null;
  readonly policyDigest: string;
  readonly toolboxDigest: string | null;
  /** Name, version and digest of the agent's program; null for a command. */
  readonly agent: string | null;
}

export type Verdict = 'exact' | 'tree-equal' | 'diverged';
export type DivergenceClass = 'agent' | 'environment' | 'policy' | 'recording missing' | 'content deleted';

export interface Divergence {
  readonly class: DivergenceClass;
  /** `request 3 to the model, message 2, content line 7`, `command 7`, `file src/a.ts`, `agent`, `policy`, `toolbox`, `end`. */
  readonly at: string;
  readonly expected: string;
  readonly actual: string;
}

export interface Comparison {
  readonly verdict: Verdict;
  /** Where the two first differ, and everything else that does; empty when nothing does. */
  readonly divergences: readonly Divergence[];
  /** What was taken for the same though it reads otherwise: times, names that the run draws. */
  readonly altered: readonly Altered[];
  /** Commands that the agent's own program started in another order. */
  readonly reordered: number;
  /** Commands that had no end of their own in one of the two runs, or whose end nobody saw. */
  readonly unseen: number;
  /** Commands of the recorded run that its agent started for its own use: they are not compared. */
  readonly aside: number;
}

export interface Played {
  readonly steps: readonly Step[];
  readonly missing: readonly string[];
  /** Answers of hosts that were found by their address alone. */
  readonly otherBodies: readonly OtherBody[];
  /** Recorded questions that were not asked. */
  readonly unasked: number;
  readonly renaming: Renaming;
  /** What the agent draws anew at each start. */
  readonly drawn: readonly RegExp[];
  /** Command lines that the agent starts for its own use. */
  readonly aside: readonly RegExp[];
  readonly approvals: readonly ReplayedApproval[];
}

export function compareRuns(before: RunTrace, after: RunTrace, played: Played): Comparison {
  const { drawn, renaming, aside } = played;
  const own = { before: { own: [before.run], drawn }, after: { own: [after.run], drawn } };
  const commands = compareCommands(before.commands, after.commands, own, aside);
  alteredWords(before.commands, after.commands, own, renaming);
  const tree = treeDifferences(before, after);
  const others = [
    ...surroundings(before, after),
    ...played.missing.slice(0, 10).map((request) => missing(request)),
    ...played.otherBodies
      .slice(0, 10)
      .map((one) => difference('agent', `${one.request}, body`, one.expected, one.actual)),
    ...played.steps.flatMap(stepDifference),
    ...played.approvals.flatMap(approvalDifference),
    ...(played.unasked > 0 ? [difference('agent', 'requests to the model', `${played.unasked} more`, 'none')] : []),
    ...(commands.difference === null ? [] : [commandDifference(commands.difference)]),
    ...(before.status === after.status ? [] : [difference('agent', 'end', before.status, after.status)]),
  ];
  const same = others.length === 0 ? 'exact' : 'tree-equal';
  return {
    verdict: tree.length > 0 ? 'diverged' : same,
    divergences: [...others, ...tree],
    altered: renaming.altered,
    reordered: commands.reordered,
    unseen: commands.unseen,
    aside: commands.aside,
  };
}

function difference(kind: DivergenceClass, at: string, expected: string, actual: string): Divergence {
  return { class: kind, at, ...fromDifference(expected, actual) };
}

/** Of two long texts, so much of their beginning, and what there is from shortly before the place where they part. */
function fromDifference(expected: string, actual: string, beginning = 0) {
  let same = 0;
  while (same < expected.length && expected[same] === actual[same]) same++;
  const from = same - 60;
  if (from <= beginning + 60) return { expected, actual };
  const shown = (text: string) => `${text.slice(0, beginning)}…${text.slice(from)}`;
  return { expected: shown(expected), actual: shown(actual) };
}

function missing(request: string): Divergence {
  return difference('recording missing', request, 'an answer that was recorded', 'none: refused, nothing goes online');
}

function surroundings(before: RunTrace, after: RunTrace): Divergence[] {
  const found: Divergence[] = [];
  if (before.policyDigest !== after.policyDigest)
    found.push(difference('policy', 'policy', before.policyDigest, after.policyDigest));
  if (before.toolboxDigest !== after.toolboxDigest)
    found.push(difference('environment', 'toolbox', String(before.toolboxDigest), String(after.toolboxDigest)));
  if (before.agent !== after.agent) found.push(difference('agent', 'agent', String(before.agent), String(after.agent)));
  return found;
}

function stepDifference({ step, fit, difference: what }: Step): Divergence[] {
  const at = `request ${step} to the model`;
  if (fit === 'missing') return [missing(at)];
  if (what === null) return [];
  return [difference('agent', `${at}, ${what.at}`, what.expected, what.actual)];
}

/** What was answered then and not asked now is no difference by itself: a replay delivers nothing, and so is not asked for that. */
function approvalDifference({ question, recorded, now }: ReplayedApproval): Divergence[] {
  if (recorded !== null || now === null) return [];
  return [difference('recording missing', `approval of ${question}`, 'an answer that was recorded', 'none: denied')];
}

function commandDifference({ command, expected, actual }: CommandDifference): Divergence {
  // What was run, and for whom, is said at its beginning.
  return { class: 'agent', at: `command ${command}`, ...fromDifference(expected, actual, 120) };
}

function treeDifferences(before: RunTrace, after: RunTrace): Divergence[] {
  if (before.changes === null || after.changes === null)
    return [difference('content deleted', 'files', 'the list of what changed', 'it was deleted by retention')];
  const text = ({ change, after: digest }: ChangedPath) => `${change} ${digest?.slice(0, 16) ?? ''}`.trim();
  const left = new Map(before.changes.map((change) => [change.path, text(change)]));
  const right = new Map(after.changes.map((change) => [change.path, text(change)]));
  return [...new Set([...left.keys(), ...right.keys()])]
    .sort()
    .filter((path) => path !== '.git' && left.get(path) !== right.get(path))
    .slice(0, 50)
    .map((path) => difference('agent', `file ${path}`, left.get(path) ?? 'unchanged', right.get(path) ?? 'unchanged'));
}
