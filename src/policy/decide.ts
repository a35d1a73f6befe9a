import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import type { GitPushAction, PolicyAction } from './action.ts';
import { ask, type Cedar, type CedarAnswer } from './cedar.ts';
import { resourceTypes } from './cedar-schema.ts';
import { canonicalCommandPath } from './commands.ts';
import type { AskRequirement, AskTerms, Decision, RuleRef } from './decision.ts';
import type { EffectivePolicy, Slice } from './effective.ts';
import { canonicalRef } from './git-refs.ts';
import { canonicalHost, isAddress } from './hosts.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';
import { canonicalPath } from './paths.ts';
import { grantRemedy } from './remedy.ts';
import { canonicalRequestPath } from './request-paths.ts';
import { type CompiledRule, refText } from './rule.ts';
import { defaultExpiry } from './tree-rules.ts';

/**
 * What the policy says of one action: pure, synchronous, a fraction of a millisecond. In this order:
 * what has no canonical form is denied; a rule that cannot be evaluated denies; a forbid of any layer denies;
 * without a permit on both sides (organisation's ceiling, and repository or request) it is denied; then asks ask.
 */
export function decide(policy: EffectivePolicy, action: PolicyAction): Decision {
  const subjectDigest = digest(subjectJson(action));
  const base = { policyDigest: policy.digest, subjectDigest };
  const odd = checkCanonical(action);
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

/** The action in a few words that name its value. */
export function subject(action: PolicyAction): string {
  switch (action.action) {
    case 'net.connect':
      return `net.connect to ${action.host}:${action.port}`;
    case 'net.request':
      return `${action.method} ${action.host}:${action.port}${action.path}`;
    case 'git.push':
      return `git.push to ${action.ref}`;
    default: {
      const id = resourceOf(action).id;
      return `${action.action} of ${/^[\x21-\x7e]+$/.test(id) ? id : shown(id)}`;
    }
  }
}

export function resourceOf(action: PolicyAction): { type: string; id: string } {
  return { type: resourceTypes[action.action], id: resourceId(action) };
}

function resourceId(action: PolicyAction): string {
  switch (action.action) {
    case 'run.start':
    case 'forge.open_pull_request':
    case 'forge.comment':
      return action.repository;
    case 'command.execute':
    case 'file.read':
    case 'file.write':
      return action.path;
    case 'net.connect':
    case 'net.request':
      return `${action.host}:${action.port}`;
    case 'git.fetch':
    case 'git.push':
      return action.ref;
    case 'git.sign':
      return action.author;
    case 'llm.request':
      return `${action.provider}/${action.model}`;
    case 'secret.use':
      return action.name;
    case 'tool.call':
      return `${action.server}/${action.tool}`;
  }
}

function contextOf(slice: Slice, action: PolicyAction, matches: string[]): Cedar.Context {
  const { action: _, ...values } = action;
  if (action.action !== 'git.push') return { ...values, matches } as Cedar.Context;
  const push = values as Omit<GitPushAction, 'action'>;
  return {
    ...push,
    authors: [...push.authors],
    changedPaths: slice.readsChangedPaths ? [...push.changedPaths] : [],
    testsPassed: push.testsPassed ?? false,
    matches,
  };
}

function subjectJson(action: PolicyAction): string {
  return canonicalJson(action as unknown as Json);
}

/** Callers hand over canonical values; what is not is denied here, so that no caller's mistake is a way through. */
function checkCanonical(action: PolicyAction): Parsed<unknown> {
  switch (action.action) {
    case 'net.connect':
    case 'net.request':
      return checkTarget(action);
    case 'git.push':
      return checkPush(action);
    case 'git.fetch':
      return canonicalRef(action.ref);
    case 'file.read':
    case 'file.write':
      return canonicalPath(action.path);
    case 'command.execute':
      return canonicalCommandPath(action.path);
    default:
      return parsed(undefined);
  }
}

const PLAIN_HOST = /^(?=.{1,253}$)(?:[a-z_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;

function checkTarget(action: PolicyAction & { host: string; port: number }): Parsed<unknown> {
  // Parsing a URL costs microseconds: plain names are known at sight (no xn--, no digits that could be an address).
  if (!PLAIN_HOST.test(action.host) || action.host.includes('xn--')) {
    const host = canonicalHost(action.host);
    if (!host.ok || host.value !== action.host)
      return refused(`the host ${shown(action.host)} is not in canonical form`);
    if (isAddress(host.value) && /^(0\.0\.0\.0|\[::\])$/.test(host.value))
      return refused(`${action.host} is no address of a host`);
  }
  if (!Number.isInteger(action.port) || action.port < 1 || action.port > 65_535)
    return refused(`${action.port} is no port`);
  if (action.action !== 'net.request') return parsed(undefined);
  const path = canonicalRequestPath(action.path);
  return path.ok && path.value !== action.path
    ? refused(`the request path ${shown(action.path)} is not in canonical form`)
    : path;
}

function checkPush(action: GitPushAction): Parsed<unknown> {
  const ref = canonicalRef(action.ref);
  if (!ref.ok) return ref;
  if (action.tag !== action.ref.startsWith('refs/tags/'))
    return refused(`the push to ${action.ref} is marked wrongly as ${action.tag ? 'a tag' : 'a branch'}`);
  for (const number of [action.changedLines, action.largestFile, action.commits]) {
    if (!Number.isSafeInteger(number) || number < 0) return refused(`${number} is no count`);
  }
  for (const path of action.changedPaths) {
    const result = canonicalPath(path);
    if (!result.ok) return result;
  }
  return parsed(undefined);
}
