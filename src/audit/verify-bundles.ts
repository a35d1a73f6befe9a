import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type BundleResult, checkBundle } from './bundle-check.ts';
import { TILE_WIDTH } from './tiles.ts';
import type { WorkerInput } from './verify-worker.ts';

/** Below this, starting a thread takes longer than it saves. Records. */
const WORTH_THREADS = 30_000;
/** Bundles of one request to a thread. */
const CHUNK = 32;

/**
 * Checks every bundle of a tree of `size` records, in order of their index. Threads work ahead by a few chunks each, no
 * further, so that memory stays bounded. Reading stops when the caller stops iterating.
 */
export async function* checkBundles(
  dir: string,
  size: number,
  threads = defaultThreads(size),
): AsyncGenerator<BundleResult> {
  const bundles = Math.ceil(size / TILE_WIDTH);
  if (threads === 0) {
    for (let n = 0; n < bundles; n++) {
      if (n % CHUNK === 0) await new Promise(setImmediate);
      yield checkBundle(dir, n, size);
    }
    return;
  }
  const pool = Array.from({ length: threads }, () => new Thread({ dir, size }));
  try {
    const ahead: Promise<BundleResult[]>[] = [];
    let next = 0;
    for (let done = 0; done < bundles; done += CHUNK) {
      for (; next < bundles && ahead.length < 3 * threads; next += CHUNK) {
        const thread = pool[(next / CHUNK) % threads] as Thread;
        const results = thread.check(next, Math.min(next + CHUNK, bundles));
        results.catch(() => {}); // awaited below, when it is its turn
        ahead.push(results);
      }
      yield* await (ahead.shift() as Promise<BundleResult[]>);
    }
  } finally {
    await Promise.all(pool.map((thread) => thread.end()));
  }
}

function defaultThreads(size: number): number {
  return size < WORTH_THREADS ? 0 : Math.min(availableParallelism(), 8);
}

class Thread {
  readonly #worker: Worker;
  readonly #waiting: PromiseWithResolvers<BundleResult[]>[] = [];

  constructor(input: WorkerInput) {
    const file = import.meta.url.endsWith('.ts') ? './verify-worker.ts' : './verify-worker.js';
    this.#worker = new Worker(new URL(file, import.meta.url), { workerData: input, name: 'cordon-verify' });
    this.#worker.on('message', (results: BundleResult[]) => this.#waiting.shift()?.resolve(results));
    this.#worker.on('error', (error) => {
      for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
    });
  }

  check(from: number, to: number): Promise<BundleResult[]> {
    const waiting = Promise.withResolvers<BundleResult[]>();
    this.#waiting.push(waiting);
    this.#worker.postMessage({ from, to });
    return waiting.promise;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
