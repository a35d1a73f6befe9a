import { createHash } from 'node:crypto';
import type { SshCertificate } from './certificate.ts';
import type { SshPublicKey } from './keys.ts';
import { SshFormatError, SshReader, sshString, uint32, uint64 } from './wire.ts';

/**
 * Key revocation lists (OpenSSH's PROTOCOL.krl), which `ssh-keygen -Q`, `ssh-keygen -Y verify -r` and git's
 * `gpg.ssh.revocationFile` read:
 *
 *   uint64 magic "SSHKRL\n\0"  uint32 1  uint64 version  uint64 generated (seconds)  uint64 flags  string reserved
 *   string comment, then sections: byte type, string data
 *     1 certificates   string authority's key (empty = any)  string reserved, then sections: byte type, string data
 *          0x20 serials: uint64 …    0x21 a range: uint64 uint64    0x22 a bitmap: uint64 first, mpint    0x23 key ids: string …
 *     2 keys: string …          5 SHA-256 of keys: string …
 *
 * Written are lists of serials and of keys; read is all of the above. Signatures and SHA-1 are refused rather than
 * overlooked.
 */
const MAGIC = 0x5353484b524c0a00n;
const CERTIFICATES = 1;
const KEYS = 2;
const FINGERPRINTS = 5;
const SERIALS = 0x20;
const RANGE = 0x21;
const BITMAP = 0x22;
const KEY_IDS = 0x23;
const MAX_KRL = 16 * 1024 * 1024;

export interface KrlFields {
  /** Goes up with every list that is made. */
  readonly version: bigint;
  /** Milliseconds since 1970. */
  readonly generated: number;
  readonly comment: string;
  /** Serial numbers of revoked certificates, by the authority that issued them. 0 cannot be revoked. */
  readonly serials: readonly { readonly authority: Pick<SshPublicKey, 'blob'>; readonly serials: readonly bigint[] }[];
  /** Keys that sign nothing any more: a run's, or an authority's with all that it certified. */
  readonly keys: readonly Pick<SshPublicKey, 'blob'>[];
}

export interface Krl {
  readonly version: bigint;
  readonly generated: number;
  readonly comment: string;
  /** Why what signed is revoked; null when it is not. */
  revoked(signer: { readonly key: SshPublicKey; readonly certificate: SshCertificate | null }): string | null;
}

export function formatKrl({ version, generated, comment, serials, keys }: KrlFields): Buffer {
  const head = [
    uint64(MAGIC),
    uint32(1),
    uint64(version),
    uint64(BigInt(Math.floor(generated / 1000))),
    uint64(0n),
    sshString(''),
    sshString(comment),
  ];
  const certificates = serials.flatMap(({ authority, serials: revoked }) => {
    const sorted = [...new Set(revoked)].sort((a, b) => (a < b ? -1 : 1));
    if (sorted.some((serial) => serial === 0n)) throw new SshFormatError('the serial 0 cannot be revoked');
    if (sorted.length === 0) return [];
    const list = section(SERIALS, Buffer.concat(sorted.map(uint64)));
    return [section(CERTIFICATES, Buffer.concat([sshString(authority.blob), sshString(''), list]))];
  });
  const explicit = keys.length === 0 ? [] : [section(KEYS, Buffer.concat(keys.map(({ blob }) => sshString(blob))))];
  return Buffer.concat([...head, ...certificates, ...explicit]);
}

function section(type: number, data: Buffer): Buffer {
  return Buffer.concat([Buffer.of(type), sshString(data)]);
}

interface Range {
  readonly low: bigint;
  readonly high: bigint;
}

interface Revoked {
  /** By the authority's key in hex; '' = any. */
  readonly serials: Map<string, Range[]>;
  readonly keyIds: Map<string, Set<string>>;
  readonly keys: Set<string>;
  readonly fingerprints: Set<string>;
}

