import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { UsageError } from '../base/errors.ts';

/** Where everything lies on this machine. All absolute. */
export interface Paths {
  /** `$CORDON_HOME`, by default `$XDG_STATE_HOME/cordon`. */
  readonly home: string;
  readonly database: string;
  readonly audit: string;
  readonly keys: string;
  readonly mirrors: string;
  readonly runs: string;
  /** What is remembered of files' digests. */
  readonly digests: string;
  /** Agents that were installed: `<agent>/<version>/`. */
  readonly tools: string;
  /** Sealed values, grants and revocations. */
  readonly secrets: string;
  /** The user's settings; need not exist. */
  readonly configFile: string;
  /** Language model providers of the user's; need not exist. */
  readonly providersFile: string;
  /** The organisation's; need not exist. */
  readonly organisationProviders: string;
  /** The organisation's ceiling; need not exist. Not to be moved by an environment variable: the user could lift it. */
  readonly organisationPolicy: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Throws `UsageError` when nothing in the environment says where the user's data belongs. */
export function resolvePaths(env: Environment, options: { readonly home?: string } = {}): Paths {
  const named = options.home ?? env.CORDON_HOME;
  const home = named ? resolve(named) : join(baseFolder(env, 'XDG_STATE_HOME', '.local/state'), 'cordon');
  return {
    home,
    database: join(home, 'cordon.db'),
    audit: join(home, 'audit'),
    keys: join(home, 'keys'),
    mirrors: join(home, 'mirrors'),
    runs: join(home, 'runs'),
    digests: join(home, 'digests.json'),
    tools: join(home, 'tools'),
    secrets: join(home, 'secrets'),
    configFile: join(baseFolder(env, 'XDG_CONFIG_HOME', '.config'), 'cordon', 'config.yaml'),
    providersFile: join(baseFolder(env, 'XDG_CONFIG_HOME', '.config'), 'cordon', 'providers.yaml'),
    organisationProviders: '/etc/cordon/providers.yaml',
    organisationPolicy: '/etc/cordon/policy.yaml',
  };
}

/** The XDG Base Directory specification: a relative path in these variables is to be ignored. */
function baseFolder(env: Environment, variable: string, fallback: string): string {
  const value = env[variable];
  if (value !== undefined && isAbsolute(value)) return value;
  const home = env.HOME || homedir();
  if (isAbsolute(home)) return join(home, fallback);
  throw new UsageError(`there is no place for Cordon's data: neither HOME nor ${variable} is set`, {
    remedy: 'export CORDON_HOME=/path/of/a/folder',
  });
}
