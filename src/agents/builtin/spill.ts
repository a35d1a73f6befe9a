import type { Duplex } from 'node:stream';
import type { Workbench } from './tools/tool.ts';

/** Bytes of one command's output that are kept in a file inside. What comes after that is nowhere. */
const MOST = 16 * 1024 * 1024;

/**
 * Writes output that is too long to be shown into a file inside the sandbox, from its beginning, as it comes: never more than what can be shown
 * is in our memory. The file is on the sandbox's own disk and counts there.
 */
export class Spill {
  readonly #bench: Workbench;
  #waiting: Buffer[] = [];
  #size = 0;
  #file: string | null = null;
  #writer: { readonly stdin: Duplex; readonly exit: Promise<unknown> } | null = null;
  #failed = false;

  constructor(bench: Workbench) {
    this.#bench = bench;
  }

  write(piece: Buffer): undefined | Promise<void> {
    const before = this.#size;
    this.#size += piece.length;
    if (this.#failed || before >= MOST) return undefined;
    if (this.#size <= this.#bench.shown) {
      this.#waiting.push(piece);
      return undefined;
    }
    return this.#pass(piece.subarray(0, MOST - before));
  }

  async #pass(piece: Buffer): Promise<void> {
    this.#writer ??= await this.#open();
    const pieces = [...this.#waiting.splice(0), piece];
    for (const one of pieces) {
      const { stdin } = this.#writer ?? {};
      if (stdin === undefined || stdin.destroyed || this.#failed) return;
      if (!stdin.write(one)) await new Promise<void>((resolve) => drained(stdin, resolve));
    }
  }

  async #open(): Promise<{ readonly stdin: Duplex; readonly exit: Promise<unknown> } | null> {
    const file = `/tmp/cordon/output-${++this.#bench.kept}`;
    try {
      const { stdin, stdout, stderr, exit } = await this.#bench.guest.exec({
        argv: ['/bin/sh', '-c', 'mkdir -p /tmp/cordon && exec cat > "$1"', 'sh', file],
        env: this.#bench.env,
        stdin: 'pipe',
      });
      stdout.resume();
      stderr.resume();
      if (stdin === null) throw new TypeError('a pipe was asked for');
      stdin.on('error', () => {
        this.#failed = true; // the disk of the sandbox is full, or it ended
      });
      this.#file = file;
      return { stdin, exit };
    } catch {
      this.#failed = true;
      return null;
    }
  }

  /** The file with all that was written, if there is one. */
  async end(): Promise<string | null> {
    if (this.#writer === null) return null;
    this.#writer.stdin.end();
    await this.#writer.exit;
    return this.#failed ? null : this.#file;
  }
}

function drained(stdin: Duplex, resolve: () => void): void {
  const done = () => {
    stdin.off('drain', done);
    stdin.off('close', done);
    resolve();
  };
  stdin.on('drain', done);
  stdin.on('close', done);
}
