import { counted } from '../base/counted.ts';
import type { Problem } from '../base/errors.ts';
import { durationText } from './amounts.ts';
import type { Decision, RuleRef } from './decision.ts';
import { matchPackage, type PackageName, type PackagePattern } from './packages.ts';
import { cite, type Layer, refText, valuesOf } from './rule.ts';

/**
 * What `dependencies` says, of all layers: more hosts are looked at, the greater age holds, every list of what is allowed
 * must have a name, one denial is enough. The judgement is made where a package is asked for: it is part of the decision
 * on that `net.request`.
 */
export interface DependencyRules {
  /** Hosts whose traffic is read for packages: those that any layer names. */
  readonly inspected: readonly string[];
  /** The line that names them; null where none does. */
  readonly rule: RuleRef | null;
  /** Hosts that a lock file may name: those on which all layers with a list agree. Null: no layer has one. */
  readonly registries: readonly string[] | null;
  readonly minimumAge: { readonly ms: number; readonly rule: RuleRef } | null;
  readonly allow: readonly { readonly rule: RuleRef; readonly patterns: readonly PackagePattern[] }[];
  readonly deny: readonly { readonly rule: RuleRef; readonly pattern: PackagePattern }[];
  /** A lock file may name only what this run's gateway has seen. Null where no layer asks for that. */
  readonly recorded: RuleRef | null;
}

export function combineDependencies(layers: readonly Layer[]): DependencyRules {
  const stated = layers.flatMap((layer) => {
    const value = valuesOf(layer).dependencies;
    return value === undefined ? [] : [{ layer, value }];
  });
  const lists = stated.flatMap(({ value }) => (value.registries === undefined ? [] : [value.registries]));
  const ages = stated.flatMap(({ layer, value: { minimum_age: ms } }) =>
    ms === undefined ? [] : [{ ms, rule: citing(layer, 'minimum_age', durationText(ms)) }],
  );
  const first = stated.find(({ value }) => (value.registries ?? []).length > 0);
  const recorded = stated.find(({ value }) => value.recorded === true);
  return {
    inspected: [...new Set(lists.flat())],
    rule: first === undefined ? null : citing(first.layer, 'registries', (first.value.registries ?? []).join(', ')),
    registries:
      lists.length === 0 ? null : [...new Set(lists[0])].filter((host) => lists.every((l) => l.includes(host))),
    minimumAge: ages.sort((a, b) => b.ms - a.ms)[0] ?? null,
    allow: stated.flatMap(({ layer, value: { allow: patterns } }) =>
      patterns === undefined ? [] : [{ patterns, rule: citing(layer, 'allow', brief(patterns)) }],
    ),
    deny: stated.flatMap(({ layer, value }) =>
      (value.deny ?? []).map((pattern, i) => ({
        pattern,
        rule: cite(layer, ['dependencies', 'deny', i], `dependencies.deny: ${pattern.text}`, true),
      })),
    ),
    recorded: recorded === undefined ? null : citing(recorded.layer, 'recorded', 'true'),
  };
}

function citing(layer: Layer, key: string, text: string): RuleRef {
  return cite(layer, ['dependencies', key], `dependencies.${key}: ${text}`, true);
}

function brief(patterns: readonly PackagePattern[]): string {
  const texts = patterns.slice(0, 4).map((pattern) => pattern.text);
  return `[${texts.join(', ')}${patterns.length > texts.length ? `, … ${patterns.length} in all` : ''}]`;
}

/** The rules without the places where they stand: what the policy's digest covers. */
export function dependencyIdentity(rules: DependencyRules) {
  return {
    inspected: [...rules.inspected],
    registries: rules.registries,
    minimumAge: rules.minimumAge?.ms ?? null,
    allow: rules.allow.map(({ patterns }) => patterns.map((pattern) => pattern.text)),
    deny: rules.deny.map(({ pattern }) => pattern.text),
    recorded: rules.recorded !== null,
  };
}

