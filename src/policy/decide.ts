import { digest } from '../base/digest.ts';
import type { GitPushAction, PolicyAction } from './action.ts';
import { checkCanonical } from './canonical.ts';
import { ask, type Cedar, type CedarAnswer } from './cedar.ts';
import type { AskRequirement, AskTerms, Decision, RuleRef } from './decision.ts';
import type { EffectivePolicy, Slice } from './effective.ts';
import { refused } from './parsed.ts';
import { isWorkflowFile } from './push-rules.ts';
import { grantRemedy } from './remedy.ts';
import { type CompiledRule, refText } from './rule.ts';
import { resourceOf, subject, subjectJson } from './subject.ts';
import { defaultExpiry } from './tree-rules.ts';

/**
 * What the policy says of one action: pure, synchronous, a fraction of a millisecond. In this order:
 * what has no canonical form is denied; a rule that cannot be evaluated denies; a forbid of any layer denies;
 * without a permit on both sides (organisation's ceiling, and repository or request) it is denied; then asks ask.
 */
export function decide(policy: EffectivePolicy, action: PolicyAction): Decision {
  const subject = subjectJson(action);
  // A gateway asks the same of one policy thousands of times, and the answer is a function of the two.
  if (!/^(?:net|llm)\./.test(action.action) || !subject.canonical) return judgeAfresh(policy, action, subject);
  const known = remembered.get(policy) ?? new Map<string, Decision>();
  remembered.set(policy, known);
  const before = known.get(subject.json);
  if (before !== undefined) return before;
  const decision = judgeAfresh(policy, action, subject);
  // Whoever asks chooses the paths: what is kept stays small.
  if (known.size >= 1024) known.clear();
  known.set(subject.json, decision);
  return decision;
}

const remembered = new WeakMap<EffectivePolicy, Map<string, Decision>>();

function judgeAfresh(
  policy: EffectivePolicy,
  action: PolicyAction,
  { json, canonical }: ReturnType<typeof subjectJson>,
): Decision {
  const base = { policyDigest: policy.digest, subjectDigest: digest(json) };
  const odd = canonical ? checkCanonical(action) : refused(`${action.action} holds a value without meaning`);
  if (!odd.ok)
    return { ...base, effect: 'deny', rules: [], reason: `${odd.message}: what has no canonical form is denied` };
  const slice = policy.slices[action.action];
  const matched = match(slice, action);
  const answer = ask(slice.set, {
    action: action.action,
    resource: resourceOf(action),
    context: contextOf(slice, action, [...matched.keys()]),
  });
  return { ...base, ...judge({ policy, action, slice, matched, answer }) };
}

type Verdict = Omit<Decision, 'policyDigest' | 'subjectDigest'>;

interface Case {
  readonly policy: EffectivePolicy;
  readonly action: PolicyAction;
  readonly slice: Slice;
  /** Patterns that matched, with the value that did. */
  readonly matched: ReadonlyMap<string, string | undefined>;
  readonly answer: CedarAnswer;
}

function judge(c: Case): Verdict {
  const { answer, slice } = c;
  if (answer.failure !== undefined)
    return { effect: 'deny', rules: [], reason: `${subject(c.action)} could not be judged: ${answer.failure}` };
  // Cedar skips a policy that errors; were it a forbid, a permit would stand. Any error denies.
  if (answer.errors.length > 0) return evaluationError(c);
  // In the documents' order: the engine has none.
  const rules = [...slice.rules.values()].filter((rule) => answer.reasons.includes(rule.id));
  const forbids = rules.filter((rule) => rule.role === 'forbid');
  if (forbids.length > 0) return forbidden(c, forbids);
  const grants = answer.allow ? rules.filter((rule) => rule.role === 'permit' || rule.role === 'ask-grant') : [];
  const granted = grants.filter((rule) => rule.side === 'grant');
  const below = c.policy.ceiling === null || grants.some((rule) => rule.side === 'ceiling');
  if (granted.length === 0 || !below) return notPermitted(c, granted, below);
  const asks = rules.filter((rule) => rule.role === 'ask' || rule.role === 'ask-grant');
  if (asks.length > 0) return asking(c, asks);
  const refs = cited(c, grants);
  return { effect: 'permit', rules: refs, reason: `${subject(c.action)} is permitted by ${places(refs)}` };
}

