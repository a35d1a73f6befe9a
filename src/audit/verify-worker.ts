import { parentPort, workerData } from 'node:worker_threads';
import { checkBundle } from './bundle-check.ts';

/** A thread of the verifier: gets ranges of bundles, sends back what it found in each. */
export interface WorkerInput {
  readonly dir: string;
  readonly size: number;
}

const { dir, size } = workerData as WorkerInput;

parentPort?.on('message', ({ from, to }: { from: number; to: number }) => {
  const results = [];
  for (let n = from; n < to; n++) results.push(checkBundle(dir, n, size));
  parentPort?.postMessage(results);
});
