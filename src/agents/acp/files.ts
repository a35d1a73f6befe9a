/** Files that an agent has its client read and write: by commands in the sandbox, as whatever the agent could do there itself. */
import { posix } from 'node:path';
import { capture, type Guest, runInGuest } from '../builtin/guest.ts';

/** Bytes of a file, or of the part of it that is asked for. */
const LARGEST_FILE = 8 << 20;
/** Milliseconds: a pipe that nobody writes to never ends. */
const TIMEOUT = 60_000;
const LONGEST_PATH = 4_096;

/** What services are done with. */
export interface GuestBench {
  readonly guest: Guest;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** Why something was not done, in words for the agent. `missing`: there is no such file. */
export class ServiceError extends Error {
  readonly missing: boolean;
  constructor(message: string, missing = false) {
    super(message);
    this.missing = missing;
  }
}

/** The one form of a path: what is decided upon is what is opened. Links inside are the sandbox's to follow. */
export function canonicalPath(path: string): string {
  if (!path.startsWith('/')) throw new ServiceError('the path must be absolute');
  if (path.includes('\0') || path.length > LONGEST_PATH) throw new ServiceError('the path cannot be one');
  return posix.normalize(path);
}

/** `line` counts from 1, `limit` is lines; all of the file without them. Throws `ServiceError`. */
export async function readTextFile(
  bench: GuestBench,
  path: string,
  { line = 1, limit = Number.POSITIVE_INFINITY }: { readonly line?: number; readonly limit?: number },
): Promise<string> {
  const lines = new Lines(Math.max(1, line), limit);
  let why = '';
  const { how } = await runInGuest(bench.guest, {
    argv: ['cat', '--', path],
    env: plainEnv(bench),
    timeout: TIMEOUT,
    signal: bench.signal,
    onOutput(stream, piece) {
      if (stream === 'stdout') return lines.take(piece) ? undefined : false;
      if (why.length < 1_000) why += piece.toString('utf8');
      return undefined;
    },
  });
  if (lines.over) throw new ServiceError(`${path} is larger than ${LARGEST_FILE} bytes: ask for fewer lines`);
  if (how.kind === 'failed') throw new ServiceError(`cat could not be started in the sandbox: ${how.message}`);
  if (how.kind === 'timeout')
    throw new ServiceError(`${path} did not end in ${TIMEOUT / 1000} s: it is no ordinary file`);
  if (how.kind !== 'stopped' && (how.kind !== 'exited' || how.code !== 0)) throw refused(path, why);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(lines.bytes());
  } catch {
    throw new ServiceError(`${path} is no UTF-8 text: use a command`);
  }
}

/** Folders are made where they are missing; a file keeps its mode. Throws `ServiceError`. */
export async function writeTextFile(bench: GuestBench, path: string, content: string): Promise<void> {
  const input = Buffer.from(content);
  if (input.length > LARGEST_FILE) throw new ServiceError(`${path} would be larger than ${LARGEST_FILE} bytes`);
  const { how, err } = await capture(
    bench.guest,
    {
      argv: ['/bin/sh', '-c', 'mkdir -p -- "$2" && cat > "$1"', 'sh', path, posix.dirname(path)],
      env: plainEnv(bench),
      input,
      timeout: TIMEOUT,
      signal: bench.signal,
    },
    4_096,
  );
  if (how.kind === 'exited' && how.code === 0) return;
  if (how.kind === 'failed') throw new ServiceError(`/bin/sh could not be started in the sandbox: ${how.message}`);
  throw refused(path, err);
}

/** Agents look for these words. */
const MISSING = 'No such file or directory';

function refused(path: string, why: string): ServiceError {
  if (why.includes(MISSING)) return new ServiceError(`${path}: ${MISSING}`, true);
  return new ServiceError(why.trim().slice(0, 500) || `${path} cannot be opened`);
}

/** Our own commands complain in words that can be read again. */
function plainEnv({ env }: GuestBench): Record<string, string> {
  return { ...env, LC_ALL: 'C' };
}

/** Some lines of a stream of any length, in bounded memory. */
class Lines {
  readonly #from: number;
  readonly #end: number;
  readonly #kept: Buffer[] = [];
  #number = 1;
  #size = 0;
  over = false;

  constructor(from: number, count: number) {
    this.#from = from;
    this.#end = from + count;
  }

  /** False when no more is wanted. */
  take(piece: Buffer): boolean {
    let at = 0;
    while (at < piece.length && this.#number < this.#end) {
      const feed = piece.indexOf(10, at);
      const end = feed < 0 ? piece.length : feed + 1;
      if (this.#number >= this.#from) this.#keep(piece.subarray(at, end));
      if (feed >= 0) this.#number++;
      at = end;
    }
    return !this.over && this.#number < this.#end;
  }

  #keep(bytes: Buffer): void {
    this.#size += bytes.length;
    if (this.#size > LARGEST_FILE) this.over = true;
    else this.#kept.push(bytes);
  }

  bytes(): Buffer {
    return Buffer.concat(this.#kept);
  }
}
