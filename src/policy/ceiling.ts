import type { Problem } from '../base/errors.ts';
import type { ActionName } from './action.ts';
import { durationText, sizeText } from './amounts.ts';
import type { RuleRef } from './decision.ts';
import { parseBranchGlob, parseShownGlob } from './git-refs.ts';
import { coversGlob } from './globs.ts';
import { coversHost } from './hosts.ts';
import { matchPackage } from './packages.ts';
import { type PushSwitch, pushDefaults } from './push-rules.ts';
import { cite, type Layer, refText, valuesOf } from './rule.ts';
import type { HostRule } from './schema.ts';
import { hostRuleText } from './short-forms.ts';
import type { Path } from './source.ts';
import { defaultBranches } from './tree-rules.ts';

/** The section of a document that speaks of an action: what to name when the ceiling does not reach it. */
const sections: Readonly<Record<ActionName, readonly string[]>> = {
  'run.start': ['rules'],
  'command.execute': ['security', 'allowed_commands'],
  'file.read': ['filesystem', 'checkout'],
  'file.write': ['filesystem', 'write'],
  'net.connect': ['security', 'allowed_network_hosts'],
  'net.request': ['security', 'allowed_network_hosts'],
  'git.fetch': ['git', 'fetch', 'refs'],
  'git.sign': ['git', 'push', 'authors'],
  'git.push': ['git', 'push', 'branches'],
  'llm.request': ['llm_policy'],
  'secret.use': ['secrets'],
  'tool.call': ['mcp_servers'],
  'forge.open_pull_request': ['rules'],
  'forge.comment': ['rules'],
};

/** The organisation's line on an action. Where its document is silent, the document as a whole is what is cited. */
export function citeCeiling(organisation: Layer, action: ActionName): RuleRef {
  const path = sections[action];
  let value: unknown = organisation.document?.value;
  for (const step of path)
    value = value === null || typeof value !== 'object' ? undefined : (value as Record<string, unknown>)[step];
  if (value === undefined)
    return { layer: 'organisation', file: organisation.file, line: 1, text: `${path.join('.')} is not set` };
  return cite(organisation, path, `${path.join('.')}: ${brief(value)}`, true);
}

