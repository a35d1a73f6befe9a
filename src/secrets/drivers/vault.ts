import * as z from 'zod';
import { type CordonError, EnforcementError, NotFoundError, OutsideError, UsageError } from '../../base/errors.ts';
import { type Declared, declaredSecrets } from '../declared.ts';
import type { SecretDriver } from '../driver.ts';
import { askVault, checkAddress, readToken, type VaultAnswer, type VaultToken } from '../vault-client.ts';

/**
 * HashiCorp Vault or OpenBao, the KV engine in version 2, over its HTTP API:
 *
 *   GET /v1/MOUNT/data/PATH    X-Vault-Token, X-Vault-Namespace, X-Vault-Request: true
 *   200 {"data": {"data": {FIELD: VALUE}, "metadata": {"version": 3, "created_time": …, "deletion_time": "", "destroyed": false}}}
 *   403 {"errors": ["permission denied"]}    404 {"errors": []}, or the metadata of a deleted version with "data": null
 *   503 {"errors": ["Vault is sealed"]}      429, 472, 473: a standby that does not answer reads
 *
 * The value is read at each use and kept nowhere; so is the token, where an agent renews it in its file.
 */
export interface VaultOptions {
  /** `https://vault.acme.example:8200`; `http:` only to this machine. */
  readonly address: string;
  readonly namespace?: string;
  /** Where the engine is mounted. Default `secret`. */
  readonly mount?: string;
  readonly token: VaultToken;
  /** Certificates to trust, in PEM. */
  readonly ca?: string;
  /** Milliseconds for one read. Default 5,000. */
  readonly timeout?: number;
  readonly secrets: Declared<{ readonly path: string; readonly field: string }>;
}

const answerSchema = z.object({
  data: z.object({
    data: z.record(z.string(), z.unknown()),
    metadata: z.object({ version: z.int().positive(), created_time: z.string().optional() }),
  }),
});
const errorsSchema = z.object({ errors: z.array(z.string()) });

export function vaultSecrets(options: VaultOptions): SecretDriver {
  const base = checkAddress(options.address);
  const { mount = 'secret', namespace, ca, timeout = 5_000 } = options;
  for (const [name, { path }] of Object.entries(options.secrets)) checkPath(name, path);
  checkPath('the mount', mount);
  return declaredSecrets('vault', options.secrets, async ({ path, field }, name, signal) => {
    const token = await readToken(options.token);
    const place = `${mount}/${path}`;
    const answer = await askVault({
      url: new URL(`/v1/${encodePath(mount)}/data/${encodePath(path)}`, base),
      headers: {
        accept: 'application/json',
        'x-vault-token': token,
        'x-vault-request': 'true',
        ...(namespace === undefined ? {} : { 'x-vault-namespace': namespace }),
      },
      ca,
      timeout,
      signal,
    });
    if (answer.status !== 200) throw failure(answer, name, place, base.origin);
    return fieldOf(answer, name, field, place);
  });
}

function fieldOf({ body }: VaultAnswer, name: string, field: string, place: string) {
  const answer = answerSchema.safeParse(body);
  if (!answer.success) {
    throw new OutsideError(`the Vault's answer for ${name} is not one of its KV engine in version 2`, {
      remedy: `see with "vault secrets list -detailed" that ${place.split('/')[0]} is of type kv, version 2`,
    });
  }
  const { data, metadata } = answer.data.data;
  const value = Object.hasOwn(data, field) ? data[field] : undefined;
  if (typeof value !== 'string') {
    throw new NotFoundError(`the secret ${name} is not there: ${place} has no text named ${field}`, {
      remedy: `its fields are ${Object.keys(data).slice(0, 20).join(', ') || 'none'}`,
    });
  }
  const updated = Date.parse(metadata.created_time ?? '');
  return {
    bytes: Buffer.from(value),
    version: String(metadata.version),
    ...(Number.isNaN(updated) ? {} : { updated }),
  };
}

function failure({ status, body }: VaultAnswer, name: string, place: string, where: string): CordonError {
  const told = errorsSchema.safeParse(body);
  const words = told.success ? told.data.errors.join('; ').slice(0, 200) : '';
  const said = words === '' ? '' : `: ${words}`;
  switch (status) {
    case 403:
      return new EnforcementError('secrets', `the Vault at ${where} refuses to give ${name} (403)${said}`, {
        remedy: `see that the token is valid, and that its policy has: path "${place.replace('/', '/data/')}" { capabilities = ["read"] }`,
      });
    case 404:
      return new NotFoundError(
        `the secret ${name} is not there: the Vault has nothing at ${place}, or it was deleted`,
        {
          remedy: `vault kv get ${place}`,
        },
      );
    case 503:
      return new OutsideError(`the Vault at ${where} is sealed or down (503)${said}`, {
        remedy: 'whoever holds its keys unseals it with: vault operator unseal',
      });
    case 429:
    case 472:
    case 473:
      return new OutsideError(`the Vault at ${where} is a standby that answers no reads, or limits them (${status})`, {
        remedy: 'point the address at the active node, or run it again later',
      });
    default:
      return new OutsideError(`the Vault at ${where} answered ${status} for ${name}${said}`, {
        remedy:
          status >= 300 && status < 400 ? 'redirects are not followed: name the address itself' : 'look at its log',
      });
  }
}

function checkPath(name: string, path: string): void {
  const odd = path.split('/').some((part) => part === '' || part === '.' || part === '..');
  if (!odd) return;
  throw new UsageError(`${JSON.stringify(path)} is no path in a Vault (${name})`, {
    remedy: 'write it as for "vault kv get", without the mount and without slashes at its ends',
  });
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
