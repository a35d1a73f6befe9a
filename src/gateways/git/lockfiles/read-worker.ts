import { parentPort, workerData } from 'node:worker_threads';
import { formatOf, readFormat } from './formats.ts';
import type { ApartInput, Found } from './read-apart.ts';

/** A thread that reads one lock file, says what it found, and ends. */
const { path, bytes } = workerData as ApartInput;
const format = formatOf(path);
if (format === null) throw new Error('no format of this name');
const { entries, problems, places, more } = readFormat(format, path, Buffer.from(bytes));
parentPort?.postMessage({ entries, problems, places, more } satisfies Found);
