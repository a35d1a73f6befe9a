import { parseVerifierKey, type Verifier } from '../audit/checkpoint.ts';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { UsageError } from '../base/errors.ts';
import { strictJsonParse } from '../base/strict-json.ts';
import { keyId, publicKeyOf } from './envelope.ts';
import {
  base64,
  count,
  either,
  list,
  literal,
  nullable,
  object,
  runId,
  type Shape,
  type Shaped,
  ShapeError,
  sha256,
  text,
  time,
} from './shape.ts';
import { type Krl, parseKrl } from './ssh/krl.ts';

/**
 * The public key file: whom a verifier believes, and since when no longer. `cordon attest key` writes it; docs/attestation.md
 * describes it. Times are the log's: a key signs what was logged within its window, whatever a statement or a commit says.
 */
export const TRUST_FORMAT = 'cordon-trust/1';
const MAX_ENTRIES = 10_000;

/** From there on nothing counts: a time, or the index of a log's record. */
const fromWhen = nullable(either(time as Shape<string | number>, count));

export const attestorShape = object({
  /** SubjectPublicKeyInfo in DER. */
  key: base64(64, 44),
  from: time,
  until: nullable(time),
  revokedFrom: fromWhen,
});
export type TrustedAttestor = Shaped<typeof attestorShape>;

export const revokedRunShape = object({ run: runId, revokedFrom: fromWhen });
export type RevokedRun = Shaped<typeof revokedRunShape>;

const authorityShape = object({
  /** `ssh-ed25519 AAAA…` */
  key: text(256, /^ssh-ed25519 [A-Za-z0-9+/]+=*$/, 'ssh-ed25519 and a key in base64'),
  from: time,
  until: nullable(time),
});

const shape = object({
  format: literal(TRUST_FORMAT),
  /** Logs, by their verifier keys. */
  logs: list(object({ key: text(512), pinned: nullable(object({ size: count, root: base64(44, 32) })) }), 100),
  attestors: list(attestorShape, MAX_ENTRIES),
  /** Who certifies the keys that sign commits. */
  authorities: list(authorityShape, 100),
  /** OpenSSH's key revocation list; null where none was made. */
  krl: nullable(base64(16 * 1024 * 1024)),
  revokedRuns: list(revokedRunShape, MAX_ENTRIES),
  /** Policies that were in force, and when; null: whichever the statement names. */
  policies: nullable(list(object({ digest: sha256, from: time, until: nullable(time) }), MAX_ENTRIES)),
});
export type TrustDocument = Shaped<typeof shape>;

export interface Trust extends TrustDocument {
  readonly revocations: Krl | null;
  /** By origin. */
  readonly verifiers: ReadonlyMap<string, Verifier>;
  readonly attestorOf: (
    keyid: string,
  ) => ({ readonly publicKey: NonNullable<ReturnType<typeof publicKeyOf>> } & TrustedAttestor) | null;
}

/** Throws `UsageError` that says what is wrong with the file. */
export function parseTrust(document: string, file: string): Trust {
  try {
    return open(shape(strictJsonParse(document, 16), ''));
  } catch (cause) {
    const remedy = 'it is what `cordon attest key` writes; get it again from whoever runs that installation';
    throw new UsageError(`the public key file ${file} cannot be used: ${(cause as Error).message}`, { cause, remedy });
  }
}

export function open(document: TrustDocument): Trust {
  const verifiers = new Map(document.logs.map(({ key }) => [parseVerifierKey(key).name, parseVerifierKey(key)]));
  if (verifiers.size < document.logs.length) throw new ShapeError('logs: one origin twice');
  const attestors = new Map(
    document.attestors.map((attestor, i) => {
      const publicKey = publicKeyOf(Buffer.from(attestor.key, 'base64'));
      if (publicKey === null) throw new ShapeError(`attestors[${i}].key: expected an Ed25519 key`);
      return [keyId(publicKey), { ...attestor, publicKey }];
    }),
  );
  if (attestors.size < document.attestors.length) throw new ShapeError('attestors: one key twice');
  if (verifiers.size === 0 || attestors.size === 0) throw new ShapeError('it names no log or no attestor');
  const revocations = document.krl === null ? null : parseKrl(Buffer.from(document.krl, 'base64'));
  return { ...document, revocations, verifiers, attestorOf: (keyid) => attestors.get(keyid) ?? null };
}

export function formatTrust(document: TrustDocument): string {
  canonicalJson(document as unknown as Json); // throws for what has no exact form
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** A moment of a log: when it recorded something, and as which record. */
export interface LogMoment {
  readonly time: string;
  readonly seq: number;
}

export function isRevoked(revokedFrom: string | number | null, { time: at, seq }: LogMoment): boolean {
  if (revokedFrom === null) return false;
  return typeof revokedFrom === 'number' ? seq >= revokedFrom : at >= revokedFrom;
}
