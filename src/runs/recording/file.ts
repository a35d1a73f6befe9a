import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';

/** What is handed to the file at once. Characters. */
const PORTION = 64 * 1024;

export interface FileLimits {
  /** Of the whole. Characters. */
  readonly total: number;
  /** Waiting to be written: from here on, who brings more is asked to wait. Bytes. */
  readonly busy: number;
  /** From here on it is given up: the rest is not recorded. Room for one longest answer, which may come in one piece. Bytes. */
  readonly most: number;
  /** That anybody is asked to wait for a file that takes nothing; then it is given up. Milliseconds. */
  readonly patience: number;
}

export const defaultFileLimits: FileLimits = {
  total: 512 * 1024 * 1024,
  busy: 4 * 1024 * 1024,
  most: 64 * 1024 * 1024,
  patience: 10_000,
};

/** A recording on its way to its file. What waits for a slow disk is bounded, and so is the wait. */
export class RecordingFile {
  readonly #out: Writable;
  readonly #limits: FileLimits;
  /** Not handed over yet. */
  #lines = '';
  #failure: unknown = null;
  #room: Promise<void> | null = null;
  #givenUp = false;
  lines = 0;
  size = 0;

  constructor(out: Writable, limits: FileLimits) {
    this.#out = out;
    this.#limits = limits;
    out.on('error', (error) => {
      this.#failure ??= error;
    });
  }

  /** False when it is not taken. What ends something is short, and has its place also where the whole is full. */
  line(text: string, { ends = false } = {}): boolean {
    const { total, most } = this.#limits;
    if (this.#failure !== null || this.#givenUp) return false;
    if (!ends && this.size + text.length >= total) return false;
    if (this.#waiting + text.length > most) {
      this.#givenUp = true;
      return false;
    }
    this.lines++;
    this.size += text.length + 1;
    this.#lines += `${text}\n`;
    if (this.#lines.length >= PORTION) this.#flush();
    return true;
  }

  /** Undefined where more may come at once; otherwise resolves when it may, within the limits' patience. */
  room(): Promise<void> | undefined {
    if (this.#givenUp || this.#failure !== null || this.#out.writableLength < this.#limits.busy) return undefined;
    this.#room ??= new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#out.off('drain', done).off('close', done);
        this.#room = null;
        resolve();
      };
      const timer = setTimeout(() => {
        this.#givenUp = true;
        done();
      }, this.#limits.patience);
      this.#out.on('drain', done).on('close', done);
    });
    return this.#room;
  }

  /** Throws when it could not be written. */
  async end(): Promise<void> {
    this.#flush();
    this.#out.end();
    await finished(this.#out).catch(() => {});
    if (this.#failure !== null) throw this.#failure;
  }

  drop(): void {
    this.#out.destroy();
  }

  get #waiting(): number {
    return this.#out.writableLength + this.#lines.length;
  }

  #flush(): void {
    if (this.#lines !== '') this.#out.write(this.#lines);
    this.#lines = '';
  }
}
