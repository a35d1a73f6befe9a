import type { PolicyAction, PushDependencies, PushedPackage } from './action.ts';
import { matchPackage } from './packages.ts';
import { type CompiledRule, cite, type Layer, type RuleBook, valuesOf } from './rule.ts';
import type { Path } from './source.ts';

/** What the lock files of a push name: from where, which packages, and whether this run's gateway has seen them. */

type Find = (of: PushDependencies) => string | undefined;

export function compilePushDependencies(layer: Layer, book: RuleBook): void {
  const stated = valuesOf(layer).dependencies;
  if (stated === undefined) return;
  const { registries, allow, deny = [], recorded } = stated;
  const entries: CompiledRule['entries'][number][] = [];
  const add = (path: Path, text: string, name: string, find: Find) => {
    const rule = cite(layer, ['dependencies', ...path], `dependencies.${text}`, true);
    const pattern = `${name} (${layer.name})`; // no file: the same documents elsewhere have the same digest
    const test = (action: PolicyAction) =>
      (action.action === 'git.push' && action.dependencies !== undefined && find(action.dependencies)) || false;
    book.pattern('git.push', { text: pattern, test });
    entries.push({ pattern, rule });
  };
  if (registries !== undefined) {
    const text = `registries: ${JSON.stringify(registries)}`;
    add(['registries'], text, 'origin elsewhere', ({ origins }) => {
      const origin = origins.find(({ host }) => !registries.includes(host));
      return origin && `${origin.at} resolves to ${origin.host}`;
    });
    add(['registries'], text, 'unsound dependency', ({ problems }) => problems[0]);
  } else {
    const key = (['allow', 'deny', 'recorded'] as const).find((each) => stated[each] !== undefined);
    // Without a list of registries or names, lock files are not looked at.
    if (key !== undefined) add([key], `${key}`, 'unsound dependency', ({ problems }) => problems[0]);
  }
  deny.forEach((pattern, i) => {
    add(['deny', i], `deny: ${pattern.text}`, `denied package ${i}`, ({ packages }) =>
      sentence(packages.find((each) => matchPackage(pattern, each, each.version, true))),
    );
  });
  if (allow !== undefined) {
    const listed = (each: PushedPackage) => allow.some((pattern) => matchPackage(pattern, each, each.version));
    add(['allow'], 'allow', 'package that is not allowed', ({ packages }) =>
      sentence(packages.find((each) => !listed(each))),
    );
  }
  if (recorded === true) add(['recorded'], 'recorded: true', 'unrecorded package', ({ unrecorded }) => unrecorded[0]);
  if (entries.length === 0) return;
  book.add(layer, {
    action: 'git.push',
    role: 'forbid',
    rule: cite(layer, ['dependencies'], 'dependencies', true),
    entries,
    why: (_, what) => what ?? 'a dependency is not in order',
  });
}

function sentence(found: PushedPackage | undefined): string | undefined {
  return found && `${found.at} is ${found.ecosystem}:${found.name}@${found.version}, which may not be installed`;
}
