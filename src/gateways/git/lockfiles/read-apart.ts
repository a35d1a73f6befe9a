import { Worker } from 'node:worker_threads';
import { type Format, readFormat } from './formats.ts';
import type { Reading } from './reading.ts';

/** What a reader found, without the reader. */
export type Found = Pick<Reading, 'entries' | 'problems' | 'places' | 'more'>;

export interface ApartInput {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Bytes by their weight that take a few milliseconds: a thread takes longer to start. */
const WORTH_A_THREAD = 512 * 1024;
/** Milliseconds and MiB for one file. What needs more is not read, and so refused where the policy asks for lock files. */
const TIME = 120_000;
const MEMORY = 2_048;

/** As `readFormat`; a large file in a thread of its own, since what reads it also serves the other gateways of the run. */
export async function readApart(format: Format, path: string, bytes: Buffer): Promise<Found> {
  if (bytes.length * format.weight < WORTH_A_THREAD) return readFormat(format, path, bytes);
  const file = import.meta.url.endsWith('.ts') ? './read-worker.ts' : './read-worker.js';
  const worker = new Worker(new URL(file, import.meta.url), {
    workerData: { path, bytes } satisfies ApartInput,
    name: 'cordon-lockfile',
    resourceLimits: { maxOldGenerationSizeMb: MEMORY },
  });
  const { promise, resolve } = Promise.withResolvers<Found>();
  const unread = (what: string): Found => ({
    entries: [],
    problems: [{ line: null, package: null, what }],
    places: [],
    more: 0,
  });
  const timer = setTimeout(() => resolve(unread(`cannot be read in ${TIME / 1000} s`)), TIME);
  worker.once('message', resolve);
  worker.once('error', () => resolve(unread('cannot be read: it takes too much memory, or no reader stands it')));
  worker.once('exit', () => resolve(unread('cannot be read: its reader ended')));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}
