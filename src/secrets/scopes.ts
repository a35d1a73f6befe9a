import * as z from 'zod';
import { UsageError } from '../base/errors.ts';
import { matchGlob, matchSegment, parseGlob } from '../policy/globs.ts';
import { canonicalHost, isAddress } from '../policy/hosts.ts';

/** Who may get a secret, and where it may be used. What is not there is not limited. */
export const scopesSchema = z.strictObject({
  /** Globs of repositories: of a local one its path, of a remote one `host/owner/name`. */
  repositories: z.array(z.string()).min(1).optional(),
  /** Names of agents, with `*`. */
  agents: z.array(z.string()).min(1).optional(),
  workflows: z.array(z.string()).min(1).optional(),
  environments: z.array(z.string()).min(1).optional(),
  /** `packages.acme.example`, `*.acme.example`. */
  hosts: z.array(z.string()).min(1).optional(),
});
export type Scopes = z.infer<typeof scopesSchema>;
export type ScopeName = keyof Scopes;
export const scopeNames = ['repositories', 'agents', 'workflows', 'environments', 'hosts'] as const;

/** What a run is, as far as scopes look at it. */
export interface RunFacts {
  readonly id: string;
  readonly repository: string;
  readonly agent: string;
  readonly workflow: string | null;
  readonly environment: string | null;
}

/** The scopes in the form in which they are kept. Throws `UsageError` for a pattern that nothing could match. */
export function checkScopes(scopes: Scopes): Scopes {
  const out: { -readonly [K in ScopeName]?: string[] } = {};
  for (const kind of scopeNames) {
    const patterns = scopes[kind];
    if (patterns === undefined) continue;
    out[kind] = [...new Set(patterns.map((pattern) => canonicalPattern(kind, pattern)))].sort();
  }
  return out;
}

function canonicalPattern(kind: ScopeName, pattern: string): string {
  if (kind === 'hosts') return canonicalHostPattern(pattern);
  const glob = parseGlob(kind === 'repositories' ? relative(pattern) : pattern);
  if (!glob.ok) throw new UsageError(glob.message, glob.remedy === undefined ? {} : { remedy: glob.remedy });
  if (kind !== 'repositories' && pattern.includes('/'))
    throw new UsageError(`"${pattern}" cannot be the name of one of the ${kind}: it has a slash`);
  return glob.value.text;
}

function canonicalHostPattern(pattern: string): string {
  const wildcard = pattern.startsWith('*.');
  const host = canonicalHost(wildcard ? pattern.slice(2) : pattern);
  if (!host.ok) {
    throw new UsageError(`${host.message} (a scope of a secret)`, {
      remedy: 'write a host such as packages.acme.example, or *.acme.example, without scheme, port and path',
    });
  }
  if (wildcard && (isAddress(host.value) || !host.value.includes('.')))
    throw new UsageError(`"${pattern}" is too broad for a secret`, { remedy: 'write *. before a domain of your own' });
  return wildcard ? `*.${host.value}` : host.value;
}

/** The first scope that leaves this use out, as a sentence's end; null when it is within all. `host` null: used inside. */
export function outOfScope(scopes: Scopes, run: RunFacts, host: string | null): string | null {
  const { repositories, hosts } = scopes;
  const within = {
    repositories: () => repositories?.some((pattern) => matchesRepository(pattern, run.repository)),
    agents: () => scopes.agents?.some((pattern) => matchSegment(pattern, run.agent)),
    workflows: () => scopes.workflows?.some((pattern) => run.workflow !== null && matchSegment(pattern, run.workflow)),
    environments: () =>
      scopes.environments?.some((pattern) => run.environment !== null && matchSegment(pattern, run.environment)),
    hosts: () => hosts?.some((pattern) => host !== null && matchesHost(pattern, host)),
  } satisfies Record<ScopeName, () => boolean | undefined>;
  const value = {
    repositories: `the repository ${run.repository}`,
    agents: `the agent ${run.agent}`,
    workflows: run.workflow === null ? 'a run of no workflow' : `the workflow ${run.workflow}`,
    environments: run.environment === null ? 'a run of no environment' : `the environment ${run.environment}`,
    hosts: host === null ? 'use inside the sandbox' : `the host ${host}`,
  };
  const failing = scopeNames.find((kind) => within[kind]() === false);
  return failing === undefined ? null : `${value[failing]}: its ${failing} are ${scopes[failing]?.join(', ')}`;
}

function matchesRepository(pattern: string, repository: string): boolean {
  const glob = parseGlob(pattern);
  return glob.ok && matchGlob(glob.value, relative(repository));
}

function matchesHost(pattern: string, host: string): boolean {
  return pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) && !isAddress(host) : pattern === host;
}

/** A local repository's path has a slash in front, which a glob has not. */
function relative(path: string): string {
  return path.replace(/^\/+|\/+$/g, '');
}
