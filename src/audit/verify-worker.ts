import { parentPort, workerData } from 'node:worker_threads';
import { checkBundle } from './bundle-check.ts';
import { packChunk } from './verify-chunk.ts';

/** A thread of the verifier: gets ranges of bundles, sends back what it found in each. */
export interface WorkerInput {
  readonly dir: string;
  readonly size: number;
}

export interface WorkerTask {
  readonly from: number;
  readonly to: number;
  /** For each bundle, whether its leaf hashes are wanted. */
  readonly keep: readonly boolean[];
}

const { dir, size } = workerData as WorkerInput;

parentPort?.on('message', ({ from, to, keep }: WorkerTask) => {
  const results = [];
  for (let n = from; n < to; n++) results.push(checkBundle(dir, n, size, keep[n - from] === true));
  const { chunk, transfer } = packChunk(results);
  parentPort?.postMessage(chunk, transfer);
});
