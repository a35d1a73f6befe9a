import { PolicyDeniedError, UsageError } from '../base/errors.ts';
import { type CommandPattern, parseCommandPath } from './commands.ts';
import type { RuleRef } from './decision.ts';
import { hostPatternText, parseHostPattern } from './hosts.ts';
import type { Limits } from './limits.ts';
import type { Parsed } from './parsed.ts';
import { parsePathGlob } from './paths.ts';
import { cite, type Layer, valuesOf } from './rule.ts';
import type { HostRule, PolicyDocument } from './schema.ts';

/** What whoever requests a run adds on the command line: SPEC's third layer. Texts as typed. */
export interface RequestGrants {
  readonly net?: readonly string[];
  readonly commands?: readonly string[];
  readonly secrets?: readonly string[];
  /** Base units; never above what a document says. */
  readonly limits?: Partial<Limits>;
  /** Globs of `--path`: they only narrow. */
  readonly paths?: readonly string[];
}

/** The same, parsed. */
export interface ParsedGrants {
  readonly hosts: readonly HostRule[];
  readonly commands: readonly CommandPattern[];
  readonly secrets: readonly string[];
  readonly limits: Partial<Limits>;
  readonly paths: readonly string[];
}

export type Grantable = 'net' | 'commands' | 'secrets' | 'limits';

/** Throws `UsageError` for what cannot be read. */
export function parseGrants(request: RequestGrants): ParsedGrants {
  return {
    hosts: (request.net ?? []).map((text) => ({
      pattern: usable('--allow-net', parseHostPattern(text)),
      methods: null,
      paths: null,
    })),
    commands: (request.commands ?? []).map((text) => ({
      path: usable('--allow-command', parseCommandPath(text)),
      sha256: null,
    })),
    secrets: request.secrets ?? [],
    limits: request.limits ?? {},
    paths: (request.paths ?? []).map((text) => usable('--path', parsePathGlob(text)).text),
  };
}

function usable<T>(option: string, result: Parsed<T>): T {
  if (result.ok) return result.value;
  throw new UsageError(`${option}: ${result.message}`, result.remedy === undefined ? {} : { remedy: result.remedy });
}

export function grantRef(option: string, value: string): RuleRef {
  return { layer: 'request', file: option, line: 0, text: `${option} ${value}` };
}

/** With no organisation the user is the organisation; with one, requesters grant only what it says they may. */
export function checkMayGrant(grants: ParsedGrants, organisation: Layer | undefined): void {
  if (organisation === undefined) return;
  const may: readonly Grantable[] = valuesOf(organisation).requests?.may_grant ?? [];
  const refuse = (what: Grantable, option: string, value: string) => {
    const set = valuesOf(organisation).requests !== undefined;
    const line = cite(organisation, ['requests', 'may_grant'], `requests.may_grant: [${may.join(', ')}]`, set);
    throw new PolicyDeniedError(
      `${option} ${value} is not yours to grant: ${organisation.file} does not let requesters grant ${what}`,
      [`${organisation.file}:${line.line} ${line.text}`],
      {
        remedy: `leave ${option} out, or have \`requests: {may_grant: [${[...may, what].join(', ')}]}\` written in ${organisation.file}`,
      },
    );
  };
  const [host] = grants.hosts;
  const [command] = grants.commands;
  const [secret] = grants.secrets;
  if (host !== undefined && !may.includes('net')) refuse('net', '--allow-net', hostPatternText(host.pattern));
  if (command !== undefined && !may.includes('commands')) refuse('commands', '--allow-command', command.path);
  if (secret !== undefined && !may.includes('secrets')) refuse('secrets', '--secret', secret);
}

export type SecretEntry = NonNullable<PolicyDocument['secrets']>[number];

/** A secret asked for by name is used as a document says: the request names no host for it. */
export function findSecret(name: string, layers: readonly Layer[]): SecretEntry {
  for (const layer of layers) {
    const entry = valuesOf(layer).secrets?.find((secret) => secret.name === name);
    if (entry !== undefined) return entry;
  }
  throw new PolicyDeniedError(`--secret ${name}: no document says where ${name} may be used`, [], {
    remedy: `add to the policy: secrets: [{name: ${name}, use: {host: HOST, header: "Authorization: Bearer {}"}}]`,
  });
}
