import { createHash, randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { EnforcementError } from '../../base/errors.ts';
import type { RandomSource } from '../../base/ids.ts';
import type { MasterKey } from '../master-key.ts';
import type { TokenKey, TokenOptions } from './token.ts';

const NONCE_BYTES = 12;

/**
 * A master key that never leaves its PKCS#11 token: data keys are encrypted there by AES-GCM. Nothing is loaded before the
 * first use. Throws `EnforcementError` (module, PIN, key) or `OutsideError` (token absent, session lost) at a use.
 */
export function pkcs11MasterKey(options: TokenOptions, random: RandomSource = randomBytes): MasterKey {
  const { token, key } = options;
  const name = 'label' in key ? key.label : `id ${key.id.toString('hex')}`;
  // Without the module: it may be updated or move. Whether it is that key, its decryption says.
  const id = createHash('sha256').update(`cordon pkcs11 key\0${token}\0${name}`).digest('hex').slice(0, 16);
  let opened: Promise<TokenKey> | null = null;
  const open = () => {
    opened ??= load(options);
    opened.catch(() => {
      opened = null;
    });
    return opened;
  };
  return {
    id,
    where: `the key ${name} of the token ${token}`,
    renewable: false,
    async wrap(dataKey, context) {
      const nonce = Buffer.from(random(NONCE_BYTES));
      const sealed = await (await open()).crypt('encrypt', nonce, Buffer.from(context), dataKey);
      if (sealed === null) throw new Error('a token encrypts or says why not');
      return Buffer.concat([nonce, sealed]);
    },
    async unwrap(wrapped, context) {
      const [nonce, sealed] = [wrapped.subarray(0, NONCE_BYTES), wrapped.subarray(NONCE_BYTES)];
      const plain = await (await open()).crypt('decrypt', nonce, Buffer.from(context), sealed);
      if (plain === null) throw new Error('not sealed by this key');
      return plain;
    },
  };
}

async function load(options: TokenOptions): Promise<TokenKey> {
  requireTrusted(options.module);
  const { TokenKey } = await import('./token.ts');
  return new TokenKey(options);
}

/** It becomes part of this process: whoever can change it is this user. */
function requireTrusted(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  const why = !stat?.isFile()
    ? 'is not there'
    : stat.uid !== 0 && stat.uid !== process.geteuid?.()
      ? 'belongs to another user'
      : (stat.mode & 0o022) !== 0
        ? 'can be changed by others'
        : null;
  if (why === null) return;
  throw new EnforcementError('secrets', `the PKCS#11 module ${path} ${why}`, {
    remedy: 'name the module of the token in secrets.master_key.pkcs11.module, such as /usr/lib/softhsm/libsofthsm2.so',
  });
}
