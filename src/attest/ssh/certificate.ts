import { randomBytes, sign, verify } from 'node:crypto';
import type { RandomSource } from '../../base/ids.ts';
import {
  fingerprint,
  formatSignature,
  parsePublicKey,
  parseSignature,
  publicKeyOf,
  type SshPrivateKey,
  type SshPublicKey,
} from './keys.ts';
import { SshFormatError, SshReader, sshString, strictBase64, uint32, uint64 } from './wire.ts';

/**
 * User certificates for Ed25519 keys (OpenSSH's PROTOCOL.certkeys):
 *
 *   string "ssh-ed25519-cert-v01@openssh.com"   string nonce       string public key (32 bytes)
 *   uint64 serial   uint32 type (1 = user)      string key id      string principals (strings)
 *   uint64 valid after   uint64 valid before (exclusive; seconds since 1970)
 *   string critical options   string extensions (pairs of strings, sorted, each name once)
 *   string reserved (empty)   string authority's key   string signature over all of the above
 */
export const CERTIFICATE = 'ssh-ed25519-cert-v01@openssh.com';
const USER = 1;
const MAX_CERTIFICATE = 64 * 1024;
const MAX_PRINCIPALS = 256;

export interface CertificateFields {
  readonly serial: bigint;
  /** Free text that logs show: `cordon run <id>`. */
  readonly keyId: string;
  /** Whom the key may sign for; never empty: OpenSSH takes an empty list for everybody. */
  readonly principals: readonly string[];
  /** Seconds since 1970: valid from, and the first second in which it no longer is. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  /** What a verifier must understand, or refuse the certificate. */
  readonly criticalOptions: ReadonlyMap<string, Buffer>;
  readonly extensions: ReadonlyMap<string, Buffer>;
}

export interface SshCertificate extends CertificateFields {
  /** The certified key. */
  readonly key: SshPublicKey;
  readonly authority: SshPublicKey;
  /** The whole, as it stands on the wire. */
  readonly blob: Buffer;
}

