import { fstatSync, readFileSync } from 'node:fs';
import { safeText } from './term.ts';

export interface LockHolder {
  readonly pid: number;
  /** Its program, as the kernel names it; printable. */
  readonly name: string;
  /** By a signal or a debugger: it will not release anything by itself. */
  readonly stopped: boolean;
}

/**
 * Who holds a flock(2) on the open file, by `/proc/locks`; empty when the kernel does not say (another pid namespace, no
 * `/proc`). For messages only: it may have changed by the time it is read.
 */
export function lockHolders(fd: number): readonly LockHolder[] {
  const { ino } = fstatSync(fd);
  // 12: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF; one that waits has `->` before the kind.
  const pids = read('/proc/locks')
    .split('\n')
    .flatMap((line) => {
      const [, pid, inode] = /^\d+: FLOCK +\S+ +\S+ +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line) ?? [];
      return inode === String(ino) && Number(pid) > 0 ? [Number(pid)] : [];
    });
  return [...new Set(pids)].flatMap(holder);
}

/** Gone, or another file system's file of the same number whose holder cannot be seen: nothing. */
function holder(pid: number): LockHolder[] {
  // PID (NAME) STATE …, and the name may hold brackets.
  const [, name, state] = /^\d+ \((.*)\) (\S)/s.exec(read(`/proc/${pid}/stat`)) ?? [];
  if (name === undefined || state === undefined) return [];
  return [{ pid, name: safeText(name), stopped: state === 'T' || state === 't' }];
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
