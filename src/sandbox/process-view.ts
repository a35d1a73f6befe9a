/**
 * Reads other processes through /proc, from outside their sandbox. Everything here is synchronous: the process that is
 * looked at stands still in a system call and waits for us. `null` where the process is gone.
 * Source: man 5 proc. Strings are the guest's: bounded, and bytes that are not UTF-8 are shown as `\xNN`.
 */
import { type BigIntStats, closeSync, lstatSync, openSync, readlinkSync, readSync, statSync } from 'node:fs';
import { readMemory } from './native.ts';

/** The system as the recorder sees it; tests hand in their own. */
export interface ProcessView {
  processIds(thread: number): { process: number; parent: number; guestPid: number } | null;
  callArguments(
    thread: number,
    path: bigint,
    argv: bigint,
  ): { path: string; argv: readonly string[]; cut: boolean; mark: MemoryMark | null } | null;
  runningInode(pid: number): string | null;
  hasMark(pid: number, mark: MemoryMark): boolean;
  commandLine(pid: number): readonly string[] | null;
  workingFolder(pid: number): string | null;
  mayExist(pid: number, path: string): boolean;
  zombieStatus(pid: number): number | undefined;
  /** The mapped file and the SHA-256 of its content (64 hex digits; null when it was too much to read). */
  identify(pid: number): { path: string; sha256: string | null } | null;
  openProcess(pid: number): number | null;
  endedStatus(pidfd: number): number | undefined;
  close(fd: number): void;
  now(): number;
}

const buffer = Buffer.allocUnsafe(16_384);

/** The first 16 KiB of a small file of /proc; null when the process is gone. */
function readSmall(path: string): Buffer | null {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return null;
  }
  try {
    const size = readSync(fd, buffer, 0, buffer.length, 0);
    return buffer.subarray(0, size);
  } catch {
    return null; // ESRCH: it ended between open and read
  } finally {
    closeSync(fd);
  }
}

export interface ProcessIds {
  /** The process (thread group) a thread belongs to, and its parent, as the host counts. */
  readonly process: number;
  readonly parent: number;
  /** As the guest counts. */
  readonly guestPid: number;
  readonly threads: number;
}

export function processIds(thread: number): ProcessIds | null {
  const text = readSmall(`/proc/${thread}/status`)?.toString('latin1');
  if (text === undefined) return null;
  const field = (name: string) => {
    const at = text.indexOf(`\n${name}:\t`);
    return at < 0 ? '' : text.slice(at + name.length + 3, text.indexOf('\n', at + 1));
  };
  const inner = field('NStgid').split('\t').at(-1);
  return {
    process: Number(field('Tgid')),
    parent: Number(field('PPid')),
    guestPid: Number(inner),
    threads: Number(field('Threads')),
  };
}

/** The wait status of a process that has ended and was not yet reaped; undefined for any other. */
export function zombieStatus(pid: number): number | undefined {
  const text = readSmall(`/proc/${pid}/stat`)?.toString('latin1');
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' '); // the name may hold spaces and brackets
  return fields?.[0] === 'Z' ? Number(fields[49]) : undefined;
}

/** The file a process runs, as device and inode. */
export function runningInode(pid: number): string | null {
  try {
    const stat = statSync(`/proc/${pid}/exe`, { throwIfNoEntry: false });
    return stat === undefined ? null : `${stat.dev}:${stat.ino}`;
  } catch (error) {
    // Also when it ends between the look-up and the look.
    const living = /^\) [^ZX]/.test(afterName(pid));
    return living && (error as NodeJS.ErrnoException).code === 'EACCES' ? UNREADABLE_FILE : null;
  }
}

/** A file that the guest may execute and not read closes its process to an ordinary user's trusted side as well. */
const UNREADABLE_FILE = 'unreadable';

/** `/proc/PID/stat` from the bracket behind the name on; empty when it is gone. */
function afterName(pid: number): string {
  const text = readSmall(`/proc/${pid}/stat`)?.toString('latin1') ?? '';
  return text.slice(text.lastIndexOf(')'));
}

/** A few bytes at an address that is chosen anew for every image. */
export interface MemoryMark {
  readonly address: bigint;
  readonly bytes: Buffer;
}

/** True while the process still has the bytes there: it is the image it was. */
export function hasMark(pid: number, mark: MemoryMark): boolean {
  return readMemory(pid, mark.address, mark.bytes.length)?.equals(mark.bytes) ?? false;
}

export const ARGV_LIMIT = 8192;

export interface CallArguments {
  readonly path: string;
  readonly argv: readonly string[];
  readonly cut: boolean;
  /** Where the vector lies, for {@link hasMark}. */
  readonly mark: MemoryMark | null;
}

const MAX_ARGUMENTS = 1024;

