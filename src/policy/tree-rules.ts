import type { ActionName, GitPushAction, PolicyAction } from './action.ts';
import { durationText, sizeText } from './amounts.ts';
import type { Effect, RuleRef } from './decision.ts';
import { parseBranchGlob } from './git-refs.ts';
import type { Glob } from './globs.ts';
import { matchGlob, matchSegment } from './globs.ts';
import { shown } from './parsed.ts';
import { matchPath, matchPathFolded, parsePathGlob } from './paths.ts';
import { compilePushContent, pushDefaults } from './push-rules.ts';
import {
  BUILT_IN,
  type CompiledRule,
  cite,
  is,
  type Layer,
  matchesAny,
  moreThan,
  type RuleBook,
  valuesOf,
} from './rule.ts';

/** `filesystem` and `git`: what may be read and written, and what a push may be. */
export const defaultBranches = ['cordon/**'] as const;
/** Always asks, whatever a document lists: whoever changes these changes what the next run may do. */
export const ownFolder = '.cordon/**';

export function compileTree(layer: Layer, book: RuleBook): void {
  compileFiles(layer, book);
  compileBranches(layer, book);
  compileEffects(layer, book);
  compilePushLimits(layer, book);
  compileAuthors(layer, book);
  compilePushContent(layer, book);
}

/** What holds for every policy, once: no document can open it. */
export function compileAlways(layer: Layer, book: RuleBook): void {
  book.pattern('git.push', {
    text: 'other namespace',
    test: (action) => action.action === 'git.push' && !/^refs\/(heads|tags)\//.test(action.ref) && action.ref,
  });
  const text = 'only branches and tags are pushed';
  const rule: RuleRef = { layer: 'built-in', file: BUILT_IN, line: 0, text };
  book.add(layer, {
    action: 'git.push',
    role: 'forbid',
    rule,
    entries: [{ pattern: 'other namespace', rule }],
    why: (_, ref) => `${shown(ref ?? '')} is neither a branch nor a tag`,
  });
  protect(layer, book, [ownFolder], () => ({
    layer: 'built-in',
    file: BUILT_IN,
    line: 0,
    text: `a change in ${ownFolder} asks`,
  }));
}

function globs(texts: readonly string[], parse: typeof parsePathGlob): Glob[] {
  return texts.flatMap((text) => {
    const glob = parse(text);
    return glob.ok ? [glob.value] : [];
  });
}

function compileFiles(layer: Layer, book: RuleBook): void {
  const filesystem = valuesOf(layer).filesystem ?? {};
  for (const action of ['file.read', 'file.write'] as const) {
    book.add(layer, {
      action,
      role: 'permit',
      rule: cite(layer, [], `${action}: permitted in what is checked out`, false),
    });
  }
  if (filesystem.checkout !== undefined) {
    const rule = cite(
      layer,
      ['filesystem', 'checkout'],
      `filesystem.checkout: ${JSON.stringify(filesystem.checkout)}`,
      true,
    );
    confine(
      layer,
      book,
      ['file.read', 'file.write', 'git.push'],
      filesystem.checkout,
      rule,
      'is not in what is checked out',
    );
  }
  if (filesystem.write !== undefined) {
    const rule = cite(layer, ['filesystem', 'write'], `filesystem.write: ${JSON.stringify(filesystem.write)}`, true);
    confine(layer, book, ['file.write', 'git.push'], filesystem.write, rule, 'is outside of what may be written');
  }
  const list = filesystem.protect ?? [];
  protect(layer, book, list, (glob, i) =>
    cite(layer, ['filesystem', 'protect', i], `filesystem.protect: ${glob}`, true),
  );
}

function pathsOf(action: PolicyAction): readonly string[] {
  if (action.action === 'git.push') return action.changedPaths;
  return action.action === 'file.read' || action.action === 'file.write' ? [action.path] : [];
}

/** Forbids what touches any path that no glob of the list matches; an empty list matches none. */
export function confine(
  layer: Layer,
  book: RuleBook,
  actions: readonly ActionName[],
  list: readonly string[],
  rule: RuleRef,
  why: string,
): void {
  const allowed = globs(list, parsePathGlob);
  const text = `outside ${rule.text} (${layer.name})`;
  for (const action of actions) {
    book.pattern(action, {
      text,
      test: (a) => pathsOf(a).find((path) => !allowed.some((glob) => matchPath(glob, path))) ?? false,
    });
    book.add(layer, {
      action,
      role: 'forbid',
      rule,
      entries: [{ pattern: text, rule }],
      why: (_, path) => `${shown(path ?? '')} ${why}`,
    });
  }
}

function protect(
  layer: Layer,
  book: RuleBook,
  list: readonly string[],
  citing: (glob: string, index: number) => RuleRef,
): void {
  const entries = list.map((text, i) => {
    const [glob] = globs([text], parsePathGlob);
    book.pattern('git.push', {
      text: `protect ${text}`,
      test: (a) => (glob !== undefined && pathsOf(a).find((path) => matchPathFolded(glob, path))) ?? false,
    });
    return { pattern: `protect ${text}`, rule: citing(text, i) };
  });
  const first = entries[0];
  if (first === undefined) return;
  book.add(layer, {
    action: 'git.push',
    role: 'ask',
    rule: first.rule,
    entries,
    why: (_, path) => `it changes ${shown(path ?? '')}, which is protected`,
  });
}

