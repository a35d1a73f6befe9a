import * as z from 'zod';
import { CordonError, EnforcementError, NotFoundError, OutsideError, UsageError } from '../../base/errors.ts';
import { readOwnFile } from '../../base/own-file.ts';
import { type Declared, declaredSecrets } from '../declared.ts';
import type { SecretDriver } from '../driver.ts';
import { getJson, type VaultAnswer } from './vault-http.ts';

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
  readonly token:
    | { /** Read at each use; only this user may read it. */ readonly file: string }
    | { readonly value: string };
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
    const answer = await getJson({
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

async function readToken(token: VaultOptions['token']): Promise<string> {
  const text = 'value' in token ? token.value : await tokenFile(token.file);
  if (/^[\x21-\x7e]{1,4096}$/.test(text)) return text;
  throw new UsageError('the token for the Vault is empty or holds what no token has', {
    remedy: 'log in again: vault login, or let its agent write the token’s file',
  });
}

async function tokenFile(file: string): Promise<string> {
  try {
    return (await readOwnFile(file, 8_192)).toString('latin1').trim();
  } catch (cause) {
    if (cause instanceof CordonError) throw cause;
    throw new EnforcementError('secrets', `the token for the Vault cannot be read from ${file}`, {
      cause,
      remedy: 'log in again: vault login, or let its agent write that file',
    });
  }
}

/** In the clear the token and every value could be read on the way. */
function checkAddress(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : null;
  const local = url !== null && /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(url.hostname);
  if (url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && local))) return url;
  throw new UsageError(`the Vault's address ${JSON.stringify(address)} is no https: URL`, {
    remedy: 'write https://vault.acme.example:8200; http: is only for this machine',
  });
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
