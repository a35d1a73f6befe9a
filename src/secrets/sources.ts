import { readFileSync } from 'node:fs';
import { CordonError, EnforcementError, UsageError } from '../base/errors.ts';
import { readOwnFile } from '../base/own-file.ts';
import type { SecretDriver, SecretStore } from './driver.ts';
import { openSecrets } from './index.ts';
import { MASTER_KEY_VARIABLE, type MasterKey, PREVIOUS_KEY_VARIABLE } from './master-key.ts';
import { pkcs11MasterKey } from './pkcs11/master-key.ts';
import type { Scopes } from './scopes.ts';
import { transitMasterKey } from './transit.ts';

type Named<Place> = Readonly<Record<string, Place & { readonly scopes?: Scopes | undefined }>>;

/** One place of secrets as the user's settings name it (config/secret-sources.ts). */
export type Source =
  | { readonly driver: 'env'; readonly secrets: Named<{ readonly variable: string }> }
  | { readonly driver: 'file'; readonly folder: string; readonly secrets: Named<{ readonly file: string }> }
  | ({
      readonly driver: 'vault';
      readonly secrets: Named<{ readonly path: string; readonly field: string }>;
    } & VaultPlace);

/** Where a Vault is, and how one shows who one is there. */
interface VaultPlace {
  readonly address: string;
  readonly namespace?: string | undefined;
  readonly mount?: string | undefined;
  readonly token_file?: string | undefined;
  readonly token_variable?: string | undefined;
  readonly ca_file?: string | undefined;
}

/** The part of the settings that is about secrets. */
export interface SecretsSettings {
  readonly sources: readonly Source[];
  readonly master_key?: MasterKeyPlace | undefined;
  /** Where it was before, until everything is sealed with the other. */
  readonly previous_master_key?: MasterKeyPlace | undefined;
}

/** One of the two. */
interface MasterKeyPlace {
  readonly transit?: (VaultPlace & { readonly key: string }) | undefined;
  readonly pkcs11?: TokenPlace | undefined;
}

interface TokenPlace {
  readonly module: string;
  readonly token: string;
  readonly key?: string | undefined;
  readonly key_id?: string | undefined;
  readonly pin_file?: string | undefined;
  readonly pin_variable?: string | undefined;
}

export interface OpenedSecrets {
  /** What `cordon secrets set` writes to; the first of `drivers`. */
  readonly store: SecretStore;
  readonly drivers: readonly SecretDriver[];
}

/**
 * All places of secrets of this installation. What the environment holds of them (the master key, secrets, a token) is **taken out of
 * `env`**: every program that is started afterwards would inherit it. Throws `UsageError` for settings that cannot be meant.
 */
export function openSources(
  paths: { readonly secrets: string; readonly keys: string },
  { sources, master_key, previous_master_key }: SecretsSettings,
  env: Record<string, string | undefined>,
): OpenedSecrets {
  const places = [master_key, previous_master_key].filter((place) => place !== undefined);
  const ofKeys = places.map(({ transit, pkcs11 }) => transit?.token_variable ?? pkcs11?.pin_variable ?? []);
  const names = [MASTER_KEY_VARIABLE, PREVIOUS_KEY_VARIABLE, ofKeys, sources.map(variablesOf)].flat(2);
  const taken = takeOut(env, names);
  const store = openSecrets('embedded', {
    dir: paths.secrets,
    keys: paths.keys,
    masterKey: taken[MASTER_KEY_VARIABLE],
    previousKey: taken[PREVIOUS_KEY_VARIABLE],
    service: master_key === undefined ? undefined : service(master_key, taken),
    previousService: previous_master_key === undefined ? undefined : service(previous_master_key, taken),
  });
  return { store, drivers: [store, ...sources.map((source) => open(source, taken))] };
}

function service({ transit, pkcs11 }: MasterKeyPlace, env: Readonly<Record<string, string | undefined>>): MasterKey {
  if (transit !== undefined) return transitMasterKey({ ...vaultOptions(transit, env), key: transit.key });
  if (pkcs11 === undefined)
    throw new UsageError('secrets.master_key names no place', { remedy: 'write transit or pkcs11' });
  const { module, token, key = '', key_id: id } = pkcs11;
  const named = id === undefined ? { label: key } : { id: Buffer.from(id, 'hex') };
  return pkcs11MasterKey({ module, token, key: named, pin: () => pinOf(pkcs11, env) });
}

function pinOf(
  { token, pin_file: file, pin_variable: variable }: TokenPlace,
  env: Readonly<Record<string, string | undefined>>,
): Buffer {
  const pin = file === undefined ? (env[variable ?? ''] ?? '') : readPin(file);
  if (pin !== '') return Buffer.from(pin);
  throw new UsageError(`there is no PIN for the token ${token}: ${file ?? `$${variable}`} is empty`, {
    remedy: 'write it into a file that only this user can read, and name that in pin_file',
  });
}

function readPin(file: string): string {
  try {
    return readOwnFile(file, 1_024)
      .toString('utf8')
      .replace(/\r?\n$/, '');
  } catch (cause) {
    if (cause instanceof CordonError) throw cause;
    throw new EnforcementError('secrets', `the token's PIN cannot be read from ${file}`, {
      cause,
      remedy: 'let this user, and nobody else, read that file',
    });
  }
}

function variablesOf(source: Source): string[] {
  if (source.driver === 'env') return Object.values(source.secrets).map(({ variable }) => variable);
  return source.driver === 'vault' && source.token_variable !== undefined ? [source.token_variable] : [];
}

function takeOut(
  env: Record<string, string | undefined>,
  names: readonly string[],
): Record<string, string | undefined> {
  const taken: Record<string, string | undefined> = {};
  for (const name of names) {
    taken[name] ??= env[name];
    delete env[name];
  }
  return taken;
}

function open(source: Source, env: Readonly<Record<string, string | undefined>>): SecretDriver {
  switch (source.driver) {
    case 'env':
      return openSecrets('env', { env, secrets: declared(source.secrets) });
    case 'file':
      return openSecrets('file', { folder: source.folder, secrets: declared(source.secrets) });
    case 'vault':
      return openSecrets('vault', { ...vaultOptions(source, env), secrets: declared(source.secrets) });
  }
}

function vaultOptions(place: VaultPlace, env: Readonly<Record<string, string | undefined>>) {
  const { address, namespace, mount, ca_file: ca } = place;
  return {
    address,
    token: tokenOf(place, env),
    ...(namespace === undefined ? {} : { namespace }),
    ...(mount === undefined ? {} : { mount }),
    ...(ca === undefined ? {} : { ca: readCertificates(ca) }),
  };
}

function tokenOf(source: VaultPlace, env: Readonly<Record<string, string | undefined>>) {
  const { token_file: file, token_variable: variable, address } = source;
  if (file !== undefined && variable === undefined) return { file };
  if (file === undefined && variable !== undefined) return { value: env[variable] ?? '' };
  throw new UsageError(`the Vault at ${address} needs one token: token_file or token_variable, and not both`, {
    remedy: 'write token_file: /run/vault/token',
  });
}

function readCertificates(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new EnforcementError('secrets', `the certificates ${file} cannot be read`, {
      cause,
      remedy: 'let this user read them, or leave ca_file out',
    });
  }
}

/** Without keys that are there and undefined. */
function declared<Place>(secrets: Named<Place>): Record<string, Place & { scopes?: Scopes }> {
  return Object.fromEntries(
    Object.entries(secrets).map(([name, { scopes, ...place }]) => [
      name,
      { ...(place as Place), ...(scopes === undefined ? {} : { scopes }) },
    ]),
  );
}
