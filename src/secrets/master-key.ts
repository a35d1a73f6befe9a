import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createOnce } from '../base/durable-file.ts';
import { EnforcementError, StorageError, UsageError } from '../base/errors.ts';
import type { RandomSource } from '../base/ids.ts';
import { readOwnFile } from '../base/own-file.ts';

/** The key that all data keys are wrapped with. Where it lives elsewhere (a token, a key service), `wrap` and `unwrap` ask there. */
export interface MasterKey {
  /** Says which key it is, and nothing about it: 16 hex digits. */
  readonly id: string;
  /** For messages: `keys/master.key`, `CORDON_MASTER_KEY`. */
  readonly where: string;
  /** True when it gets newer versions under the same id, with which wrapping again makes sense. */
  readonly renewable: boolean;
  wrap(key: Buffer, context: string): Promise<Buffer>;
  /** Throws when the bytes were not wrapped by this key with this context. */
  unwrap(wrapped: Buffer, context: string): Promise<Buffer>;
}

export const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
export const MASTER_KEY_FILE = 'master.key';
/** A file key that is about to take the place of the other: it counts as soon as the index says so. */
export const NEXT_KEY_FILE = 'master.key.next';
export const MASTER_KEY_VARIABLE = 'CORDON_MASTER_KEY';
/** What that variable held before, for a change of the key. */
export const PREVIOUS_KEY_VARIABLE = 'CORDON_MASTER_KEY_PREVIOUS';

/** AES-256-GCM (NIST SP 800-38D): nonce, ciphertext, tag. A key seals few things, so random nonces do not meet. */
export function seal(key: Buffer, plain: Buffer, context: string, random: RandomSource = randomBytes): Buffer {
  const nonce = Buffer.from(random(NONCE_BYTES));
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(context));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Throws when anything of it, or the context, is not as it was sealed. */
export function unseal(key: Buffer, sealed: Buffer, context: string): Buffer {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new Error('too short');
  const cipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(context));
  cipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  return Buffer.concat([cipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), cipher.final()]);
}

export function localMasterKey(key: Buffer, where: string, random: RandomSource = randomBytes): MasterKey {
  const id = createHash('sha256').update('cordon master key id\0').update(key).digest('hex').slice(0, 16);
  return {
    id,
    where,
    renewable: false,
    wrap: async (dataKey, context) => seal(key, dataKey, context, random),
    unwrap: async (wrapped, context) => unseal(key, wrapped, context),
  };
}

export interface MasterKeyOptions {
  /** The folder of keys. */
  readonly keys: string;
  /** The value of CORDON_MASTER_KEY, when it is set: then there is no file. */
  readonly variable?: string | undefined;
  readonly random?: RandomSource;
  /** Instead of `master.key`. */
  readonly file?: string;
}

/**
 * The master key of this installation. With `create`, it is made when there is none; without, `null`: a key that sealed things
 * must never be replaced by a new one. Throws `UsageError` for a variable that holds no key, `EnforcementError` for a
 * file that others can read, `StorageError` for one that is damaged.
 */
export async function loadMasterKey(options: MasterKeyOptions, create: boolean): Promise<MasterKey | null> {
  const { keys, variable, random = randomBytes, file = MASTER_KEY_FILE } = options;
  if (variable !== undefined) return variableKey(variable, MASTER_KEY_VARIABLE, random);
  const path = join(keys, file);
  let text = readKeyFile(path);
  if (text === null && !create) return null;
  if (text === null) {
    await createOnce(keys, file, `${Buffer.from(random(KEY_BYTES)).toString('base64')}\n`);
    text = readKeyFile(path);
  }
  const key = decode(text ?? '');
  if (key !== null) return localMasterKey(key, path, random);
  throw new StorageError(`the master key ${path} is damaged: it is not 32 bytes in base64`, {
    remedy: 'restore it from a backup: nothing else opens the secrets that it sealed',
  });
}

function readKeyFile(path: string): string | null {
  try {
    return readOwnFile(path, 256).toString('latin1').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Throws `UsageError` for a text that is no key. */
export function variableKey(text: string, name: string, random: RandomSource = randomBytes): MasterKey {
  const key = decode(text.trim());
  if (key !== null) return localMasterKey(key, name, random);
  throw new UsageError(`${name} is set and holds no key: 32 bytes in base64 are needed`, {
    remedy: 'make one with: openssl rand -base64 32',
  });
}

function decode(text: string): Buffer | null {
  const key = Buffer.from(text, 'base64');
  return key.length === KEY_BYTES && key.toString('base64') === text ? key : null;
}

/** Why what was sealed cannot be opened, and what to do. */
export function wrongMasterKey(
  sealedWith: string,
  count: number,
  key: MasterKey | null,
  keys: string,
): EnforcementError {
  const many = count === 1 ? '1 secret is' : `${count} secrets are`;
  const file = join(keys, MASTER_KEY_FILE);
  const has = key === null ? `${file} is not there` : `${key.where} holds another (${key.id})`;
  const variable =
    key?.where === MASTER_KEY_VARIABLE
      ? `unset ${MASTER_KEY_VARIABLE}, or set it`
      : `restore ${file}, or set ${MASTER_KEY_VARIABLE},`;
  return new EnforcementError('secrets', `${many} sealed with the master key ${sealedWith}, and ${has}`, {
    remedy: `${variable} to that key; nothing was changed. To go over to another key: cordon secrets rotate-key. If the old one is lost, so are the values: remove the folder secrets and ${join(keys, 'secrets.json')}, and set them again`,
  });
}