function compileBranches(layer: Layer, book: RuleBook): void {
  const set = valuesOf(layer).git?.push?.branches;
  const entries = (set ?? defaultBranches).map((text, i) => {
    const [glob] = globs([text], parseBranchGlob);
    book.pattern('git.push', {
      text: `branch ${text}`,
      test: (a) => glob !== undefined && a.action === 'git.push' && matchGlob(glob, a.ref),
    });
    return {
      pattern: `branch ${text}`,
      rule: cite(layer, ['git', 'push', 'branches', i], `git.push.branches: ${text}`, set !== undefined),
    };
  });
  const first = entries[0];
  if (first !== undefined) book.add(layer, { action: 'git.push', role: 'permit', rule: first.rule, entries });
}

const switches = [
  { key: 'force', when: is('kind', 'force'), why: 'it is a force push' },
  { key: 'delete', when: is('kind', 'delete'), why: 'it deletes a branch or tag' },
  { key: 'tags', when: is('tag', true), why: 'it pushes a tag' },
  { key: 'secrets', when: is('secrets', true), why: 'what it pushes holds what looks like a secret' },
] as const;

function compileEffects(layer: Layer, book: RuleBook): void {
  const push = valuesOf(layer).git?.push ?? {};
  for (const { key, when, why } of switches) {
    const effect: Effect = push[key] ?? pushDefaults[key];
    const rule = cite(layer, ['git', 'push', key], `git.push.${key}: ${effect}`, push[key] !== undefined);
    const remedy = `git: {push: {${key}: ask}}`;
    if (key === 'tags' && effect !== 'deny') book.add(layer, { action: 'git.push', role: 'permit', rule, when });
    if (effect !== 'permit')
      book.add(layer, {
        action: 'git.push',
        role: effect === 'ask' ? 'ask' : 'forbid',
        rule,
        when,
        remedy,
        why: () => why,
      });
  }
}

function compilePushLimits(layer: Layer, book: RuleBook): void {
  const push = valuesOf(layer).git?.push ?? {};
  const forbid = (
    key: keyof typeof push,
    text: string,
    rest: Pick<CompiledRule, 'why' | 'remedy'> & { when: ReturnType<typeof is> },
  ) =>
    book.add(layer, {
      action: 'git.push',
      role: 'forbid',
      rule: cite(layer, ['git', 'push', key], `git.push.${key}: ${text}`, true),
      ...rest,
    });
  const { max_changed_lines: lines, max_file_size: size } = push;
  if (lines !== undefined) {
    forbid('max_changed_lines', String(lines), {
      when: moreThan('changedLines', lines),
      remedy: 'git: {push: {max_changed_lines: MORE}}',
      why: (a) => `it changes ${(a as GitPushAction).changedLines} lines, more than ${lines}`,
    });
  }
  if (size !== undefined) {
    forbid('max_file_size', sizeText(size), {
      when: moreThan('largestFile', size),
      remedy: 'git: {push: {max_file_size: MORE}}',
      why: (a) => `its largest file has ${(a as GitPushAction).largestFile} bytes, more than ${sizeText(size)}`,
    });
  }
  if (push.signed === 'required') {
    forbid('signed', 'required', {
      when: is('signed', false),
      remedy: 'git: {push: {signed: optional}}',
      why: () => 'not every commit of it is signed by this run (git commit -S; earlier ones: git rebase -S)',
    });
  }
}

function compileAuthors(layer: Layer, book: RuleBook): void {
  const list = valuesOf(layer).git?.push?.authors;
  if (list === undefined) {
    book.add(layer, {
      action: 'git.sign',
      role: 'permit',
      rule: cite(layer, [], 'git.sign: permitted by default', false),
    });
    return;
  }
  const known = list.map((glob) => glob.toLowerCase());
  const rule = cite(layer, ['git', 'push', 'authors'], `git.push.authors: ${JSON.stringify(list)}`, true);
  const stranger = (authors: readonly string[]) =>
    authors.find((author) => !known.some((glob) => matchSegment(glob, author)));
  const text = `other author than ${list.join(', ')}`;
  book.pattern('git.push', { text, test: (a) => (a.action === 'git.push' && stranger(a.authors)) ?? false });
  book.add(layer, {
    action: 'git.push',
    role: 'forbid',
    rule,
    entries: [{ pattern: text, rule }],
    why: (_, author) => `${shown(author ?? '')} is none of its authors`,
  });
  const own = `author ${list.join(', ')}`;
  book.pattern('git.sign', { text: own, test: (a) => a.action === 'git.sign' && stranger([a.author]) === undefined });
  if (list.length > 0) book.add(layer, { action: 'git.sign', role: 'permit', rule, entries: [{ pattern: own, rule }] });
}

/** The phrase of `approvals` that means the same paths as `filesystem.protect`. */
export const PROTECTED_PHRASE = 'changes protected paths';

/** `approvals` without a condition, or with the phrase; conditions in Cedar are compiled by raw.ts. */
export function compileApproval(layer: Layer, book: RuleBook, index: number, protectedGlobs: readonly string[]): void {
  const entry = valuesOf(layer).approvals?.[index];
  if (entry === undefined) return;
  const approval = { approvers: entry.approvers, count: entry.count ?? 1, expiresMs: entry.expires ?? defaultExpiry };
  const text = `approvals: ${entry.count ?? 1} of ${entry.approvers.join(', ')} within ${durationText(approval.expiresMs)}`;
  const rule = cite(layer, ['approvals', index], text, true);
  const when = entry.if === undefined ? undefined : matchesAny(protectedGlobs.map((glob) => `protect ${glob}`));
  book.add(layer, {
    action: entry.when,
    role: 'ask',
    rule,
    approval,
    ...(when === undefined ? {} : { when }),
    why: () => 'it needs an approval',
  });
}

/** Milliseconds an approval may be waited for when the policy names none. */
export const defaultExpiry = 4 * 3_600_000;