const isPrincipal = (name: string) => /^[^\s,"*?!\p{Cc}]{1,256}$/u.test(name);

/** Certifies `key`. Throws `SshFormatError` for fields that no verifier should take. */
export function issueCertificate(
  key: Pick<SshPublicKey, 'raw'>,
  fields: CertificateFields,
  authority: SshPrivateKey,
  random: RandomSource = randomBytes,
): SshCertificate {
  const { serial, keyId, principals, validAfter, validBefore, criticalOptions, extensions } = fields;
  const signed = Buffer.concat([
    ...[CERTIFICATE, random(32), key.raw].map(sshString),
    uint64(serial),
    uint32(USER),
    sshString(keyId),
    sshString(Buffer.concat(principals.map(sshString))),
    uint64(validAfter),
    uint64(validBefore),
    ...[criticalOptions, extensions].map((options) => sshString(formatOptions(options))),
    sshString(''),
    sshString(authority.blob),
  ]);
  const signature = formatSignature(sign(null, signed, authority.privateKey));
  // What is handed out is what a verifier reads, with every check made.
  return parseCertificate(Buffer.concat([signed, sshString(signature)]));
}

function formatOptions(options: ReadonlyMap<string, Buffer>): Buffer {
  const sorted = [...options].sort(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.concat(sorted.flatMap(([name, data]) => [sshString(name), sshString(data)]));
}

/**
 * Reads a certificate strictly and checks the authority's signature in it. Whether that authority is trusted, and whether
 * it holds at some time and for somebody, is for {@link certificateProblem}. Throws `SshFormatError`.
 */
export function parseCertificate(blob: Uint8Array): SshCertificate {
  if (blob.length > MAX_CERTIFICATE)
    throw new SshFormatError(`the certificate is larger than ${MAX_CERTIFICATE} bytes`);
  const reader = new SshReader(blob, 'the certificate');
  const type = reader.string().toString('latin1');
  if (type !== CERTIFICATE)
    throw new SshFormatError(`the certificate is of type ${JSON.stringify(type)}, not ${CERTIFICATE}`);
  reader.string(); // the nonce
  const key = publicKeyOf(reader.string());
  const serial = reader.uint64();
  if (reader.uint32() !== USER) throw new SshFormatError('the certificate is not one of a user');
  const keyId = reader.text();
  const principals = parsePrincipals(reader.string());
  const [validAfter, validBefore] = [reader.uint64(), reader.uint64()];
  if (validAfter >= validBefore) throw new SshFormatError('the certificate is never valid');
  const [criticalOptions, extensions] = [parseOptions(reader.string()), parseOptions(reader.string())];
  if (reader.string().length > 0) throw new SshFormatError('the certificate has a reserved field that is not empty');
  const authority = parsePublicKey(reader.string());
  const signed = reader.offset;
  const signature = parseSignature(reader.string());
  reader.end();
  const own = Buffer.from(blob);
  if (!verify(null, own.subarray(0, signed), authority.key, signature))
    throw new SshFormatError('the certificate was not signed by the authority that it names');
  const fields = { serial, keyId, principals, validAfter, validBefore, criticalOptions, extensions };
  return { ...fields, key, authority, blob: own };
}

function parsePrincipals(bytes: Buffer): string[] {
  const reader = new SshReader(bytes, 'the list of principals');
  const principals: string[] = [];
  while (!reader.done) {
    const name = reader.text();
    if (!isPrincipal(name)) throw new SshFormatError(`the principal ${JSON.stringify(name)} is not a plain name`);
    if (principals.push(name) > MAX_PRINCIPALS) throw new SshFormatError('the certificate has too many principals');
  }
  if (principals.length === 0) throw new SshFormatError('the certificate has no principals');
  return principals;
}

function parseOptions(bytes: Buffer): Map<string, Buffer> {
  const reader = new SshReader(bytes, 'the list of options');
  const options = new Map<string, Buffer>();
  let last: string | null = null;
  while (!reader.done) {
    const name = reader.text();
    if (name === '' || (last !== null && name <= last))
      throw new SshFormatError('the options are not sorted, or one stands there twice');
    options.set(name, reader.string());
    last = name;
  }
  return options;
}

/** `ssh-ed25519-cert-v01@openssh.com AAAA… comment`: a `-cert.pub` file. */
export function parseCertificateLine(line: string): SshCertificate {
  const [type, encoded = ''] = line.trim().split(/[ \t]+/);
  if (type !== CERTIFICATE) throw new SshFormatError('not a line with a certificate of an Ed25519 key');
  return parseCertificate(strictBase64(encoded, 'the certificate'));
}

export function formatCertificate({ blob }: SshCertificate, comment = ''): string {
  return `${CERTIFICATE} ${blob.toString('base64')}${comment === '' ? '' : ` ${comment}`}`;
}

export interface CertificateDemand {
  /** Any of these may have issued it. */
  readonly authorities: readonly Pick<SshPublicKey, 'blob'>[];
  /** Milliseconds since 1970 at which it must be valid: when the log recorded the signature, not what the signer says. */
  readonly at: number;
  /** Must be among its principals; absent = whoever it names. */
  readonly principal?: string;
}

/** Why the certificate does not hold; null when it does. Revocation is asked of a {@link Krl}. */
export function certificateProblem(certificate: SshCertificate, demand: CertificateDemand): string | null {
  const { authority, principals, validAfter, validBefore, criticalOptions } = certificate;
  if (!demand.authorities.some(({ blob }) => blob.equals(authority.blob)))
    return `its authority ${fingerprint(authority.blob)} is not trusted`;
  const [unknown] = criticalOptions.keys();
  if (unknown !== undefined) return `it demands ${JSON.stringify(unknown)}, which is unknown here`;
  const seconds = BigInt(Math.floor(demand.at / 1000));
  if (seconds < validAfter) return `it is valid from ${instant(validAfter)} only`;
  if (seconds >= validBefore) return `it was valid until ${instant(validBefore)}`;
  if (demand.principal !== undefined && !principals.includes(demand.principal))
    return `it is for ${principals.join(', ')}, not for ${demand.principal}`;
  return null;
}

function instant(seconds: bigint): string {
  return seconds > 253_402_300_799n ? 'for ever' : new Date(Number(seconds) * 1000).toISOString().replace('.000', '');
}
