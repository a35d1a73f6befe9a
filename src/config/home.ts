import type { Stats } from 'node:fs';
import { lstat, mkdir, readdir, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { EnforcementError, StorageError } from '../base/errors.ts';
import type { Paths } from './paths.ts';

/** Bits of a mode that let the group or everybody write, or do anything at all. */
const OTHERS_WRITE = 0o022;
const OTHERS_ANY = 0o077;
const EVERYBODY_WRITES = 0o002;
const STICKY = 0o1000;

/**
 * Makes the data folder (0700) and its parts, or checks those that are there. The log, the keys and the list of what may
 * run are only worth as much as the folder: it is refused when anybody but this user (and root) could change it or
 * swap it for another, and its keys when anybody else could read them.
 * Throws `EnforcementError` with the command that corrects it, `StorageError` when it cannot be made.
 */
export async function prepareHome(paths: Paths, uid: number = process.geteuid?.() ?? 0): Promise<void> {
  try {
    for (const folder of [paths.home, paths.audit, paths.keys, paths.mirrors, paths.runs]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
    }
  } catch (cause) {
    throw new StorageError(`the data folder ${paths.home} could not be made: ${(cause as Error).message}`, {
      cause,
      remedy: 'make it writable for this user, or set CORDON_HOME to a folder that is',
    });
  }
  await checkHome(paths, uid);
}

/** The checks of {@link prepareHome} alone, for `cordon doctor`. */
export async function checkHome(paths: Paths, uid: number = process.geteuid?.() ?? 0): Promise<void> {
  for (const folder of [paths.home, paths.audit, paths.keys, paths.mirrors, paths.runs]) {
    const forbidden = folder === paths.keys ? OTHERS_ANY : OTHERS_WRITE;
    refuse(folder, await stat(folder), forbidden, uid);
  }
  for (const name of await readdir(paths.keys)) {
    const file = join(paths.keys, name);
    // Public halves may be read by everybody; changing one would make a forged log verify.
    refuse(file, await lstat(file), /\.(vkey|pub)$/.test(name) ? OTHERS_WRITE : OTHERS_ANY, uid);
  }
  for (let folder = dirname(await realpath(paths.home)); ; folder = dirname(folder)) {
    await refuseAncestor(folder, uid);
    if (folder === dirname(folder)) return;
  }
}

function refuse(path: string, stats: Stats, forbidden: number, uid: number): void {
  if (stats.uid !== uid) {
    throw new EnforcementError(
      'storage',
      `${path} belongs to user ${stats.uid}, not to the one running Cordon (${uid})`,
      {
        remedy: `chown -R ${uid} ${path}, or set CORDON_HOME to a folder of your own`,
      },
    );
  }
  const bits = stats.mode & forbidden;
  if (bits === 0) return;
  const verb = (bits & OTHERS_WRITE) !== 0 ? 'written' : 'read';
  throw new EnforcementError('storage', `${path} can be ${verb} by others (mode ${octal(stats.mode)})`, {
    remedy: `chmod ${forbidden === OTHERS_ANY ? 'go-rwx' : 'go-w'} ${path}`,
  });
}

/** Whoever can rename an entry of a folder above can put another data folder in its place; the sticky bit prevents that. */
async function refuseAncestor(folder: string, uid: number): Promise<void> {
  const stats = await stat(folder);
  if (stats.uid !== uid && stats.uid !== 0) {
    throw new EnforcementError('storage', `${folder}, above the data folder, belongs to another user (${stats.uid})`, {
      remedy: 'set CORDON_HOME to a folder below your own',
    });
  }
  if ((stats.mode & EVERYBODY_WRITES) === 0 || (stats.mode & STICKY) !== 0) return;
  throw new EnforcementError('storage', `${folder}, above the data folder, can be written by everybody`, {
    remedy: `chmod o-w ${folder}, or set CORDON_HOME to another folder`,
  });
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}
