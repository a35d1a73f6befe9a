import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { EnforcementError } from './errors.ts';

/** Bits of a mode that let the group or everybody do anything. */
const OTHERS = 0o077;

/**
 * A file that holds a key or a secret: a regular file, no link, of this user or root, that nobody else can read. Everything is
 * checked on the descriptor that is read, so that it cannot be another file by then.
 * Throws `EnforcementError` with the command that corrects it; the system's error when it is missing (ENOENT).
 */
export async function readOwnFile(path: string, maxBytes: number): Promise<Buffer> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ELOOP') throw error;
      throw refused(`${path} is a symbolic link`, 'put the file itself there');
    },
  );
  try {
    const stats = await handle.stat();
    const { uid, mode, size } = stats;
    if (!stats.isFile()) throw refused(`${path} is not a regular file`, 'move it away');
    if (uid !== process.geteuid?.() && uid !== 0)
      throw refused(`${path} belongs to user ${uid}`, `chown ${process.geteuid?.()} ${path}`);
    if ((mode & OTHERS) !== 0) {
      throw refused(
        `${path} has mode ${(mode & 0o777).toString(8)}: other users can get at it`,
        `chmod 600 ${path}, and replace what was in it if others may have read it`,
      );
    }
    if (size > maxBytes) throw refused(`${path} has ${size} bytes, more than ${maxBytes}`, 'move it away');
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

function refused(message: string, remedy: string): EnforcementError {
  return new EnforcementError('storage', message, { remedy });
}
