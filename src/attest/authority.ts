import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { createOnce, writeDurably } from '../base/durable-file.ts';
import { ConflictError, EnforcementError } from '../base/errors.ts';
import type { RandomSource } from '../base/ids.ts';
import { readOwnFile } from '../base/own-file.ts';
import { strictJsonParse } from '../base/strict-json.ts';
import { formatAllowedSigner } from './ssh/allowed-signers.ts';
import { issueCertificate, type SshCertificate } from './ssh/certificate.ts';
import {
  fingerprint,
  formatPublicKey,
  generateKey,
  parsePublicKeyLine,
  privateKeyFromPem,
  type SshPrivateKey,
} from './ssh/keys.ts';
import { formatKrl } from './ssh/krl.ts';

/**
 * The installation's authority: certifies the keys of runs, which sign commits, and signs nothing else. In the folder of keys:
 *
 *   commit-authority-<16 hex digits>.key   PKCS #8 in PEM, 0600
 *   commit-authorities.json                which one is used, all there were, and what was revoked
 */
const STATE = 'commit-authorities.json';
const FORMAT = 'cordon-commit-authorities/1';
const MAX_STATE = 16 * 1024 * 1024;

const key = z.string().regex(/^ssh-ed25519 [A-Za-z0-9+/]+=*$/);
const stateSchema = z.strictObject({
  format: z.literal(FORMAT),
  current: key,
  authorities: z.array(z.strictObject({ key, from: z.iso.datetime(), until: z.iso.datetime().nullable() })).min(1),
  revoked: z.array(
    z.strictObject({
      run: z.string(),
      authority: key,
      serial: z.string().regex(/^[1-9]\d{0,19}$/),
      at: z.iso.datetime(),
    }),
  ),
});

/** Times are RFC 3339 in UTC, keys `ssh-ed25519 AAAA…`, serials decimal. */
export type AuthorityState = z.infer<typeof stateSchema>;

/** The authority in use, made at first use. Throws `EnforcementError` when its key is not this user's alone, or cannot be read. */
export async function loadOrCreateAuthority(keys: string, now: string): Promise<SshPrivateKey> {
  const state = readAuthorities(keys) ?? (await firstState(keys, now));
  const path = join(keys, fileOf(state.current));
  try {
    const loaded = privateKeyFromPem(readOwnFile(path, 4096).toString('latin1'));
    if (formatPublicKey(loaded) === state.current) return loaded;
    throw new Error('it is another key');
  } catch (cause) {
    if (cause instanceof EnforcementError) throw cause;
    throw new EnforcementError('commit-authority', `the key ${path} cannot be used: ${(cause as Error).message}`, {
      cause,
      remedy: 'restore it from a backup, or make another: cordon attest rotate --authority',
    });
  }
}

