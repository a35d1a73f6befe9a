import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { EnforcementError } from '../base/errors.ts';
import { ENDED, STOP, type SupervisorNews, type SupervisorRequest, WAKEUP } from './supervisor-protocol.ts';
import { fileDigests } from './toolbox-digests.ts';

export type CellNews = Exclude<SupervisorNews, { type: 'failed' | 'learned' }>;

let thread: Supervisor | undefined;

/**
 * The thread of this process, which is started when it is first asked for. It takes tens of milliseconds to come up, and what
 * is asked of it waits until then. `digestFile`: where an earlier process left what it knew of files' digests.
 */
export function supervisorThread(digestFile: string | null = null): Supervisor {
  thread ??= new Supervisor(digestFile);
  return thread;
}

/** Milliseconds that the end of the process waits for the thread's: it takes one, or what is left of its start. */
const PATIENCE = 5_000;
const ONE = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

/**
 * The main thread's end of the supervisor thread: one for the whole process. Nothing native is needed here, so that the
 * thread can be started before that is loaded.
 */
export class Supervisor {
  readonly #worker: Worker;
  /** At {@link STOP}, {@link WAKEUP} and {@link ENDED}. */
  readonly #shared = new Int32Array(new SharedArrayBuffer(12));
  readonly #listeners = new Map<number, (news: CellNews | { type: 'failed'; message: string }) => void>();
  #lastCell = 0;
  #failure: string | null = null;

  constructor(digestFile: string | null) {
    const file = import.meta.url.endsWith('.ts') ? './supervisor.ts' : './supervisor.js';
    this.#worker = new Worker(new URL(file, import.meta.url), {
      workerData: { shared: this.#shared, digestFile },
      name: 'cordon-supervisor',
      execArgv: [], // options that this process was started with are for its own entry
    });
    this.#worker.on('message', (batch: SupervisorNews[]) => {
      for (const news of batch) this.#deliver(news);
    });
    this.#worker.on('error', (error) => this.#fail(`the recorder stopped: ${error.message}`));
    this.#worker.on('exit', () => this.#fail('the recorder stopped'));
    this.#worker.unref();
    process.once('exit', () => this.stop());
  }

  /**
   * Ends the thread, and waits until it has. A process that ends while a thread of it is in native code, or loads it, is
   * aborted by that code: a run that is refused at once, while the thread comes up, ended by a signal and not with its exit
   * code. Returns whether the thread was heard to end.
   */
  stop(): boolean {
    Atomics.store(this.#shared, STOP, 1);
    this.#wake();
    return this.#failure !== null || Atomics.wait(this.#shared, ENDED, 0, PATIENCE) !== 'timed-out';
  }

  /** Until the thread is up it has no descriptor to be woken by, and looks at its messages by itself when it has. */
  #wake(): void {
    const wakeup = Atomics.load(this.#shared, WAKEUP);
    if (wakeup > 0) writeSync(wakeup, ONE);
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
    this.#wake();
  }

  /** The cell's last news has come. */
  closed(cell: number): void {
    this.#listeners.delete(cell);
    if (this.#listeners.size === 0) this.#worker.unref();
  }
}