/** Rules about packages, and no registry whose traffic could be held to them. */
export function idleDependencies(layers: readonly Layer[]): Problem[] {
  if (layers.some((layer) => (valuesOf(layer).dependencies?.registries ?? []).length > 0)) return [];
  return layers.flatMap((layer) => {
    const { dependencies } = valuesOf(layer);
    const key = (['minimum_age', 'allow', 'deny', 'recorded'] as const).find(
      (each) => dependencies?.[each] !== undefined,
    );
    if (key === undefined || layer.document === null) return [];
    return [
      {
        file: layer.file,
        ...layer.document.yaml.place(['dependencies', key], 'key'),
        message: `dependencies.${key} has no effect on what is installed: no registry is named`,
        remedy: 'name the hosts that packages come from: dependencies: {registries: [packages.acme.example]}',
      },
    ];
  });
}

/** A package that is asked for: its index (no version), or one file of it. */
export interface AskedPackage extends PackageName {
  readonly version: string | null;
}

/** Milliseconds since the epoch; or why it is not known. */
export type Published = { readonly at: number } | { readonly unknown: string };

/** Names and versions alone. Null: nothing stands against it. */
export function refusePackage(rules: DependencyRules, asked: AskedPackage): RefusedPackage | null {
  const denied = rules.deny.find(({ pattern }) => matchPackage(pattern, asked, asked.version, true));
  if (denied !== undefined)
    return { reason: `${nameOf(asked)} is denied by ${refText(denied.rule)}`, rule: denied.rule };
  for (const { rule, patterns } of rules.allow) {
    // Of a package that is allowed in one version, the index is needed to find it.
    const listed = patterns.some((pattern) =>
      matchPackage(asked.version === null ? { ...pattern, version: null } : pattern, asked, asked.version),
    );
    if (listed) continue;
    return {
      reason: `${nameOf(asked)} is not in the list of what may be installed (${refText(rule)})`,
      rule,
      remedy: `add to dependencies.allow in ${rule.file}: "${asked.ecosystem}:${asked.name}"`,
    };
  }
  return null;
}

/** The age alone; only asked where there is a `minimumAge`. */
export function refuseAge(
  rules: DependencyRules,
  asked: AskedPackage,
  published: Published,
  now: number,
): RefusedPackage | null {
  if (rules.minimumAge === null) return null;
  const { ms, rule } = rules.minimumAge;
  const wanted = `dependencies.minimum_age is ${durationText(ms)}`;
  if ('unknown' in published)
    return { reason: `when ${nameOf(asked)} was published is not known (${published.unknown}), and ${wanted}`, rule };
  const age = now - published.at;
  if (age >= ms) return null;
  const when = new Date(published.at).toISOString();
  return {
    reason: `${nameOf(asked)} was published ${age < 0 ? 'in the future' : `${roughly(age)} ago`} (${when}), and ${wanted}: it is old enough at ${new Date(published.at + ms).toISOString()}`,
    rule,
    remedy: 'install an older version, or wait',
  };
}

export interface RefusedPackage {
  readonly reason: string;
  readonly rule: RuleRef;
  readonly remedy?: string;
}

/** The decision on the request, with what the policy says of the package. */
export function withRefusal(decision: Decision, refused: RefusedPackage | null): Decision {
  if (refused === null) return decision;
  const { remedy: _, ask: __, ...rest } = decision;
  return {
    ...rest,
    effect: 'deny',
    rules: [refused.rule],
    reason: refused.reason,
    ...(refused.remedy === undefined ? {} : { remedy: refused.remedy }),
  };
}

function nameOf({ ecosystem, name, version }: AskedPackage): string {
  return version === null ? `${ecosystem}:${name}` : `${ecosystem}:${name}@${version}`;
}

/** Whole units, downwards: a package is never said to be older than it is. */
function roughly(ms: number): string {
  const units = [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
    ['second', 1000],
  ] as const;
  const [unit, size] = units.find(([, size]) => ms >= size) ?? (['second', 1000] as const);
  return counted(Math.floor(ms / size), unit);
}
