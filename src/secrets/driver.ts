import { ConflictError, NotFoundError, UsageError } from '../base/errors.ts';
import type { Scopes } from './scopes.ts';
import type { Secret } from './secret.ts';

/** As in policies; it becomes part of a file's name and of a placeholder. */
const NAME = /^[A-Z_][A-Z0-9_]{0,99}$/;

/** Throws `UsageError`. Not for what may be a value typed in the wrong place: the message repeats it. */
export function checkName(name: string): string {
  if (NAME.test(name)) return name;
  throw new UsageError('that is not the name of a secret: names are capital letters, digits and _, at most 100', {
    remedy: 'write a name such as NPM_TOKEN',
  });
}

/** A secret without its value. */
export interface SecretEntry {
  readonly name: string;
  /** The driver's name: `embedded`, `vault`. */
  readonly source: string;
  /** Which value it has, where that is known: rises when it is set anew. */
  readonly version: string | null;
  readonly scopes: Scopes;
  /** Milliseconds since the epoch; null where nobody keeps them. */
  readonly created: number | null;
  readonly updated: number | null;
}

/**
 * Where secrets are kept. Reading is safe at once from any number of processes, and is always of the current value: nothing
 * is cached, so that what is changed or taken back where it is kept is so here with the next use.
 *
 * Errors never hold a value: `NotFoundError` when there is no such secret, `EnforcementError` when what is kept cannot be
 * trusted or opened (wrong master key, changed file, world-readable file), `OutsideError` when a service does not answer or
 * refuses (safe to try again), `UsageError` for a value that is no secret (too short). Drivers do not retry.
 */
export interface SecretDriver {
  readonly source: string;
  /** Sorted by name. */
  list(): Promise<readonly SecretEntry[]>;
  /** Null when this driver has none of that name. Does not read the value. */
  find(name: string): Promise<SecretEntry | null>;
  read(name: string, signal?: AbortSignal): Promise<{ readonly entry: SecretEntry; readonly value: Secret }>;
}

/** A driver in which secrets are set. Changes of several processes follow one another; each is whole or not at all, and durable. */
export interface SecretStore extends SecretDriver {
  /** Without `scopes`, those it had stay. The value it had is gone. */
  set(name: string, value: Secret, scopes?: Scopes): Promise<SecretEntry>;
  remove(name: string): Promise<SecretEntry>;
  /**
   * Goes over to another master key: the one that is configured, or a new one. Throws `NotFoundError` when nothing was ever set,
   * `UsageError` when the configured key is in use already, and what the places of the keys throw; then nothing has changed.
   */
  rotateMasterKey(): Promise<Rotation>;
}

export interface Rotation {
  /** For people: where the key was, and where it is. */
  readonly from: string;
  readonly to: string;
  readonly secrets: number;
}

/**
 * The one driver that has a secret of that name, and what it says of it. Throws `NotFoundError`; `ConflictError` when two have one:
 * which is meant is not for a program to guess.
 */
export async function findSecret(
  drivers: readonly SecretDriver[],
  name: string,
): Promise<{ driver: SecretDriver; entry: SecretEntry }> {
  const found: { driver: SecretDriver; entry: SecretEntry }[] = [];
  for (const driver of drivers) {
    const entry = await driver.find(name);
    if (entry !== null) found.push({ driver, entry });
  }
  const [first, second] = found;
  if (first === undefined) {
    throw new NotFoundError(`there is no secret ${name}`, { remedy: `cordon secrets set ${name}` });
  }
  if (second === undefined) return first;
  throw new ConflictError(`two places have a secret ${name}: ${first.driver.source} and ${second.driver.source}`, {
    remedy: 'remove one, so that it is plain which is meant',
  });
}
