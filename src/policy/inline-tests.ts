import type { Problem } from '../base/errors.ts';
import type { PolicyAction } from './action.ts';
import { readAction } from './action-input.ts';
import { closest } from './closest.ts';
import { decide } from './decide.ts';
import type { Decision, Effect } from './decision.ts';
import type { EffectivePolicy } from './effective.ts';
import { shown } from './parsed.ts';
import type { ParsedDocument } from './schema.ts';
import { subject } from './subject.ts';

/** A document's own `tests`: an action and what it must come to. They run at every load, so that an edit cannot open by accident. */
export interface InlineTest {
  readonly line: number;
  readonly column: number;
  readonly action: PolicyAction;
  readonly expect: Effect;
}

export interface TestResult extends InlineTest {
  readonly file: string;
  readonly decision: Decision;
  readonly passed: boolean;
}

const EFFECTS: readonly string[] = ['permit', 'deny', 'ask'];

export function readTests(document: ParsedDocument): { tests: readonly InlineTest[]; problems: readonly Problem[] } {
  const tests: InlineTest[] = [];
  const problems: Problem[] = [];
  for (const [i, entry] of (document.value.tests ?? []).entries()) {
    const { action: name, expect, ...fields } = entry;
    const place = document.yaml.place(['tests', i]);
    if (typeof expect !== 'string' || !EFFECTS.includes(expect)) {
      const near = typeof expect === 'string' ? closest(expect, EFFECTS) : undefined;
      problems.push({
        file: document.file,
        ...place,
        message: `tests: expect is ${shown(expect ?? null)}`,
        remedy: `write expect: ${near ?? 'permit, deny or ask'}`,
      });
    }
    const action = readAction(name, fields);
    if (!action.ok)
      problems.push({
        file: document.file,
        ...place,
        message: `tests: ${action.message}`,
        ...(action.remedy === undefined ? {} : { remedy: action.remedy }),
      });
    else tests.push({ ...place, action: action.value, expect: expect as Effect });
  }
  return { tests, problems };
}

export function runTests(
  document: ParsedDocument,
  tests: readonly InlineTest[],
  policy: EffectivePolicy,
): readonly TestResult[] {
  return tests.map((test) => {
    const decision = decide(policy, test.action);
    return { ...test, file: document.file, decision, passed: decision.effect === test.expect };
  });
}

export function testProblem(result: TestResult): Problem {
  const { decision } = result;
  return {
    file: result.file,
    line: result.line,
    column: result.column,
    message: `the test of ${subject(result.action)} expects ${result.expect}, but it comes to ${decision.effect}: ${decision.reason}`,
    remedy: 'change the rule or the test',
  };
}
