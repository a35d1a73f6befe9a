import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { digest } from '../base/digest.ts';
import { createOnce, writeDurably } from '../base/durable-file.ts';
import { EnforcementError, NotFoundError } from '../base/errors.ts';
import { readOwnFile } from '../base/own-file.ts';
import { strictJsonParse } from '../base/strict-json.ts';
import { keyId } from './envelope.ts';
import { list, literal, object, type Shaped, sha256 } from './shape.ts';
import { attestorShape, type RevokedRun, revokedRunShape, type TrustedAttestor } from './trust.ts';

/**
 * The key that signs statements, one of its own: whoever steals it alone cannot put anything into the log, and whoever
 * steals the log's alone cannot sign a statement. In the folder of keys:
 *
 *   attestor-<16 hex digits of its id>.key    PKCS #8 in PEM, 0600
 *   attestors.json                            which one is used, and all there were: what `cordon attest key` hands out
 */
const STATE = 'attestors.json';
const FORMAT = 'cordon-attestors/1';

const stateShape = object({
  format: literal(FORMAT),
  current: sha256,
  attestors: list(attestorShape, 10_000),
  revokedRuns: list(revokedRunShape, 10_000),
});
export type AttestorState = Shaped<typeof stateShape>;

export interface Attestor {
  readonly keyid: string;
  readonly privateKey: KeyObject;
}

/** The key in use, made at first use. Throws `EnforcementError` when it is not this user's alone, or cannot be read. */
export async function loadOrCreateAttestor(keys: string, now: string): Promise<Attestor> {
  const state = readState(keys) ?? (await firstState(keys, now));
  return loadKey(keys, state.current);
}

function loadKey(keys: string, keyid: string): Attestor {
  const path = join(keys, fileOf(keyid));
  try {
    const privateKey = createPrivateKey(readOwnFile(path, 4096));
    if (keyId(createPublicKey(privateKey)) === keyid) return { keyid, privateKey };
    throw new Error('it is another key');
  } catch (cause) {
    if (cause instanceof EnforcementError) throw cause;
    throw new EnforcementError('attestor', `the attestor's key ${path} cannot be used: ${(cause as Error).message}`, {
      cause,
      remedy: 'restore it from a backup, or make another: cordon attest rotate',
    });
  }
}

const fileOf = (keyid: string) => `attestor-${keyid.slice('sha256:'.length, 'sha256:'.length + 16)}.key`;

/** What there is; null before the first use. */
export function readState(keys: string): AttestorState | null {
  const path = join(keys, STATE);
  let bytes: Buffer;
  try {
    bytes = readOwnFile(path, 8 * 1024 * 1024);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    return stateShape(strictJsonParse(bytes.toString(), 16), '');
  } catch (cause) {
    throw new EnforcementError('attestor', `${path} cannot be read: ${(cause as Error).message}`, {
      cause,
      remedy: 'restore it from a backup: it says since when each key counts',
    });
  }
}

/** Of two processes that begin at once, both go on with the key of the first. */
async function firstState(keys: string, now: string): Promise<AttestorState> {
  await mkdir(keys, { recursive: true, mode: 0o700 });
  const made = await makeKey(keys, now);
  const state: AttestorState = { format: FORMAT, current: made.keyid, attestors: [made.entry], revokedRuns: [] };
  await createOnce(keys, STATE, encode(state));
  return readState(keys) as AttestorState;
}

async function makeKey(keys: string, from: string): Promise<{ keyid: string; entry: TrustedAttestor }> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const keyid = keyId(publicKey);
  await createOnce(keys, fileOf(keyid), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const key = publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
  return { keyid, entry: { key, from, until: null, revokedFrom: null } };
}

const encode = (state: AttestorState) => `${JSON.stringify(state, null, 2)}\n`;

/**
 * Another key from now on. The old one still counts until `until`, for runs that hold it, and for ever for what was logged
 * by then. With `revokedFrom` it does not count from that moment of the log on.
 */
export async function rotateAttestor(
  keys: string,
  times: { readonly now: string; readonly until: string; readonly revokedFrom: string | number | null },
): Promise<AttestorState> {
  const state = readState(keys) ?? (await firstState(keys, times.now));
  const made = await makeKey(keys, times.now);
  const retired = state.attestors.map((attestor) =>
    attestorId(attestor) === state.current
      ? { ...attestor, until: attestor.until ?? times.until, revokedFrom: attestor.revokedFrom ?? times.revokedFrom }
      : attestor,
  );
  // One file says which key is used and which count: there is no moment in which the two disagree.
  return writeState(keys, { ...state, current: made.keyid, attestors: [...retired, made.entry] });
}

/** Nothing that was logged for the run from that moment on counts. */
export async function revokeRun(keys: string, revoked: RevokedRun): Promise<AttestorState> {
  const state = readState(keys);
  if (state === null) throw new NotFoundError('nothing was attested here yet', { remedy: 'cordon run TASK -- CMD…' });
  const others = state.revokedRuns.filter(({ run }) => run !== revoked.run);
  return writeState(keys, { ...state, revokedRuns: [...others, revoked] });
}

async function writeState(keys: string, state: AttestorState): Promise<AttestorState> {
  stateShape(state, '');
  await writeDurably(join(keys, STATE), encode(state));
  return state;
}

/** A key's id is the digest of just these bytes. */
function attestorId({ key }: TrustedAttestor): string {
  return digest(Buffer.from(key, 'base64'));
}
