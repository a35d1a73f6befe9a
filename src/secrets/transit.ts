import { createHash } from 'node:crypto';
import * as z from 'zod';
import { EnforcementError, OutsideError } from '../base/errors.ts';
import type { MasterKey } from './master-key.ts';
import { askVault, checkAddress, readToken, type VaultToken } from './vault-client.ts';

/**
 * A master key that never leaves the transit engine of a Vault or OpenBao; of a type with associated data (`aes256-gcm96`,
 * the default):
 *
 *   POST /v1/MOUNT/encrypt/KEY  {"plaintext": BASE64, "associated_data": BASE64}   → {"data": {"ciphertext": "vault:v1:…"}}
 *   POST /v1/MOUNT/decrypt/KEY  {"ciphertext": "vault:v1:…", "associated_data": …} → {"data": {"plaintext": BASE64}}
 *   400 {"errors": ["cipher: message authentication failed"]}
 */
export interface TransitOptions {
  readonly address: string;
  readonly namespace?: string;
  /** Default `transit`. */
  readonly mount?: string;
  readonly key: string;
  readonly token: VaultToken;
  readonly ca?: string;
  /** Milliseconds. Default 5,000. */
  readonly timeout?: number;
}

const wrappedSchema = z.object({ data: z.object({ ciphertext: z.string().regex(/^[\x21-\x7e]{1,4096}$/) }) });
const plainSchema = z.object({ data: z.object({ plaintext: z.base64() }) });

export function transitMasterKey(options: TransitOptions): MasterKey {
  const base = checkAddress(options.address);
  const { mount = 'transit', key, namespace, ca, timeout = 5_000 } = options;
  const where = `the key ${key} of the Vault at ${base.origin}`;
  // Without the address: a Vault may move. Whether it is that key, its decryption says.
  const id = createHash('sha256').update(`cordon transit key\0${mount}\0${key}`);

  const ask = async (what: 'encrypt' | 'decrypt', body: object) => {
    const answer = await askVault({
      url: new URL(
        `/v1/${mount.split('/').map(encodeURIComponent).join('/')}/${what}/${encodeURIComponent(key)}`,
        base,
      ),
      headers: {
        accept: 'application/json',
        'content-type': 'application/json',
        'x-vault-token': await readToken(options.token),
        'x-vault-request': 'true',
        ...(namespace === undefined ? {} : { 'x-vault-namespace': namespace }),
      },
      body: JSON.stringify(body),
      ca,
      timeout,
    });
    if (answer.status === 200) return answer.body;
    // What it cannot decrypt was not sealed by it: for whoever opens it, a changed file.
    if (answer.status === 400 && what === 'decrypt') throw new Error('not sealed by this key');
    throw refused(answer.status, what, where);
  };
  const context = (text: string) => Buffer.from(text).toString('base64');
  return {
    id: id.digest('hex').slice(0, 16),
    where,
    renewable: true,
    async wrap(dataKey, what) {
      const body = { plaintext: dataKey.toString('base64'), associated_data: context(what) };
      const answer = wrappedSchema.safeParse(await ask('encrypt', body));
      if (!answer.success) throw refused(200, 'encrypt', where);
      return Buffer.from(answer.data.data.ciphertext);
    },
    async unwrap(wrapped, what) {
      const body = { ciphertext: wrapped.toString('latin1'), associated_data: context(what) };
      const answer = plainSchema.safeParse(await ask('decrypt', body));
      if (!answer.success) throw refused(200, 'decrypt', where);
      return Buffer.from(answer.data.data.plaintext, 'base64');
    },
  };
}

function refused(status: number, what: string, where: string): Error {
  if (status === 403) {
    return new EnforcementError('secrets', `${where} may not be used to ${what} (403)`, {
      remedy: 'see that the token is valid, and that its policy lets it update encrypt/ and decrypt/ of that key',
    });
  }
  const sealed =
    status === 503 ? 'the Vault is sealed or down (503)' : `the answer to ${what} was none it gives (${status})`;
  return new OutsideError(`${where} cannot be used: ${sealed}`, {
    remedy:
      status === 503
        ? 'whoever holds its keys unseals it with: vault operator unseal'
        : 'see that the key exists there',
  });
}