/** Throws `SshFormatError` for everything that is not wholly understood: a revocation overlooked is a hole. */
export function parseKrl(bytes: Uint8Array): Krl {
  if (bytes.length > MAX_KRL) throw new SshFormatError(`the revocation list is larger than ${MAX_KRL} bytes`);
  const reader = new SshReader(bytes, 'the revocation list');
  if (reader.uint64() !== MAGIC || reader.uint32() !== 1)
    throw new SshFormatError('not a revocation list of version 1');
  const version = reader.uint64();
  const generated = Number(reader.uint64()) * 1000;
  reader.uint64();
  reader.string();
  const comment = reader.text();
  const revoked: Revoked = { serials: new Map(), keyIds: new Map(), keys: new Set(), fingerprints: new Set() };
  while (!reader.done) {
    const type = reader.byte();
    const data = new SshReader(reader.string(), 'a section of the revocation list');
    if (type === CERTIFICATES) readCertificates(data, revoked);
    else if (type === KEYS) while (!data.done) revoked.keys.add(data.string().toString('hex'));
    else if (type === FINGERPRINTS) while (!data.done) revoked.fingerprints.add(data.string().toString('hex'));
    else throw new SshFormatError(`the revocation list has a section of type ${type}, which is not read here`);
  }
  return { version, generated, comment, revoked: (signer) => reason(revoked, signer) };
}

function readCertificates(data: SshReader, { serials, keyIds }: Revoked): void {
  const authority = data.string().toString('hex');
  data.string();
  const ranges = serials.get(authority) ?? [];
  const ids = keyIds.get(authority) ?? new Set();
  serials.set(authority, ranges);
  keyIds.set(authority, ids);
  while (!data.done) {
    const type = data.byte();
    const list = new SshReader(data.string(), 'a section of the revocation list');
    if (type === SERIALS) {
      while (!list.done) ranges.push(from(list.uint64()));
    } else if (type === RANGE) {
      ranges.push(from(list.uint64(), list.uint64()));
      list.end();
    } else if (type === BITMAP) {
      for (const range of bitmap(list.uint64(), list.string())) ranges.push(range);
      list.end();
    } else if (type === KEY_IDS) while (!list.done) ids.add(list.text());
    else throw new SshFormatError(`the revocation list has a section of type ${type}, which is not read here`);
  }
}

/** Bit 0 of the big-endian number is `first`. */
function bitmap(first: bigint, bits: Buffer): Range[] {
  const ranges: { low: bigint; high: bigint }[] = [];
  for (let at = 0; at < bits.length * 8; at++) {
    if ((((bits[bits.length - 1 - (at >> 3)] as number) >> (at & 7)) & 1) === 0) continue;
    const serial = first + BigInt(at);
    const last = ranges.at(-1);
    if (last?.high === serial - 1n) last.high = serial;
    else ranges.push({ low: serial, high: serial });
  }
  return ranges;
}

function from(low: bigint, high = low): Range {
  if (low > high) throw new SshFormatError('the revocation list has a range that is empty');
  return { low, high };
}

function reason(revoked: Revoked, { key, certificate }: Parameters<Krl['revoked']>[0]): string | null {
  if (hasKey(revoked, key)) return 'its key is revoked';
  if (certificate === null) return null;
  if (hasKey(revoked, certificate.authority)) return 'the authority that certified it is revoked';
  for (const authority of ['', certificate.authority.blob.toString('hex')]) {
    const { serial, keyId } = certificate;
    if (serial !== 0n && revoked.serials.get(authority)?.some(({ low, high }) => low <= serial && serial <= high))
      return `its certificate ${serial} is revoked`;
    if (revoked.keyIds.get(authority)?.has(keyId)) return `the certificate of ${JSON.stringify(keyId)} is revoked`;
  }
  return null;
}

function hasKey({ keys, fingerprints }: Revoked, { blob }: Pick<SshPublicKey, 'blob'>): boolean {
  return keys.has(blob.toString('hex')) || fingerprints.has(createHash('sha256').update(blob).digest('hex'));
}
