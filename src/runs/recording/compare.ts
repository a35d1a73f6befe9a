/** Whether a replayed run did what the recorded one did. Pure. */
import type { Step } from './tape.ts';
import { steady } from './volatile.ts';

export interface RanCommand {
  /** `id` of the image, and of the one that started it; 0 for the trusted side. */
  readonly id: number;
  readonly parent: number;
  readonly argv: readonly string[];
  /** `exit 0`, `signal 9`, … */
  readonly end: string;
}

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
}

export type Verdict = 'exact' | 'tree-equal' | 'diverged';
export type DivergenceClass = 'agent' | 'environment' | 'policy' | 'recording missing' | 'content deleted';

export interface Divergence {
  readonly class: DivergenceClass;
  /** `request 3 to the model`, `command 7`, `file src/a.ts`, `end`. */
  readonly at: string;
  readonly expected: string;
  readonly actual: string;
}

export interface Comparison {
  readonly verdict: Verdict;
  /** Where the two first differ, and everything else that does; empty when nothing does. */
  readonly divergences: readonly Divergence[];
}

export interface Played {
  readonly steps: readonly Step[];
  readonly missing: readonly string[];
  /** Recorded questions that were not asked. */
  readonly unasked: number;
}

export function compareRuns(before: RunTrace, after: RunTrace, played: Played): Comparison {
  const tree = treeDifferences(before, after);
  const others = [
    ...surroundings(before, after),
    ...played.missing.slice(0, 10).map((request) => missing(request)),
    ...played.steps.flatMap(stepDifference),
    ...(played.unasked > 0 ? [difference('agent', 'requests to the model', `${played.unasked} more`, 'none')] : []),
    ...commandDifferences(before, after),
    ...(before.status === after.status ? [] : [difference('agent', 'end', before.status, after.status)]),
  ];
  if (tree.length > 0) return { verdict: 'diverged', divergences: [...others, ...tree] };
  return { verdict: others.length === 0 ? 'exact' : 'tree-equal', divergences: others };
}

function difference(kind: DivergenceClass, at: string, expected: string, actual: string): Divergence {
  return { class: kind, at, expected, actual };
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
  return found;
}

function stepDifference({ step, fit, difference: what }: Step): Divergence[] {
  const at = `request ${step} to the model`;
  if (fit === 'missing') return [missing(at)];
  if (fit !== 'next' || what === null) return [];
  return [difference('agent', `${at}, part ${what.part}`, what.expected, what.actual)];
}

/** Commands of one parent in their order; those of different parents run beside each other and have none. */
function commandDifferences(before: RunTrace, after: RunTrace): Divergence[] {
  const expected = lines(before);
  const actual = lines(after);
  const longest = Math.max(expected.length, actual.length);
  for (let i = 0; i < longest; i++) {
    if (expected[i] === actual[i]) continue;
    return [difference('agent', `command ${i + 1}`, expected[i] ?? 'none', actual[i] ?? 'none')];
  }
  return [];
}

/** Every command, parents before children, each level by order of start. */
function lines({ commands, run }: RunTrace): string[] {
  const children = new Map<number, RanCommand[]>();
  for (const command of commands) children.set(command.parent, [...(children.get(command.parent) ?? []), command]);
  const out: string[] = [];
  const visit = (parent: number, depth: number) => {
    for (const command of children.get(parent) ?? []) {
      out.push(`${' '.repeat(depth)}${steady(command.argv.join(' '), [run])} (${command.end})`);
      visit(command.id, depth + 1);
    }
  };
  visit(0, 0);
  return out;
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
