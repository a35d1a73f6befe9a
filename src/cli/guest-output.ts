import { StringDecoder } from 'node:string_decoder';
import { safeText } from '../base/term.ts';
import type { Output } from './output.ts';

/** A line longer than this is shown in parts. */
const LONGEST_LINE = 4_096;

// biome-ignore lint/suspicious/noControlCharactersInRegex: the colours of a program's output (SGR)
const COLOURS = /\x1b\[[0-9;:]*m/g;

/**
 * Shows what the agent writes, while it writes it, as progress: whole lines, marked as not Cordon's own, with everything
 * escaped that a terminal would act upon. The bytes as they were are kept in the run's record.
 */
export class GuestOutput {
  readonly #out: Output;
  readonly #streams = {
    stdout: { decoder: new StringDecoder('utf8'), line: '' },
    stderr: { decoder: new StringDecoder('utf8'), line: '' },
  };

  constructor(out: Output) {
    this.#out = out;
  }

  write(stream: 'stdout' | 'stderr', chunk: Uint8Array): void {
    if (this.#out.quiet) return;
    const state = this.#streams[stream];
    const lines = (state.line + state.decoder.write(chunk)).split('\n');
    state.line = lines.pop() ?? '';
    for (const line of lines) this.#show(line);
    if (state.line.length > LONGEST_LINE) {
      this.#show(state.line);
      state.line = '';
    }
  }

  /** What is left without an end of line. */
  end(): void {
    for (const state of Object.values(this.#streams)) {
      const rest = state.line + state.decoder.end();
      if (rest !== '') this.#show(rest);
      state.line = '';
    }
  }

  #show(line: string): void {
    const plain = line.replace(/\r$/, '').replace(COLOURS, '');
    this.#out.progress(`${this.#out.progressStyle.dim('│')} ${safeText(plain)}`);
  }
}
