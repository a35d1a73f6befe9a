import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { lstat, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createOnce, writeDurably } from '../base/durable-file.ts';
import { AuditUnavailableError } from '../base/errors.ts';
import type { RandomSource } from '../base/ids.ts';
import { NoteError, parseSignerKey, type Signer, signerFromSeed } from './checkpoint.ts';

/** The log's signing key in the folder of keys, and its public half, which is all that verifying takes. */
export const KEY_FILE = 'audit.key';
export const VKEY_FILE = 'audit.vkey';

/**
 * Refuses a folder or file that somebody else could have written: what the log says would be worth nothing.
 * `secret` files may not even be read by others. Throws `AuditUnavailableError`.
 */
export async function requireOwn(path: string, kind: 'folder' | 'secret'): Promise<void> {
  const stat: Stats = await lstat(path);
  const uid = process.geteuid?.();
  const refuse = (what: string, remedy: string): never => {
    throw new AuditUnavailableError(`${path} ${what}`, { remedy });
  };
  if (kind === 'folder' ? !stat.isDirectory() : !stat.isFile())
    refuse(`is not a ${kind === 'folder' ? 'folder' : 'regular file'}`, `move it away`);
  if (stat.uid !== uid && stat.uid !== 0)
    refuse(`belongs to user ${stat.uid}, not to user ${uid}`, `chown it, or set CORDON_HOME to a folder of your own`);
  const forbidden = kind === 'folder' ? 0o022 : 0o077;
  if ((stat.mode & forbidden) !== 0) {
    const mode = (stat.mode & 0o777).toString(8);
    refuse(
      `has mode ${mode}: other users could ${kind === 'folder' ? 'change' : 'read'} it`,
      `chmod ${kind === 'folder' ? 'go-w' : '600'} ${path}`,
    );
  }
}

/** A random name, so that two installations' checkpoints are never taken for each other's. */
function newSigner(random: RandomSource): Signer {
  return signerFromSeed(`cordon/${Buffer.from(random(8)).toString('hex')}`, random(32));
}

/**
 * The log's key, made at first use. The folder is made (0700) too.
 * Throws `AuditUnavailableError` when folder or key are not this user's alone, or the key cannot be read.
 */
export async function loadOrCreateSigner(keys: string, random: RandomSource = randomBytes): Promise<Signer> {
  await mkdir(keys, { recursive: true, mode: 0o700 });
  await requireOwn(keys, 'folder');
  const path = join(keys, KEY_FILE);
  const there = await lstat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
  if (!there) await createOnce(keys, KEY_FILE, `${newSigner(random).skey}\n`);
  await requireOwn(path, 'secret');
  const signer = parseKeyFile(
    path,
    await readFile(path, { encoding: 'utf8', flag: constants.O_RDONLY | constants.O_NOFOLLOW }),
  );
  const vkey = await readFile(join(keys, VKEY_FILE), 'utf8').catch(() => '');
  if (vkey !== `${signer.vkey}\n`) await writeDurably(join(keys, VKEY_FILE), `${signer.vkey}\n`, 0o644);
  return signer;
}

function parseKeyFile(path: string, text: string): Signer {
  try {
    return parseSignerKey(text.trim());
  } catch (cause) {
    if (!(cause instanceof NoteError)) throw cause;
    throw new AuditUnavailableError(`the audit log's key ${path} cannot be used: ${cause.message}`, {
      cause,
      remedy: 'restore it from a backup; a new key would begin a new log',
    });
  }
}
