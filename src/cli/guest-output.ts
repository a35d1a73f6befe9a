import { StringDecoder } from 'node:string_decoder';
import { COLOUR } from '../base/redact/index.ts';
import { safeText } from '../base/term.ts';
import type { Output } from './output.ts';

/** A line longer than this is shown in parts. */
const LONGEST_LINE = 4_096;

/**
 * The lines of what an agent wrote, each shown when it is whole, with everything escaped that a terminal would act upon.
 * The bytes as they were are kept in the run's record.
 */
export class GuestLines {
  readonly #show: (line: string) => void;
  readonly #streams = {
    stdout: { decoder: new StringDecoder('utf8'), line: '' },
    stderr: { decoder: new StringDecoder('utf8'), line: '' },
  };

  constructor(show: (line: string) => void) {
    this.#show = (line) => show(safeText(line.replace(/\r$/, '').replace(COLOUR, '')));
  }

  write(stream: 'stdout' | 'stderr', chunk: Uint8Array): void {
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
}

/** Shows it while it is written, as progress, marked as not Cordon's own. */
export class GuestOutput extends GuestLines {
  constructor(out: Output) {
    super((line) => out.progress(`${out.progressStyle.dim('│')} ${line}`));
  }
}
