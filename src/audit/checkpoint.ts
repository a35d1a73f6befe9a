import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { sha256Hex } from '../base/digest.ts';
import { HASH_BYTES } from './merkle.ts';

/**
 * Signed checkpoints: C2SP tlog-checkpoint (c2sp.org/tlog-checkpoint) in a C2SP signed note (c2sp.org/signed-note).
 *
 *   <origin>\n<size>\n<base64 root>\n\n— <key name> <base64(key id ‖ Ed25519 signature)>\n
 *   key id        first 4 bytes of SHA-256(<key name> ‖ 0x0A ‖ 0x01 ‖ public key)
 *   verifier key  <key name>+<key id, hex>+<base64(0x01 ‖ public key)>
 *   signer key    PRIVATE+KEY+<key name>+<key id, hex>+<base64(0x01 ‖ seed)>   (as in Go's sumdb/note)
 *
 * Pure. What cannot be used throws `NoteError`; callers at the edge turn it into an error of their own.
 */

const ED25519 = 0x01;
/** DER in front of a raw Ed25519 public key (RFC 8410 section 4) and of a seed (section 7). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');
const MAX_NOTE = 16 * 1024;

export class NoteError extends Error {}

export interface Verifier {
  readonly name: string;
  /** The key id as 8 hex digits. */
  readonly id: string;
  /** The verifier key as other tools take it. */
  readonly vkey: string;
  readonly publicKey: KeyObject;
}

export interface Signer extends Verifier {
  readonly privateKey: KeyObject;
  /** The signer key, secret. */
  readonly skey: string;
}

export interface Checkpoint {
  readonly origin: string;
  /** Leaves of the tree. */
  readonly size: number;
  readonly root: Uint8Array;
}

function keyId(name: string, typed: Uint8Array): string {
  return sha256Hex(Buffer.concat([Buffer.from(`${name}\n`), typed])).slice(0, 8);
}

/** Strict: the one spelling that encoding gives back, so that two texts never stand for one value. */
function base64(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new NoteError(`not base64: ${JSON.stringify(text.slice(0, 80))}`);
  return bytes;
}

function isKeyName(name: string): boolean {
  return name !== '' && name.isWellFormed() && !/[\s+\p{Cc}]/u.test(name);
}

function verifierOf(name: string, raw: Uint8Array): Verifier {
  const typed = Buffer.concat([Buffer.of(ED25519), raw]);
  const publicKey = createPublicKey({ key: Buffer.concat([SPKI, raw]), format: 'der', type: 'spki' });
  const id = keyId(name, typed);
  return { name, id, vkey: `${name}+${id}+${typed.toString('base64')}`, publicKey };
}

/** The key's name, its id and what follows; the last part may itself contain `+`. */
function splitKey(text: string): { name: string; id: string; typed: Buffer } {
  const match = /^([^+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text.trim());
  const [, name = '', id = '', encoded = ''] = match ?? [];
  if (!isKeyName(name)) throw new NoteError('not a key: expected <name>+<8 hex digits>+<base64>');
  const typed = base64(encoded);
  if (typed.length !== 1 + HASH_BYTES || typed[0] !== ED25519)
    throw new NoteError(`the key ${name} is not an Ed25519 key`);
  return { name, id, typed };
}

export function parseVerifierKey(vkey: string): Verifier {
  const { name, id, typed } = splitKey(vkey);
  const verifier = verifierOf(name, typed.subarray(1));
  if (verifier.id !== id) throw new NoteError(`the key ${name} has the id ${verifier.id}, not ${id}`);
  return verifier;
}

export function signerFromSeed(name: string, seed: Uint8Array): Signer {
  if (!isKeyName(name)) throw new NoteError(`not a key name: ${JSON.stringify(name)}`);
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const verifier = verifierOf(name, spki.subarray(SPKI.length));
  const secret = Buffer.concat([Buffer.of(ED25519), seed]).toString('base64');
  return { ...verifier, privateKey, skey: `PRIVATE+KEY+${name}+${verifier.id}+${secret}` };
}

export function parseSignerKey(skey: string): Signer {
  const prefix = 'PRIVATE+KEY+';
  if (!skey.startsWith(prefix)) throw new NoteError(`not a signer key: it does not begin with ${prefix}`);
  const { name, id, typed } = splitKey(skey.slice(prefix.length));
  const signer = signerFromSeed(name, typed.subarray(1));
  if (signer.id !== id) throw new NoteError(`the key ${name} has the id ${signer.id}, not ${id}`);
  return signer;
}

/** `text` ends with a newline. */
export function signNote(text: string, signer: Signer): string {
  const signature = sign(null, Buffer.from(text), signer.privateKey);
  const blob = Buffer.concat([Buffer.from(signer.id, 'hex'), signature]).toString('base64');
  return `${text}\n— ${signer.name} ${blob}\n`;
}

/** The text of a note signed by `verifier`'s key; other signatures are ignored. Throws `NoteError`. */
export function openNote(note: string, verifier: Verifier): string {
  if (note.length > MAX_NOTE) throw new NoteError(`longer than ${MAX_NOTE} characters`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: signed-note forbids exactly these
  if (/[\x00-\x09\x0b-\x1f]/.test(note) || !note.isWellFormed()) throw new NoteError('holds control characters');
  const cut = note.lastIndexOf('\n\n');
  if (cut < 0 || !note.endsWith('\n')) throw new NoteError('not a signed note');
  const text = note.slice(0, cut + 1);
  let verified = false;
  for (const line of note.slice(cut + 2, -1).split('\n')) {
    const [, name, encoded] = /^— (\S+) (\S+)$/u.exec(line) ?? [];
    if (name === undefined || encoded === undefined) throw new NoteError('a signature line is malformed');
    const blob = base64(encoded);
    if (name !== verifier.name || blob.toString('hex', 0, 4) !== verifier.id) continue;
    if (!verify(null, Buffer.from(text), verifier.publicKey, blob.subarray(4))) {
      throw new NoteError(`the signature of ${name} is wrong`);
    }
    verified = true;
  }
  if (!verified) throw new NoteError(`not signed by ${verifier.name} (key ${verifier.id})`);
  return text;
}

export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString('base64')}\n`;
}

export function parseCheckpoint(text: string): Checkpoint {
  const [origin, size, root, ...rest] = text.split('\n');
  if (!origin || size === undefined || root === undefined || rest.at(-1) !== '' || rest.slice(0, -1).includes('')) {
    throw new NoteError('not a checkpoint: expected origin, size and root, a line each');
  }
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size) || !Number.isSafeInteger(Number(size))) {
    throw new NoteError(`not a tree size: ${JSON.stringify(size.slice(0, 40))}`);
  }
  const bytes = base64(root);
  if (bytes.length !== HASH_BYTES) throw new NoteError(`a root of ${bytes.length} bytes, not ${HASH_BYTES}`);
  return { origin, size: Number(size), root: bytes };
}

export function signCheckpoint(tree: { size: number; root: Uint8Array }, signer: Signer): string {
  return signNote(formatCheckpoint({ origin: signer.name, ...tree }), signer);
}

/** Opens a checkpoint of the log whose key this is: the origin must be the key's name. Throws `NoteError`. */
export function openCheckpoint(note: string, verifier: Verifier): Checkpoint {
  const checkpoint = parseCheckpoint(openNote(note, verifier));
  if (checkpoint.origin !== verifier.name) {
    throw new NoteError(`a checkpoint of ${JSON.stringify(checkpoint.origin)}, not of ${verifier.name}`);
  }
  return checkpoint;
}
