import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import koffi from 'koffi';
import { type Clock, systemClock } from './clock.ts';
import { StorageError } from './errors.ts';
import { type LockHolder, lockHolders } from './lock-holders.ts';

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

const libc = koffi.load(null);
const flock = libc.func('int flock(int fd, int operation)') as (fd: number, operation: number) => number;

/** Any number may hold a lock `shared` at once; `exclusive` is alone. Asking for the other kind converts a lock one holds. */
export type LockMode = 'shared' | 'exclusive';

/**
 * A lock between processes, exclusive unless asked otherwise: flock(2) on a file that is never removed. The kernel releases it when its holder
 * dies, also by SIGKILL, so there is nothing stale to clean up. It belongs to this object's own descriptor: two
 * `FileLock`s on one path exclude each other within one process too.
 *
 * The wait polls instead of blocking in flock(2): a thread stuck behind a stopped holder could be neither given up nor
 * joined when the process ends, and Node has only a handful of them.
 */
export class FileLock {
  readonly path: string;
  readonly #clock: Clock;
  #fd: number;

  /**
   * `create` makes the file (0600) if there is none; `existing` needs no more than the right to read it.
   * Throws the system's error (ENOENT, EACCES, ELOOP for a link).
   */
  constructor(path: string, clock: Clock = systemClock, how: 'create' | 'existing' = 'create') {
    this.path = path;
    this.#clock = clock;
    const access = how === 'create' ? constants.O_RDWR | constants.O_CREAT : constants.O_RDONLY;
    this.#fd = openSync(path, access | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600);
  }

  /**
   * Takes the lock if it is free. Microseconds, no waiting. Throws `StorageError` when the file was removed or replaced
   * since it was opened: others would then lock another file, and both would hold "the" lock.
   */
  tryAcquire(mode: LockMode = 'exclusive'): boolean {
    if (this.#fd < 0) throw new StorageError(`the lock ${this.path} was closed`);
    if (flock(this.#fd, (mode === 'shared' ? LOCK_SH : LOCK_EX) | LOCK_NB) === 0) {
      const [ours, there] = [fstatSync(this.#fd), statSync(this.path, { throwIfNoEntry: false })];
      if (there?.ino === ours.ino && there.dev === ours.dev) return true;
      this.release();
      throw new StorageError(`the lock ${this.path} was removed or replaced while it was in use`, {
        remedy: 'leave lock files alone: the kernel releases them when their holder ends',
      });
    }
    const errno = koffi.errno();
    if (errno === koffi.os.errno.EWOULDBLOCK || errno === koffi.os.errno.EINTR) return false;
    throw new StorageError(`the lock ${this.path} could not be taken: flock failed with errno ${errno}`, {
      remedy: 'keep this folder on a local file system: flock does not work on every network file system',
    });
  }

  /**
   * Takes the lock, waiting at most `timeout` milliseconds.
   * Throws `StorageError` when somebody holds it for longer than that, or when the file system has no locks.
   */
  async acquire(timeout: number, mode: LockMode = 'exclusive'): Promise<void> {
    if (this.tryAcquire(mode)) return;
    const deadline = this.#clock.monotonic() + timeout;
    for (let attempt = 0; ; attempt++) {
      // The first waits are short and the later ones uneven, so that several waiters do not march in step.
      await sleep(attempt < 4 ? 1 : 1 + (attempt % 4));
      if (this.tryAcquire(mode)) return;
      if (this.#clock.monotonic() >= deadline) {
        throw heldTooLong(this.path, timeout, lockHolders(this.#fd));
      }
    }
  }

  release(): void {
    if (this.#fd >= 0) flock(this.#fd, LOCK_UN);
  }

  /** Releases the lock and the descriptor. Idempotent. */
  close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
  }
}

function heldTooLong(path: string, timeout: number, holders: readonly LockHolder[]): StorageError {
  const [first] = holders;
  const text = ({ pid, name, stopped }: LockHolder) => `process ${pid} (${name}${stopped ? ', which is stopped' : ''})`;
  const who = first === undefined ? 'another process' : holders.map(text).join(', ');
  const remedy =
    first === undefined
      ? `find the holder with "fuser ${path}"; ending it releases the lock`
      : first.stopped
        ? `let it go on (kill -CONT ${first.pid}) or end it (kill -KILL ${first.pid}): either releases the lock`
        : `see what it does; ending it (kill ${first.pid}) releases the lock`;
  return new StorageError(`${path} has been held by ${who} for more than ${timeout} ms`, { remedy });
}