/** What there is; null before the first use. Throws `EnforcementError` for a file that cannot be read. */
export function readAuthorities(keys: string): AuthorityState | null {
  const path = join(keys, STATE);
  let bytes: Buffer;
  try {
    bytes = readOwnFile(path, MAX_STATE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    return stateSchema.parse(strictJsonParse(bytes.toString(), 16));
  } catch (cause) {
    throw new EnforcementError('commit-authority', `${path} cannot be read: ${(cause as Error).message}`, {
      cause,
      remedy: 'restore it from a backup: it says which certificates are revoked',
    });
  }
}

/** Of two processes that begin at once, both go on with the key of the first. */
async function firstState(keys: string, now: string): Promise<AuthorityState> {
  await mkdir(keys, { recursive: true, mode: 0o700 });
  const made = await makeKey(keys);
  const state: AuthorityState = {
    format: FORMAT,
    current: made,
    authorities: [{ key: made, from: now, until: null }],
    revoked: [],
  };
  await createOnce(keys, STATE, encode(state));
  return readAuthorities(keys) as AuthorityState;
}

async function makeKey(keys: string): Promise<string> {
  const made = generateKey();
  const line = formatPublicKey(made);
  await createOnce(keys, fileOf(line), made.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return line;
}

function fileOf(line: string): string {
  const digest = Buffer.from(fingerprint(parsePublicKeyLine(line).blob).slice('SHA256:'.length), 'base64');
  return `commit-authority-${digest.toString('hex').slice(0, 16)}.key`;
}

const encode = (state: AuthorityState) => `${JSON.stringify(state, null, 2)}\n`;

async function write(keys: string, state: AuthorityState): Promise<AuthorityState> {
  await writeDurably(join(keys, STATE), encode(stateSchema.parse(state)));
  return state;
}

/** Another authority from now on; certificates of the old one hold for what is signed before `until`. */
export async function rotateAuthority(
  keys: string,
  { now, until }: { readonly now: string; readonly until: string },
): Promise<AuthorityState> {
  const state = readAuthorities(keys) ?? (await firstState(keys, now));
  const current = await makeKey(keys);
  const authorities = state.authorities.map((entry) =>
    entry.key === state.current ? { ...entry, until: entry.until ?? until } : entry,
  );
  return write(keys, { ...state, current, authorities: [...authorities, { key: current, from: now, until: null }] });
}

/** What a run's key signed is good for nobody from now on. Throws `ConflictError` when there is no such authority here. */
export async function revokeCertificate(
  keys: string,
  revoked: { readonly run: string; readonly authority: string; readonly serial: bigint; readonly at: string },
): Promise<AuthorityState> {
  const state = readAuthorities(keys);
  // As the log names it: by its fingerprint.
  const issuer = state?.authorities.find((entry) => nameOf(entry.key) === revoked.authority);
  if (state === null || issuer === undefined)
    throw new ConflictError(`the certificate ${revoked.serial} is not one of this installation’s authorities`, {
      remedy: 'revoke it where its run was',
    });
  const entry = { ...revoked, authority: issuer.key, serial: String(revoked.serial) };
  if (state.revoked.some((other) => other.serial === entry.serial && other.authority === entry.authority)) return state;
  return write(keys, { ...state, revoked: [...state.revoked, entry] });
}

const nameOf = (line: string) => fingerprint(parsePublicKeyLine(line).blob);

/** OpenSSH's revocation list, for `gpg.ssh.revocationFile`. Its version goes up with each revocation. `now`: milliseconds. */
export function revocationList(state: AuthorityState, now: number): Buffer {
  const serials = state.authorities.map((entry) => ({
    authority: parsePublicKeyLine(entry.key),
    serials: state.revoked.filter(({ authority }) => authority === entry.key).map(({ serial }) => BigInt(serial)),
  }));
  const version = BigInt(state.revoked.length + 1);
  return formatKrl({ version, generated: now, comment: 'cordon', serials, keys: [] });
}

/** Lines for git's `gpg.ssh.allowedSignersFile`: everybody whom these authorities certified. */
export function allowedSigners(state: AuthorityState): string[] {
  return state.authorities.map((entry) =>
    formatAllowedSigner(
      {
        principals: ['*'],
        certAuthority: true,
        namespaces: ['git'],
        validAfter: null,
        validBefore: entry.until === null ? null : Date.parse(entry.until),
        key: parsePublicKeyLine(entry.key),
      },
      'cordon',
    ),
  );
}

/** What a verifier of runs' certificates finds in `keyId`. */
const keyIdOf = (run: string) => `cordon run ${run}`;

/** Milliseconds by which a certificate outlasts its run's limit: what is left uncommitted is signed after the agent's end. */
const MARGIN = 600_000;

export interface RunKey {
  readonly key: SshPrivateKey;
  readonly certificate: SshCertificate;
}

/** A new key for one run, and its certificate. The key exists in this process's memory only. */
export function certifyRun(
  run: {
    readonly id: string;
    /** In whose name it works, then for whom. */
    readonly principals: readonly string[];
    /** Milliseconds since 1970, and how long the run may take. */
    readonly started: number;
    readonly limit: number;
  },
  authority: SshPrivateKey,
  random: RandomSource = randomBytes,
): RunKey {
  const made = generateKey();
  // 0 cannot be revoked. Random, so that two machines with one authority never give a number twice.
  const serial = Buffer.from(random(8)).readBigUInt64BE() || 1n;
  const fields = {
    serial,
    keyId: keyIdOf(run.id),
    principals: run.principals,
    validAfter: BigInt(Math.floor(run.started / 1000)) - 60n,
    validBefore: BigInt(Math.ceil((run.started + run.limit + MARGIN) / 1000)),
    criticalOptions: new Map(),
    extensions: new Map(),
  };
  return { key: made, certificate: issueCertificate(made, fields, authority, random) };
}
