import { createHash, sign, verify } from 'node:crypto';
import { CERTIFICATE, parseCertificate, type SshCertificate } from './certificate.ts';
import {
  ED25519,
  formatSignature,
  parsePublicKey,
  parseSignature,
  type SshPrivateKey,
  type SshPublicKey,
} from './keys.ts';
import { SshFormatError, SshReader, sshString, strictBase64, uint32 } from './wire.ts';

/**
 * Signatures of files and commits by SSH keys (OpenSSH's PROTOCOL.sshsig), of Ed25519 keys:
 *
 *   "SSHSIG"  uint32 1  string public key, or certificate  string namespace  string reserved (empty)
 *   string hash algorithm (sha256 | sha512)  string signature
 *
 * in base64 between BEGIN and END lines. Signed is: "SSHSIG"  string namespace  string reserved  string hash algorithm
 * string hash of the message. git's namespace is `git`.
 */
const MAGIC = Buffer.from('SSHSIG');
const BEGIN = '-----BEGIN SSH SIGNATURE-----';
const END = '-----END SSH SIGNATURE-----';
const HASHES = ['sha256', 'sha512'] as const;
const COLUMNS = 70;
const MAX_ARMORED = 128 * 1024;

export interface SshSignature {
  readonly key: SshPublicKey;
  /** Set when the signer sent a certificate in place of a bare key; its own signature is checked, its authority is not. */
  readonly certificate: SshCertificate | null;
  readonly namespace: string;
  readonly hash: (typeof HASHES)[number];
  /** The 64 bytes. */
  readonly signature: Buffer;
}

/** Armoured, as `ssh-keygen -Y sign` writes it. With a certificate of the key, the signature carries it. */
export function signMessage(
  message: Uint8Array,
  namespace: string,
  key: SshPrivateKey,
  certificate?: SshCertificate,
): string {
  if (namespace === '') throw new SshFormatError('a signature needs a namespace');
  if (certificate !== undefined && !certificate.key.raw.equals(key.raw))
    throw new SshFormatError('the certificate is not one of this key');
  const hash = 'sha512';
  const signature = formatSignature(sign(null, signedData(message, namespace, hash), key.privateKey));
  const publicKey = certificate?.blob ?? key.blob;
  const parts = [publicKey, namespace, '', hash, signature].map(sshString);
  const encoded = Buffer.concat([MAGIC, uint32(1), ...parts]).toString('base64');
  return `${BEGIN}\n${encoded.replace(new RegExp(`.{1,${COLUMNS}}`, 'g'), '$&\n')}${END}\n`;
}

function signedData(message: Uint8Array, namespace: string, hash: SshSignature['hash']): Buffer {
  const hashed = createHash(hash).update(message).digest();
  return Buffer.concat([MAGIC, ...[namespace, '', hash, hashed].map(sshString)]);
}

/** Reads an armoured signature, and nothing around it. Throws `SshFormatError`. */
export function parseSshSignature(armoured: string): SshSignature {
  if (armoured.length > MAX_ARMORED) throw new SshFormatError('the signature is too long');
  const lines = armoured.replaceAll('\r\n', '\n').replace(/\n$/, '').split('\n');
  if (lines.shift() !== BEGIN || lines.pop() !== END)
    throw new SshFormatError('not a signature between BEGIN and END SSH SIGNATURE');
  return parseBlob(strictBase64(lines.join(''), 'the signature'));
}

function parseBlob(blob: Buffer): SshSignature {
  const reader = new SshReader(blob, 'the signature');
  if (!reader.raw(MAGIC.length).equals(MAGIC)) throw new SshFormatError('the signature does not begin with SSHSIG');
  const version = reader.uint32();
  if (version !== 1) throw new SshFormatError(`the signature is of version ${version}, not 1`);
  const signer = parseSigner(reader.string());
  const namespace = reader.text();
  if (namespace === '') throw new SshFormatError('the signature has no namespace');
  if (reader.string().length > 0) throw new SshFormatError('the signature has a reserved field that is not empty');
  const name = reader.string().toString('latin1');
  const hash = HASHES.find((known) => known === name);
  if (hash === undefined) throw new SshFormatError(`the signature is over a hash that is not known here`);
  const signature = parseSignature(reader.string());
  reader.end();
  return { ...signer, namespace, hash, signature };
}

function parseSigner(blob: Buffer): Pick<SshSignature, 'key' | 'certificate'> {
  const type = new SshReader(blob, 'the key').string().toString('latin1');
  if (type === ED25519) return { key: parsePublicKey(blob), certificate: null };
  if (type !== CERTIFICATE)
    throw new SshFormatError(`the signature is by a key of type ${JSON.stringify(type)}; Ed25519 only`);
  const certificate = parseCertificate(blob);
  return { key: certificate.key, certificate };
}

/** True when the key that the signature names made it over this message in this namespace. Whose key that is, is not said. */
export function verifyMessage(signature: SshSignature, message: Uint8Array, namespace: string): boolean {
  if (signature.namespace !== namespace) return false;
  return verify(null, signedData(message, namespace, signature.hash), signature.key.key, signature.signature);
}
