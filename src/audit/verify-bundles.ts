import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type BundleResult, checkBundle } from './bundle-check.ts';
import { TILE_WIDTH } from './tiles.ts';
import { type Chunk, unpackChunk } from './verify-chunk.ts';
import type { WorkerInput, WorkerTask } from './verify-worker.ts';

/** Below this, starting a thread takes longer than it saves. Records. */
const WORTH_THREADS = 30_000;
/** Bundles that are checked at one go: a few milliseconds of work. */
const CHUNK = 8;
/** Chunks that may be finished before their turn, for each thread: bounds memory. */
const AHEAD = 8;
/** Chunks given to a thread at once, so that it never waits for the next one. */
const IN_HAND = 2;

/**
 * Checks every bundle of a tree of `size` records, in order of their index. `threads` work beside this one, which takes
 * its share instead of waiting for them (and all of it while they start). Ends its threads when the caller stops.
 */
export async function* checkBundles(
  dir: string,
  size: number,
  keep: (n: number) => boolean,
  threads = defaultThreads(size),
): AsyncGenerator<BundleResult> {
  const bundles = Math.ceil(size / TILE_WIDTH);
  const finished = new Map<number, BundleResult[]>();
  const news = new News();
  const pool = Array.from({ length: threads }, () => new Thread({ dir, size }, finished, news));
  let [due, next] = [0, 0];
  const take = (): number => {
    next += CHUNK;
    return next - CHUNK;
  };
  const more = () => next < bundles && next - due < CHUNK * AHEAD * (threads + 1);
  try {
    while (due < bundles) {
      for (const thread of pool) while (more() && thread.inHand < IN_HAND) thread.check(take(), bundles, keep);
      const results = finished.get(due);
      if (results !== undefined) {
        finished.delete(due);
        due += CHUNK;
        yield* results;
      } else if (more()) {
        const from = take();
        finished.set(from, checkRange(dir, size, from, Math.min(from + CHUNK, bundles), keep));
        await new Promise(setImmediate); // lets the threads' results in
      } else {
        await news.wait();
      }
    }
  } finally {
    await Promise.all(pool.map((thread) => thread.end()));
  }
}

function checkRange(dir: string, size: number, from: number, to: number, keep: (n: number) => boolean): BundleResult[] {
  return Array.from({ length: to - from }, (_, i) => checkBundle(dir, from + i, size, keep(from + i)));
}

function defaultThreads(size: number): number {
  return size < WORTH_THREADS ? 0 : Math.min(availableParallelism(), 8) - 1;
}

/** Wakes whoever waits; rejects for good once a thread has failed. */
class News {
  #next = Promise.withResolvers<void>();
  #failure: unknown = null;

  tell(failure: unknown = null): void {
    this.#failure ??= failure;
    this.#next.resolve();
  }

  async wait(): Promise<void> {
    await this.#next.promise;
    if (this.#failure !== null) throw this.#failure;
    this.#next = Promise.withResolvers();
  }
}

class Thread {
  readonly #worker: Worker;
  readonly #starts: number[] = [];

  constructor(input: WorkerInput, finished: Map<number, BundleResult[]>, news: News) {
    const file = import.meta.url.endsWith('.ts') ? './verify-worker.ts' : './verify-worker.js';
    this.#worker = new Worker(new URL(file, import.meta.url), { workerData: input, name: 'cordon-verify' });
    this.#worker.on('message', (chunk: Chunk) => {
      finished.set(this.#starts.shift() as number, unpackChunk(chunk));
      news.tell();
    });
    this.#worker.on('error', (error) => news.tell(error));
  }

  get inHand(): number {
    return this.#starts.length;
  }

  check(from: number, end: number, keep: (n: number) => boolean): void {
    const to = Math.min(from + CHUNK, end);
    this.#starts.push(from);
    const task: WorkerTask = { from, to, keep: Array.from({ length: to - from }, (_, i) => keep(from + i)) };
    this.#worker.postMessage(task);
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