function brief(value: unknown): string {
  const text =
    typeof value === 'string'
      ? value.trim()
      : Array.isArray(value)
        ? `${value.length} ${value.length === 1 ? 'entry' : 'entries'}`
        : '{…}';
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

/** What the repository grants and the organisation does not: no effect, and worth knowing. Both lines are named. */
export function aboveCeiling(organisation: Layer, repository: Layer): Problem[] {
  const check = new Comparison(organisation, repository);
  check.hosts();
  check.commands();
  check.branches();
  check.shownRefs();
  check.effects();
  check.amounts();
  check.named();
  check.dependencies();
  return check.problems;
}

const ORDER = { deny: 0, ask: 1, permit: 2 } as const;
const ISOLATION = ['namespace', 'gvisor', 'vm'];

class Comparison {
  readonly problems: Problem[] = [];
  readonly #organisation: Layer;
  readonly #repository: Layer;

  constructor(organisation: Layer, repository: Layer) {
    this.#organisation = organisation;
    this.#repository = repository;
  }

  #report(path: Path, what: string, limit: RuleRef): void {
    const yaml = this.#repository.document?.yaml;
    if (yaml === undefined) return;
    this.problems.push({
      file: this.#repository.file,
      ...yaml.place(path),
      message: `${what} is above the organisation's ceiling (${refText(limit)} ${limit.text}) and has no effect`,
      remedy: `remove it, or have ${this.#organisation.file} changed`,
    });
  }

  hosts(): void {
    const allowed = valuesOf(this.#organisation).security?.allowed_network_hosts ?? [];
    for (const [i, rule] of (valuesOf(this.#repository).security?.allowed_network_hosts ?? []).entries()) {
      if (allowed.some((outer) => coversRule(outer, rule))) continue;
      this.#report(
        ['security', 'allowed_network_hosts', i],
        hostRuleText(rule),
        citeCeiling(this.#organisation, 'net.connect'),
      );
    }
  }

  commands(): void {
    const allowed = valuesOf(this.#organisation).security?.allowed_commands;
    for (const [i, command] of (valuesOf(this.#repository).security?.allowed_commands ?? []).entries()) {
      if (allowed === undefined || allowed.some((outer) => outer.path === command.path)) continue;
      this.#report(
        ['security', 'allowed_commands', i],
        command.path,
        citeCeiling(this.#organisation, 'command.execute'),
      );
    }
  }

  branches(): void {
    const allowed = valuesOf(this.#organisation).git?.push?.branches ?? defaultBranches;
    const outer = allowed.flatMap((text) => readGlob(text));
    for (const [i, text] of (valuesOf(this.#repository).git?.push?.branches ?? []).entries()) {
      if (readGlob(text).every((inner) => outer.some((glob) => coversGlob(glob, inner)))) continue;
      this.#report(
        ['git', 'push', 'branches', i],
        `the branch pattern ${text}`,
        citeCeiling(this.#organisation, 'git.push'),
      );
    }
  }

  shownRefs(): void {
    const allowed = valuesOf(this.#organisation).git?.fetch?.refs ?? [];
    const outer = allowed.flatMap((text) => readGlob(text, parseShownGlob));
    for (const [i, text] of (valuesOf(this.#repository).git?.fetch?.refs ?? []).entries()) {
      if (readGlob(text, parseShownGlob).every((inner) => outer.some((glob) => coversGlob(glob, inner)))) continue;
      this.#report(
        ['git', 'fetch', 'refs', i],
        `the ref pattern ${text}`,
        citeCeiling(this.#organisation, 'git.fetch'),
      );
    }
  }

  effects(): void {
    for (const key of Object.keys(pushDefaults) as PushSwitch[]) {
      const wanted = valuesOf(this.#repository).git?.push?.[key];
      const stated = valuesOf(this.#organisation).git?.push?.[key];
      if (wanted === undefined || ORDER[wanted] <= ORDER[stated ?? pushDefaults[key]]) continue;
      const limit = cite(
        this.#organisation,
        ['git', 'push', key],
        `git.push.${key}: ${stated ?? pushDefaults[key]}`,
        stated !== undefined,
      );
      this.#report(['git', 'push', key], `git.push.${key}: ${wanted}`, limit);
    }
  }

  amounts(): void {
    const above = (
      path: readonly [string, ...string[]],
      wanted: unknown,
      stated: unknown,
      text: (value: number) => string,
    ) => {
      if (typeof wanted !== 'number' || typeof stated !== 'number' || wanted <= stated) return;
      this.#report(
        path,
        `${path.join('.')}: ${text(wanted)}`,
        cite(this.#organisation, path, `${path.join('.')}: ${text(stated)}`, true),
      );
    };
    const [mine, theirs] = [valuesOf(this.#repository), valuesOf(this.#organisation)];
    for (const key of ['memory', 'disk', 'output'] as const)
      above(['limits', key], mine.limits?.[key], theirs.limits?.[key], sizeText);
    for (const key of ['cpus', 'pids', 'inodes', 'open_files', 'wall_clock'] as const)
      above(['limits', key], mine.limits?.[key], theirs.limits?.[key], String);
    above(
      ['git', 'push', 'max_changed_lines'],
      mine.git?.push?.max_changed_lines,
      theirs.git?.push?.max_changed_lines,
      String,
    );
    above(
      ['git', 'push', 'max_changed_files'],
      mine.git?.push?.max_changed_files,
      theirs.git?.push?.max_changed_files,
      String,
    );
    above(['git', 'push', 'max_file_size'], mine.git?.push?.max_file_size, theirs.git?.push?.max_file_size, sizeText);
    const depth = (value: number | 'full' | undefined) => (value === 'full' ? Number.MAX_SAFE_INTEGER : value);
    above(['git', 'fetch', 'depth'], depth(mine.git?.fetch?.depth), depth(theirs.git?.fetch?.depth), (n) =>
      n === Number.MAX_SAFE_INTEGER ? 'full' : String(n),
    );
  }

  /** What is compared by name: secrets, providers, driver, isolation, what happens when a record is lost. */
  named(): void {
    const [mine, theirs] = [valuesOf(this.#repository), valuesOf(this.#organisation)];
    for (const [i, secret] of (mine.secrets ?? []).entries()) {
      const { name, use } = secret;
      if (theirs.secrets?.some((other) => other.name === name && other.use.host === use.host)) continue;
      this.#report(
        ['secrets', i],
        `the secret ${name} for ${use.host ?? 'the sandbox'}`,
        citeCeiling(this.#organisation, 'secret.use'),
      );
    }
    for (const [i, provider] of (mine.llm_policy?.allowed_providers ?? []).entries()) {
      if (theirs.llm_policy?.allowed_providers?.includes(provider)) continue;
      this.#report(
        ['llm_policy', 'allowed_providers', i],
        `the provider ${provider}`,
        citeCeiling(this.#organisation, 'llm.request'),
      );
    }
    const [wanted, stated] = [mine.sandbox, theirs.sandbox];
    const limit = (key: string, value: string) =>
      cite(this.#organisation, ['sandbox', key], `sandbox.${key}: ${value}`, true);
    if (wanted?.driver !== undefined && stated?.driver !== undefined && wanted.driver !== stated.driver) {
      this.#report(['sandbox', 'driver'], `sandbox.driver: ${wanted.driver}`, limit('driver', stated.driver));
    }
    if (
      wanted?.isolation !== undefined &&
      stated?.isolation !== undefined &&
      ISOLATION.indexOf(wanted.isolation) < ISOLATION.indexOf(stated.isolation)
    ) {
      this.#report(
        ['sandbox', 'isolation'],
        `sandbox.isolation: ${wanted.isolation}`,
        limit('isolation', stated.isolation),
      );
    }
  }

  /** Where the organisation lists nothing, the repository's own word stands. */
  dependencies(): void {
    const [mine, theirs] = [valuesOf(this.#repository).dependencies, valuesOf(this.#organisation).dependencies];
    const limit = (key: 'registries' | 'allow' | 'minimum_age', text: string) =>
      cite(this.#organisation, ['dependencies', key], `dependencies.${key}: ${text}`, true);
    for (const [i, host] of (mine?.registries ?? []).entries()) {
      if (theirs?.registries === undefined || theirs.registries.includes(host)) continue;
      this.#report(
        ['dependencies', 'registries', i],
        `the registry ${host}`,
        limit('registries', theirs.registries.join(', ')),
      );
    }
    for (const [i, { text, ecosystem, name, version }] of (mine?.allow ?? []).entries()) {
      if (theirs?.allow === undefined || /[*?]/.test(name)) continue;
      const covered = (['npm', 'pypi'] as const).some(
        (each) =>
          (ecosystem ?? each) === each &&
          theirs.allow?.some((outer) =>
            matchPackage(version === null ? { ...outer, version: null } : outer, { ecosystem: each, name }, version),
          ),
      );
      if (!covered)
        this.#report(
          ['dependencies', 'allow', i],
          `the package ${text}`,
          limit('allow', `${theirs.allow.length} entries`),
        );
    }
    if (mine?.minimum_age !== undefined && mine.minimum_age < (theirs?.minimum_age ?? 0)) {
      const stated = limit('minimum_age', durationText(theirs?.minimum_age ?? 0));
      this.#report(
        ['dependencies', 'minimum_age'],
        `dependencies.minimum_age: ${durationText(mine.minimum_age)}`,
        stated,
      );
    }
  }
}

function readGlob(text: string, parse: typeof parseBranchGlob = parseBranchGlob) {
  const glob = parse(text);
  return glob.ok ? [glob.value] : [];
}

function coversRule(outer: HostRule, inner: HostRule): boolean {
  const methods =
    outer.methods === null || (inner.methods?.every((method) => outer.methods?.includes(method)) ?? false);
  const paths = outer.paths === null || (inner.paths?.every((path) => outer.paths?.includes(path)) ?? false);
  const beyond =
    (inner.private === true && outer.private !== true) || (inner.websocket === true && outer.websocket !== true);
  return coversHost(outer.pattern, inner.pattern) && methods && paths && !beyond;
}
