import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { EnforcementError } from './errors.ts';

/** Bits of a mode that let the group or everybody do anything. */
const OTHERS = 0o077;

/**
 * A file that holds a key or a secret: a regular file, no link, of this user or root, that nobody else can read. Everything is
 * checked on the descriptor that is read, so that it cannot be another file by then. Synchronous: such files are small, and four
 * trips to the thread pool take twenty times as long as reading one.
 * Throws `EnforcementError` with the command that corrects it; the system's error when it is missing (ENOENT).
 */
export function readOwnFile(path: string, maxBytes: number): Buffer {
  const fd = openFile(path);
  try {
    const stats = fstatSync(fd);
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
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ELOOP') throw error;
    throw refused(`${path} is a symbolic link`, 'put the file itself there');
  }
}

function refused(message: string, remedy: string): EnforcementError {
  return new EnforcementError('storage', message, { remedy });
}
