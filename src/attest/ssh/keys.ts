import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { SshFormatError, SshReader, sshString, strictBase64 } from './wire.ts';

/**
 * OpenSSH's Ed25519 public keys (RFC 8709, section 4) and signatures (section 6):
 *
 *   key        string "ssh-ed25519"  string 32 bytes
 *   signature  string "ssh-ed25519"  string 64 bytes
 *   line       ssh-ed25519 <base64 of the key> [comment]
 */
export const ED25519 = 'ssh-ed25519';

/** DER in front of a raw public key (RFC 8410, section 4) and of a seed (section 7). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface SshPublicKey {
  /** The 32 bytes. */
  readonly raw: Buffer;
  /** As it stands on the wire, and in base64 in files. */
  readonly blob: Buffer;
  readonly key: KeyObject;
}

/** Held in memory only. */
export interface SshPrivateKey extends SshPublicKey {
  readonly privateKey: KeyObject;
}

export function publicKeyOf(raw: Uint8Array): SshPublicKey {
  if (raw.length !== 32) throw new SshFormatError(`an Ed25519 key has 32 bytes, not ${raw.length}`);
  const key = createPublicKey({ key: Buffer.concat([SPKI, raw]), format: 'der', type: 'spki' });
  return { raw: Buffer.from(raw), blob: Buffer.concat([sshString(ED25519), sshString(raw)]), key };
}

export function parsePublicKey(blob: Uint8Array): SshPublicKey {
  const reader = new SshReader(blob, 'the key');
  const type = reader.string().toString('latin1');
  if (type !== ED25519) throw new SshFormatError(`the key is of type ${JSON.stringify(type)}, not ${ED25519}`);
  const key = publicKeyOf(reader.string());
  reader.end();
  return key;
}

/** `ssh-ed25519 AAAA… comment`: one line of a `.pub` file. */
export function parsePublicKeyLine(line: string): SshPublicKey {
  const [type, encoded = ''] = line.trim().split(/[ \t]+/);
  if (type !== ED25519) throw new SshFormatError(`not a line with an ${ED25519} key`);
  return parsePublicKey(strictBase64(encoded, 'the key'));
}

export function formatPublicKey({ blob }: Pick<SshPublicKey, 'blob'>, comment = ''): string {
  return `${ED25519} ${blob.toString('base64')}${comment === '' ? '' : ` ${comment}`}`;
}

/** `SHA256:` and unpadded base64, as every tool of OpenSSH shows it. */
export function fingerprint(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

export function privateKeyFromSeed(seed: Uint8Array): SshPrivateKey {
  if (seed.length !== 32) throw new SshFormatError(`a seed has 32 bytes, not ${seed.length}`);
  return withPublic(createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' }));
}

/** A new key of the process's own randomness. */
export function generateKey(): SshPrivateKey {
  return withPublic(generateKeyPairSync('ed25519').privateKey);
}

/** A key in PKCS #8 PEM. */
export function privateKeyFromPem(pem: string): SshPrivateKey {
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== 'ed25519') throw new SshFormatError(`the key is not an Ed25519 key`);
  return withPublic(key);
}

function withPublic(privateKey: KeyObject): SshPrivateKey {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { ...publicKeyOf(spki.subarray(SPKI.length)), privateKey };
}

export function formatSignature(signature: Uint8Array): Buffer {
  return Buffer.concat([sshString(ED25519), sshString(signature)]);
}

/** The 64 bytes of a signature. */
export function parseSignature(blob: Uint8Array): Buffer {
  const reader = new SshReader(blob, 'the signature');
  const type = reader.string().toString('latin1');
  const signature = reader.string();
  reader.end();
  if (type !== ED25519 || signature.length !== 64)
    throw new SshFormatError(`the signature is not one of an ${ED25519} key`);
  return signature;
}