/** The path and the argument vector of a stopped execve, read from the caller's memory. At most 8 KiB of argv. */
export function callArguments(thread: number, path: bigint, argv: bigint): CallArguments | null {
  const pointers: bigint[] = [];
  let cut = false;
  let ended = argv === 0n;
  for (let at = argv; !ended; at += 512n) {
    const piece = readMemory(thread, at, toPageEnd(at, 512));
    if (piece === null) return null;
    for (let i = 0; i + 8 <= piece.length && !ended; i += 8) {
      const pointer = piece.readBigUInt64LE(i);
      if (pointer === 0n) ended = true;
      else pointers.push(pointer);
    }
    if (piece.length < 512 && !ended) at += BigInt(piece.length) - 512n;
    if (pointers.length >= MAX_ARGUMENTS && !ended) {
      cut = true;
      ended = true;
    }
  }
  const vector = argv === 0n ? null : readMemory(thread, argv, 8 * Math.min(pointers.length + 1, 8));
  const mark = vector === null ? null : { address: argv, bytes: Buffer.from(vector) };
  const strings = new GuestStrings(thread);
  const words: string[] = [];
  for (const pointer of pointers) {
    const bytes = strings.at(pointer, ARGV_LIMIT - strings.used);
    if (bytes === null) {
      cut = true;
      break;
    }
    words.push(printable(bytes));
    strings.used += bytes.length + 1;
  }
  const name = path === 0n ? null : strings.at(path, 4096);
  return { path: name === null ? '' : printable(name), argv: words, cut, mark };
}

/** At most `size`, but not beyond the page after: a vector at the end of the stack has nothing behind it. */
function toPageEnd(address: bigint, size: number): number {
  return Math.min(size, 4096 - Number(address & 4095n));
}

/** Strings of another process; neighbours come with one read. */
class GuestStrings {
  readonly #pid: number;
  #start = 0n;
  #page: Buffer = Buffer.alloc(0);
  used = 0;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** The bytes up to the NUL; null when there are more than `limit`, or they cannot be read. */
  at(address: bigint, limit: number): Buffer | null {
    const parts: Buffer[] = [];
    let length = 0;
    for (let at = address; length <= limit; ) {
      const rest = this.#from(at);
      if (rest === null) return null;
      const end = rest.indexOf(0);
      const part = end < 0 ? rest : rest.subarray(0, end);
      length += part.length;
      if (end >= 0) return length > limit ? null : parts.length === 0 ? part : Buffer.concat([...parts, part]);
      parts.push(part);
      at += BigInt(part.length);
    }
    return null;
  }

  /** What is known from there on, read when needed up to the end of the page. */
  #from(address: bigint): Buffer | null {
    const offset = address - this.#start;
    if (offset >= 0n && offset < BigInt(this.#page.length)) return this.#page.subarray(Number(offset));
    const read = readMemory(this.#pid, address, toPageEnd(address, 4096));
    if (read === null) return null;
    this.#start = address;
    this.#page = Buffer.from(read);
    return this.#page;
  }
}

/** UTF-8 where it is, `\xNN` where it is not: two different byte strings never look alike. */
export function printable(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  // What spells an escape by itself is told from one by its backslash.
  if (!text.includes('\ufffd')) return text.replace(/\\(?=x[0-9a-f]{2})/g, '\\x5c');
  let out = '';
  for (const byte of bytes)
    out +=
      byte >= 0x20 && byte < 0x7f && byte !== 0x5c
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, '0')}`;
  return out;
}

/** The command line of the running image as it stands now; it may have rewritten it. */
export function commandLine(pid: number): string[] | null {
  const bytes = readSmall(`/proc/${pid}/cmdline`);
  if (bytes === null || bytes.length === 0) return null;
  const cut = Math.min(bytes.length, ARGV_LIMIT);
  const words: string[] = [];
  for (let at = 0; at < cut; ) {
    const end = bytes.indexOf(0, at);
    const stop = end < 0 || end > cut ? cut : end;
    words.push(printable(bytes.subarray(at, stop)));
    at = stop + 1;
  }
  return words;
}

export function workingFolder(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null;
  }
}

/** False only when surely nothing is at that path in the process's own view; links are not followed. */
export function mayExist(pid: number, path: string): boolean {
  try {
    const base = path.startsWith('/') ? `/proc/${pid}/root` : `/proc/${pid}/cwd/`;
    return lstatSync(base + path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

export interface RunningFile {
  readonly path: string;
  readonly stat: BigIntStats;
}

/** The file the running image was mapped from. */
export function runningFile(pid: number): RunningFile | null {
  try {
    const stat = statSync(`/proc/${pid}/exe`, { bigint: true });
    return { path: readlinkSync(`/proc/${pid}/exe`), stat };
  } catch {
    return null;
  }
}

/** The same file, opened; the caller closes it. */
export function openRunning(pid: number): number | null {
  try {
    return openSync(`/proc/${pid}/exe`, 'r');
  } catch {
    return null;
  }
}
