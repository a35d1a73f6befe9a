import type { Writable } from 'node:stream';
import { type Palette, palette, UNSEEN } from '../base/term.ts';
import type { Environment } from '../config/paths.ts';

export interface OutputOptions {
  readonly json?: boolean | undefined;
  readonly quiet?: boolean | undefined;
}

/** The two streams of a command: results go to standard output, progress to standard error. */
export interface Output {
  readonly json: boolean;
  readonly quiet: boolean;
  /** Styles for results and for progress; they do nothing where colour does not belong. */
  readonly style: Palette;
  readonly progressStyle: Palette;
  /** Columns of the terminal; without end where there is none: what is piped is not cut. */
  readonly width: number;
  /** Lines of the result. Text that Cordon did not make itself must have gone through `safeText`. */
  line(...lines: readonly string[]): void;
  /** Bytes of the result as they are: only for what a person asked to have raw, never on a terminal. */
  raw(chunk: string | Uint8Array): void;
  /** One JSON document. On a stream of them, each is one line. */
  document(value: unknown): void;
  jsonLine(value: unknown): void;
  /** A line about what is being done; nothing with `--quiet`. */
  progress(line: string): void;
}

export class OutputStreams {
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly #env: Environment;

  constructor(stdout: Writable, stderr: Writable, env: Environment) {
    this.stdout = stdout;
    this.stderr = stderr;
    this.#env = env;
  }

  with(options: OutputOptions): Output {
    const { stdout, stderr } = this;
    const json = options.json ?? false;
    const quiet = options.quiet ?? false;
    return {
      json,
      quiet,
      style: palette(!json && this.#colour(stdout)),
      progressStyle: palette(this.#colour(stderr)),
      width: (stdout as { columns?: number }).columns ?? Number.POSITIVE_INFINITY,
      line: (...lines) => void stdout.write(lines.map((line) => `${line}\n`).join('')),
      raw: (chunk) => void stdout.write(chunk),
      document: (value) => void stdout.write(`${visibleJson(value, 2)}\n`),
      jsonLine: (value) => void stdout.write(`${visibleJson(value)}\n`),
      progress: (line) => {
        if (!quiet) stderr.write(`${line}\n`);
      },
    };
  }

  /** https://no-color.org: any value that is not empty turns colour off. */
  #colour(stream: Writable): boolean {
    if (this.#env.NO_COLOR) return false;
    return (stream as { isTTY?: boolean }).isTTY === true && this.#env.TERM !== 'dumb';
  }
}

/** JSON is read on terminals too: what JSON leaves as it is and a terminal or an eye acts upon is written as `\uNNNN`. */
function visibleJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(UNSEEN, (character) =>
    character.replace(/./gs, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}
