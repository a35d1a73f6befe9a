import { Worker } from 'node:worker_threads';
import { EnforcementError } from '../base/errors.ts';
import { wake, wakeupDescriptor } from './native.ts';
import type { SupervisorNews, SupervisorRequest } from './supervisor-protocol.ts';
import { fileDigests } from './toolbox-digests.ts';

export type CellNews = Exclude<SupervisorNews, { type: 'failed' | 'learned' }>;

/** The main thread's end of the supervisor thread: one for the whole process, started with the first sandbox. */
export class Supervisor {
  readonly #worker: Worker;
  readonly #wakeup = wakeupDescriptor();
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  readonly #listeners = new Map<number, (news: CellNews | { type: 'failed'; message: string }) => void>();
  #lastCell = 0;
  #failure: string | null = null;

  /** `digestFile`: where an earlier process left what it knew of files' digests. */
  constructor(digestFile: string | null = null) {
    const file = import.meta.url.endsWith('.ts') ? './supervisor.ts' : './supervisor.js';
    this.#worker = new Worker(new URL(file, import.meta.url), {
      workerData: { wakeup: this.#wakeup, stop: this.#stop, digestFile },
      name: 'cordon-supervisor',
      execArgv: [], // options that this process was started with are for its own entry
    });
    this.#worker.on('message', (batch: SupervisorNews[]) => {
      for (const news of batch) this.#deliver(news);
    });
    this.#worker.on('error', (error) => this.#fail(`the recorder stopped: ${error.message}`));
    this.#worker.on('exit', () => this.#fail('the recorder stopped'));
    this.#worker.unref();
    process.once('exit', () => {
      Atomics.store(this.#stop, 0, 1);
      wake(this.#wakeup);
    });
  }

  #deliver(news: SupervisorNews): void {
    if (news.type === 'failed') this.#fail(news.message);
    else if (news.type === 'learned') fileDigests.adopt(news.key, news.digest);
    else this.#listeners.get(news.cell)?.(news);
  }

  #fail(message: string): void {
    if (this.#failure !== null) return; // the thread's end follows what it died of
    this.#failure = message;
    for (const listener of this.#listeners.values()) listener({ type: 'failed', message });
  }

  /** A number for one more process 1; `listener` hears all news of it, until `forgotten`. */
  open(listener: (news: CellNews | { type: 'failed'; message: string }) => void): number {
    if (this.#failure !== null)
      throw new EnforcementError('exec-recorder', this.#failure, { remedy: 'start cordon again' });
    const cell = ++this.#lastCell;
    this.#listeners.set(cell, listener);
    this.#worker.ref(); // a process with a sandbox stays up until the sandbox is gone
    return cell;
  }

  request(message: SupervisorRequest): void {
    this.#worker.postMessage(message);
    wake(this.#wakeup);
  }

  /** The cell's last news has come. */
  closed(cell: number): void {
    this.#listeners.delete(cell);
    if (this.#listeners.size === 0) this.#worker.unref();
  }
}
