import { createCipheriv, createDecipheriv, createHmac, type Hmac, hkdfSync } from 'node:crypto';

/**
 * One piece of content as it lies beside the tree. Pure.
 *
 *   file    "CAC1" ‖ key salt (32 bytes) ‖ chunk*
 *   chunk   AES-256-GCM of up to 64 KiB, with its tag (16 bytes) at the end
 *   nonce   u32 chunk number ‖ 7 zero bytes ‖ 1 for the last chunk, else 0
 *   key     HKDF-SHA-256(run's key, key salt, "cordon content " ‖ run ‖ " " ‖ id)
 *   plain   digest salt (32 bytes) ‖ content
 *
 * The nonces never repeat because every file has a key of its own; the last one is marked so that a file cut at a chunk's
 * end does not pass for a shorter one. The digest in the log is HMAC-SHA-256 of the content under the digest salt: without
 * the salt, which only the run's key opens, a guess at the content cannot be tested against the log.
 */
export const MAGIC = Buffer.from('CAC1');
export const SALT_BYTES = 32;
export const CHUNK_BYTES = 64 * 1024;
export const TAG_BYTES = 16;

export interface ContentName {
  readonly run: string;
  readonly id: string;
}

export function contentKey(runKey: Uint8Array, keySalt: Uint8Array, { run, id }: ContentName): Buffer {
  return Buffer.from(hkdfSync('sha256', runKey, keySalt, `cordon content ${run} ${id}`, 32));
}

function nonce(chunk: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32BE(chunk);
  bytes[11] = last ? 1 : 0;
  return bytes;
}

export function sealChunk(key: Uint8Array, chunk: number, last: boolean, plain: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce(chunk, last));
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Null when the bytes, their place or their being last are not what was sealed. */
export function openChunk(key: Uint8Array, chunk: number, last: boolean, sealed: Uint8Array): Buffer | null {
  if (sealed.length < TAG_BYTES) return null;
  const decipher = createDecipheriv('aes-256-gcm', key, nonce(chunk, last));
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES)), decipher.final()]);
  } catch {
    return null;
  }
}

export function contentDigest(salt: Uint8Array): Hmac {
  return createHmac('sha256', salt);
}
