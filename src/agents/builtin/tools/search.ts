import * as z from 'zod';
import { runInGuest } from '../guest.ts';
import { failure, guestPath, line, path, success, type Tool, type ToolResult, type Workbench } from './tool.ts';

const MOST_LINES = 200;
/** Characters of one line that are shown. */
const LONGEST_LINE = 300;
const TIMEOUT = 60_000;

const schema = z.strictObject({
  pattern: line(2_000).min(1).describe('an extended regular expression, as grep -E reads it'),
  path: path.optional().describe('a file or folder; the repository by default'),
  files: line(200).min(1).optional().describe('only files whose name fits this glob, such as *.ts'),
});
type Input = z.output<typeof schema>;

export const search: Tool = {
  name: 'search',
  description:
    'Searches files for a pattern, and shows each line that has it as file:line:text. Not in .git and node_modules.',
  schema,
  brief: ({ pattern, path, files }: Input) => [pattern, path, files].filter((part) => part !== undefined).join('  '),
  run: searchFiles,
};

async function searchFiles({ pattern, path: name, files }: Input, bench: Workbench): Promise<ToolResult> {
  const place = name === undefined ? '.' : guestPath(name, bench);
  const lines = new Lines(bench.shown);
  const said: Buffer[] = [];
  const { how } = await runInGuest(bench.guest, {
    argv: [
      'grep',
      '-rnIE',
      '--exclude-dir=.git',
      ...(name?.includes('node_modules') ? [] : ['--exclude-dir=node_modules']),
      ...(files === undefined ? [] : [`--include=${files}`]),
      '-e',
      pattern,
      '--',
      place,
    ],
    env: bench.env,
    timeout: TIMEOUT,
    signal: bench.signal,
    onOutput(stream, piece) {
      if (stream === 'stdout') return lines.write(piece) ? undefined : false;
      if (said.length < 8) said.push(piece);
      return undefined;
    },
  });
  const err = Buffer.concat(said).toString('utf8').slice(0, 1_000).trim();
  switch (how.kind) {
    case 'exited':
      if (lines.found.length > 0) return success([...lines.found, ...(err === '' ? [] : [`[${err}]`])].join('\n'));
      return how.code === 1 ? success('nothing was found') : failure(err || `grep ended with exit code ${how.code}`);
    case 'stopped':
      return success(`${lines.found.join('\n')}\n[there is more: make the pattern or the path narrower]`);
    case 'timeout':
      return failure(`${lines.found.join('\n')}\n[not done after ${TIMEOUT / 1000} s: make the path narrower]`);
    default:
      return failure(how.kind === 'failed' ? `grep could not be started in the sandbox: ${how.message}` : how.kind);
  }
}

class Lines {
  readonly found: string[] = [];
  readonly #limit: number;
  #open = Buffer.alloc(0);
  #size = 0;
  #skipping = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** False when that is enough. */
  write(piece: Buffer): boolean {
    let rest = piece;
    for (let feed = rest.indexOf(10); feed >= 0; feed = rest.indexOf(10)) {
      if (!this.#skipping) this.#take(Buffer.concat([this.#open, rest.subarray(0, feed)]));
      this.#open = Buffer.alloc(0);
      this.#skipping = false;
      rest = rest.subarray(feed + 1);
      if (this.found.length >= MOST_LINES || this.#size > this.#limit) return false;
    }
    if (this.#skipping) return true;
    this.#open = Buffer.concat([this.#open, rest]);
    if (this.#open.length > LONGEST_LINE * 8) {
      this.#take(this.#open);
      this.#open = Buffer.alloc(0);
      this.#skipping = true;
    }
    return true;
  }

  #take(bytes: Buffer): void {
    const text = bytes.toString('utf8').replace(/^\.\//, '');
    const shown = text.length > LONGEST_LINE ? `${text.slice(0, LONGEST_LINE)}…` : text;
    this.found.push(shown);
    this.#size += shown.length + 1;
  }
}
