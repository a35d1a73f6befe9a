import { createHash } from 'node:crypto';
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { type Clock, systemClock } from '../base/clock.ts';
import { writeDurably } from '../base/durable-file.ts';

const CAPACITY = 8192;
const CHUNK = 1024 * 1024;
/**
 * A file changed this recently (ms) is not remembered: the kernel's file times move in ticks (4 ms, on some file systems
 * 2 s), so a second change within one tick would leave the identity as it was with other content behind it.
 */
const SETTLED = 2_500;

/**
 * SHA-256 of files, remembered by what identifies their content to the kernel: device, inode, size, modification and
 * change time. Whoever changes content can set the modification time back, but that moves the change time, which no
 * call sets. Looked up through an opened descriptor, so that the file that is hashed is the file that was opened.
 */
export class FileDigests {
  readonly #known = new Map<string, string>();
  readonly #clock: Clock;
  #changed = false;

  /** Told of every digest that is worth remembering, with its key for {@link adopt}. */
  readonly #onLearn: (key: string, digest: string) => void;

  constructor(clock: Clock = systemClock, onLearn: (key: string, digest: string) => void = () => {}) {
    this.#clock = clock;
    this.#onLearn = onLearn;
  }

  /** Takes over what another thread's memory has learned. */
  adopt(key: string, digest: string): void {
    this.#remember(key, digest);
  }

  /** The digest of a file that was seen before, by what a look at it tells; undefined when it has to be read. */
  known(stat: BigIntStats): string | undefined {
    return this.#known.get(identity(stat));
  }

  /** 64 hex digits. Throws the system's error when the descriptor cannot be read. Synchronous; microseconds when known. */
  ofDescriptor(fd: number, stat: BigIntStats = fstatSync(fd, { bigint: true })): string {
    const key = identity(stat);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const digest = hashDescriptor(fd);
    const settled = Number(stat.ctimeNs / 1_000_000n) + SETTLED < this.#clock.now();
    if (settled && identity(fstatSync(fd, { bigint: true })) === key) this.#remember(key, digest);
    return digest;
  }

  /** As {@link ofDescriptor}, for a regular file by path; links are followed. Throws the system's error, or EINVAL's kin for no file. */
  ofFile(path: string): string {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(fd, { bigint: true });
      if (!stat.isFile()) throw new TypeError(`${path} is not a regular file`);
      return this.ofDescriptor(fd, stat);
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Takes over what an earlier process saved. A file that is missing, damaged, or that others could have written counts
   * as empty: it only saves time, and is believed only when it is the user's own.
   */
  load(path: string): void {
    try {
      const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      try {
        const stat = fstatSync(fd);
        if (!stat.isFile() || stat.uid !== process.getuid?.() || (stat.mode & 0o022) !== 0) return;
        for (const [key, digest] of savedDigests(readFileSync(fd, 'utf8'))) this.#known.set(key, digest);
      } finally {
        closeSync(fd);
      }
    } catch {
      // Nothing to take over: every file is hashed again.
    }
  }

  /** Saves what is known for the next process; does nothing when nothing is new. Throws the system's error. */
  async save(path: string): Promise<void> {
    if (!this.#changed) return;
    this.#changed = false;
    await writeDurably(path, JSON.stringify({ version: 1, files: [...this.#known] }));
  }

  #remember(key: string, digest: string): void {
    if (this.#known.size >= CAPACITY) this.#known.delete(this.#known.keys().next().value as string);
    this.#known.set(key, digest);
    this.#changed = true;
    this.#onLearn(key, digest);
  }
}

/** The process's own memory of digests. */
export const fileDigests = new FileDigests();

/** By hand: this is loaded by the supervisor thread, which starts with every run, and a schema library is most of its cost. */
function savedDigests(text: string): (readonly [string, string])[] {
  const saved = JSON.parse(text) as { version?: unknown; files?: unknown };
  if (saved.version !== 1 || !Array.isArray(saved.files)) return [];
  return saved.files.slice(0, CAPACITY).filter((entry): entry is [string, string] => {
    if (!Array.isArray(entry) || entry.length !== 2) return false;
    const [key, digest] = entry as unknown[];
    return typeof key === 'string' && typeof digest === 'string' && IDENTITY.test(key) && DIGEST.test(digest);
  });
}

const IDENTITY = /^\d+( \d+){4}$/;
const DIGEST = /^[0-9a-f]{64}$/;

function identity(stat: BigIntStats): string {
  return `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
}

function hashDescriptor(fd: number): string {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(CHUNK);
  for (let at = 0; ; ) {
    const size = readSync(fd, chunk, 0, CHUNK, at);
    if (size === 0) return hash.digest('hex');
    hash.update(chunk.subarray(0, size));
    at += size;
  }
}