function evaluationError(c: Case): Verdict {
  const failed = c.answer.errors.flatMap((error) => c.slice.rules.get(error.id)?.rule ?? []);
  const message = c.answer.errors[0]?.message.replace(/^.*?`[^`]*`:?\s*/, '') ?? '';
  return {
    effect: 'deny',
    rules: failed,
    reason: `${subject(c.action)} is denied: the rule at ${places(failed)} cannot be evaluated (${message})`,
  };
}

function forbidden(c: Case, forbids: readonly CompiledRule[]): Verdict {
  const refs = cited(c, forbids);
  const reason = `${subject(c.action)} is denied: ${becauses(c, forbids)} (${places(refs)})`;
  // A remedy only where one line opens it: a single forbid, not the organisation's, that says how.
  const [only, second] = forbids;
  const free =
    only !== undefined &&
    second === undefined &&
    only.rule.layer !== 'organisation' &&
    only.remedy !== undefined &&
    only.side === 'grant';
  if (!free) return { effect: 'deny', rules: refs, reason };
  return {
    effect: 'deny',
    rules: refs,
    reason,
    remedy: `write ${only.remedy} in ${only.rule.layer === 'repository' ? refText(only.rule) : c.policy.grantFile}`,
  };
}

function notPermitted(c: Case, granted: readonly CompiledRule[], below: boolean): Verdict {
  const { policy, action } = c;
  if (below || policy.ceiling === null) {
    return {
      effect: 'deny',
      rules: [],
      reason: `${subject(action)} is denied: no rule permits it`,
      ...optional('remedy', grantRemedy(action, policy.grantFile)),
    };
  }
  const line = policy.ceiling.cite(action.action);
  const who = granted.length === 0 ? '' : `, although ${places(cited(c, granted))} grants it`;
  return {
    effect: 'deny',
    rules: [line],
    reason: `${subject(action)} is denied by the organisation's ceiling, ${refText(line)}${who}`,
  };
}

function asking(c: Case, asks: readonly CompiledRule[]): Verdict {
  const refs = cited(c, asks);
  return {
    effect: 'ask',
    rules: refs,
    reason: `${subject(c.action)} asks first: ${becauses(c, asks)} (${places(refs)})`,
    ask: termsOf(asks),
  };
}

/** Every `approvals` entry that applies must be satisfied; the summary is what the strictest of all of them needs. */
function termsOf(asks: readonly CompiledRule[]): AskTerms {
  const requirements: AskRequirement[] = asks.flatMap((rule) => rule.approval ?? []);
  if (requirements.length === 0) requirements.push({ approvers: [], count: 1, expiresMs: defaultExpiry });
  return {
    approvers: [...new Set(requirements.flatMap((requirement) => requirement.approvers))],
    count: Math.max(...requirements.map((requirement) => requirement.count)),
    expiresMs: Math.min(...requirements.map((requirement) => requirement.expiresMs)),
    requirements,
  };
}

function optional<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: string });
}

/** The lines behind rules: the entries whose patterns matched, or the rule's own line. Each line once. */
function cited(c: Case, rules: readonly CompiledRule[]): RuleRef[] {
  const refs = new Map<string, RuleRef>();
  for (const rule of rules) {
    const entries = rule.entries.filter((entry) => c.matched.has(entry.pattern)).map((entry) => entry.rule);
    for (const ref of entries.length > 0 ? entries : [rule.rule]) refs.set(`${ref.file}:${ref.line}:${ref.text}`, ref);
  }
  return [...refs.values()];
}

function becauses(c: Case, rules: readonly CompiledRule[]): string {
  const reasons = rules.map((rule) => {
    const entry = rule.entries.find((each) => c.matched.has(each.pattern));
    return rule.why?.(c.action, entry === undefined ? undefined : c.matched.get(entry.pattern)) ?? rule.rule.text;
  });
  return [...new Set(reasons)].join('; ');
}

function places(refs: readonly RuleRef[]): string {
  const texts = [
    ...new Set(
      refs.map((ref) =>
        ref.line > 0 ? refText(ref) : ref.layer === 'built-in' ? `the built-in rule "${ref.text}"` : ref.text,
      ),
    ),
  ];
  return texts.length <= 3 ? texts.join(', ') : `${texts.slice(0, 3).join(', ')} and ${texts.length - 3} more`;
}

function match(slice: Slice, action: PolicyAction): Map<string, string | undefined> {
  const matched = new Map<string, string | undefined>();
  for (const pattern of slice.patterns) {
    const result = pattern.test(action);
    if (result !== false) matched.set(pattern.text, result === true ? undefined : result);
  }
  return matched;
}

function contextOf(slice: Slice, action: PolicyAction, matches: string[]): Cedar.Context {
  const { action: _name, ...values } = action;
  if (action.action !== 'git.push') return { ...values, matches } as Cedar.Context;
  const { head: _, dependencies, binaries, ...push } = values as Omit<GitPushAction, 'action'>;
  return {
    ...push,
    changedFiles: push.changedPaths.length,
    binaries: [...(binaries ?? [])],
    workflows: push.changedPaths.some(isWorkflowFile),
    dependencyOrigins: (dependencies?.origins ?? []).map(({ host }) => host),
    dependencyProblems: [...(dependencies?.problems ?? [])],
    unrecordedDependencies: [...(dependencies?.unrecorded ?? [])],
    authors: [...push.authors],
    changedPaths: slice.readsChangedPaths ? [...push.changedPaths] : [],
    testsPassed: push.testsPassed ?? false,
    matches,
  };
}
