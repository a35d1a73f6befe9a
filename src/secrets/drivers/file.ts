import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import { join, normalize, sep } from 'node:path';
import { EnforcementError, NotFoundError, OutsideError, UsageError } from '../../base/errors.ts';
import { LONGEST_SECRET } from '../../base/redact/index.ts';
import { type Declared, declaredSecrets } from '../declared.ts';
import type { SecretDriver } from '../driver.ts';

export interface FileOptions {
  /** Where the secret's volume is mounted. */
  readonly folder: string;
  readonly secrets: Declared<{ /** Relative to the folder. */ readonly file: string }>;
}

/** Others may do nothing, and the group may only read (`fsGroup`). */
const FORBIDDEN = 0o037;

/**
 * Secrets in files that somebody else puts there: volumes of Kubernetes secrets, `/run/secrets`. In such a volume a file is a link to
 * `..data/NAME`, and `..data` one to the current version: links are followed as long as they stay within the folder. One line
 * feed at the end is not part of the value.
 */
export function fileSecrets({ folder, secrets }: FileOptions): SecretDriver {
  for (const [name, { file }] of Object.entries(secrets)) {
    const plain = normalize(file);
    if (file === '' || plain.startsWith(sep) || plain === '..' || plain.startsWith(`..${sep}`) || file.includes('\0')) {
      throw new UsageError(`the file of the secret ${name} is outside ${folder}: ${JSON.stringify(file)}`, {
        remedy: 'write its path below that folder',
      });
    }
  }
  return declaredSecrets('file', secrets, async ({ file }, name) => {
    const path = join(folder, file);
    const handle = await openWithin(folder, path, name);
    try {
      return await read(handle, path);
    } finally {
      await handle.close();
    }
  });
}

async function openWithin(folder: string, path: string, name: string, attempts = 10): Promise<FileHandle> {
  try {
    const [root, target] = await Promise.all([realpath(folder), realpath(path)]);
    if (!target.startsWith(root.endsWith(sep) ? root : root + sep)) {
      throw new EnforcementError('secrets', `${path} is a link that leads out of ${folder}`, {
        remedy: 'put the file itself there',
      });
    }
    // By the name without links: one that is put in its place now is not followed.
    return await open(target, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    if (cause instanceof EnforcementError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    // The kubelet takes the version before away as soon as there is a new one, also between the two steps above.
    if (code === 'ENOENT' && attempts > 1) return openWithin(folder, path, name, attempts - 1);
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new NotFoundError(`the secret ${name} is not there: ${path} does not exist`, {
        cause,
        remedy: 'see that the volume is mounted and has that key',
      });
    }
    throw new OutsideError(`${path} cannot be read (${code})`, { cause, remedy: 'let this user read it' });
  }
}

async function read(handle: FileHandle, path: string): Promise<{ bytes: Buffer; updated: number }> {
  const stats = await handle.stat();
  const refuse = (what: string, remedy: string) => new EnforcementError('secrets', `${path} ${what}`, { remedy });
  if (!stats.isFile()) throw refuse('is not a regular file', 'name the file itself');
  if ((stats.mode & FORBIDDEN) !== 0) {
    throw refuse(
      `has mode ${(stats.mode & 0o777).toString(8)}: other users can get at it`,
      `chmod 0400 it; for a Kubernetes volume write defaultMode: 0400`,
    );
  }
  if (stats.size > LONGEST_SECRET + 2)
    throw refuse(`has ${stats.size} bytes`, `a secret has at most ${LONGEST_SECRET}`);
  const bytes = await handle.readFile();
  const end = bytes.at(-1) === 0x0a ? (bytes.at(-2) === 0x0d ? -2 : -1) : bytes.length;
  return { bytes: bytes.subarray(0, end), updated: Math.floor(stats.mtimeMs) };
}
