import type { SecretDriver, SecretStore } from './driver.ts';
import { EmbeddedSecrets } from './drivers/embedded.ts';
import { envSecrets } from './drivers/env.ts';
import { fileSecrets } from './drivers/file.ts';
import { vaultSecrets } from './drivers/vault.ts';

export { Broker, openBroker, REVOKED } from './broker.ts';
export { checkName, findSecret, type SecretDriver, type SecretEntry, type SecretStore } from './driver.ts';
export type { SecretEvent } from './events.ts';
export type { Grant } from './grant.ts';
export { type Cut, GrantBook } from './grant-book.ts';
export { type OutgoingRequest, RunSecrets } from './run-secrets.ts';
export { checkScopes, outOfScope, type RunFacts, type Scopes, scopeNames } from './scopes.ts';
export { Secret } from './secret.ts';
export { type GuestUse, parseUse, placeOf, type SecretUse, shownUse } from './use.ts';

/** One line for each driver. */
const drivers = {
  embedded: (options: ConstructorParameters<typeof EmbeddedSecrets>[0]): SecretStore => new EmbeddedSecrets(options),
  env: envSecrets,
  file: fileSecrets,
  vault: vaultSecrets,
} satisfies Record<string, (options: never) => SecretDriver>;

export type SecretDriverName = keyof typeof drivers;

export function openSecrets<Name extends SecretDriverName>(
  driver: Name,
  options: Parameters<(typeof drivers)[Name]>[0],
): ReturnType<(typeof drivers)[Name]> {
  const open = drivers[driver] as (options: unknown) => SecretDriver;
  return open(options) as ReturnType<(typeof drivers)[Name]>;
}
