import * as z from 'zod';
import { isBinary } from '../excerpt.ts';
import { runInGuest } from '../guest.ts';
import { failure, guestPath, path, success, type Tool, type ToolResult, type Workbench } from './tool.ts';

const DEFAULT_COUNT = 500;
/** Bytes of one line that are shown. */
const LONGEST_LINE = 2_000;
/** Bytes of a file that are gone through in search of a line. */
const MOST = 256 * 1024 * 1024;
/** Milliseconds: a pipe that nobody writes to never ends. */
const TIMEOUT = 20_000;

const schema = z.strictObject({
  path: path.describe('relative to /workspace, or absolute'),
  from: z.int().min(1).max(1_000_000_000).optional().describe('the first line, counted from 1'),
  count: z.int().min(1).max(5_000).optional().describe(`lines; ${DEFAULT_COUNT} by default`),
});
type Input = z.output<typeof schema>;

export const read: Tool = {
  name: 'read',
  description: 'Shows lines of a file, each with its number and a tab before it, which are not part of the file.',
  schema,
  brief: ({ path, from, count }: Input) =>
    from === undefined ? path : `${path} from line ${from}${count === undefined ? '' : `, ${count} lines`}`,
  run: readFile,
};

async function readFile({ path: name, from = 1, count = DEFAULT_COUNT }: Input, bench: Workbench): Promise<ToolResult> {
  const file = guestPath(name, bench);
  const window = new LineWindow(from, count, bench.shown);
  const said: Buffer[] = [];
  const { how } = await runInGuest(bench.guest, {
    argv: ['cat', '--', file],
    env: bench.env,
    timeout: TIMEOUT,
    signal: bench.signal,
    onOutput(stream, piece) {
      if (stream === 'stdout') return window.write(piece) ? undefined : false;
      if (said.length < 8) said.push(piece);
      return undefined;
    },
  });
  if (how.kind === 'failed') return failure(`cat could not be started in the sandbox: ${how.message}`);
  if (how.kind === 'timeout') return failure(`${file} did not end within ${TIMEOUT / 1000} s: it is no ordinary file`);
  if (how.kind === 'exited' && how.code !== 0 && window.bytes === 0) {
    return failure(Buffer.concat(said).toString('utf8').slice(0, 1_000).trim() || `${file} cannot be read`);
  }
  return window.result(file);
}

/** Some lines of a stream that may be of any length, in bounded memory. */
class LineWindow {
  readonly #from: number;
  readonly #end: number;
  readonly #limit: number;
  readonly #lines: string[] = [];
  #number = 1;
  #line: Buffer[] = [];
  #lineSize = 0;
  #shown = 0;
  #first: Buffer | null = null;
  #whole = true;
  bytes = 0;

  constructor(from: number, count: number, limit: number) {
    this.#from = from;
    this.#end = from + count;
    this.#limit = limit;
  }

  /** False when no more is wanted. */
  write(piece: Buffer): boolean {
    this.#first ??= piece;
    this.bytes += piece.length;
    let at = 0;
    while (at < piece.length) {
      const feed = piece.indexOf(10, at);
      const end = feed < 0 ? piece.length : feed;
      if (this.#number >= this.#from && this.#lineSize <= LONGEST_LINE) this.#line.push(piece.subarray(at, end));
      this.#lineSize += end - at;
      if (feed < 0) break;
      this.#endLine();
      at = feed + 1;
      if (this.#number >= this.#end || this.#shown > this.#limit) {
        this.#whole = false;
        return false;
      }
    }
    this.#whole = this.bytes <= MOST;
    return this.#whole;
  }

  #endLine(): void {
    if (this.#number >= this.#from) {
      const cut = this.#lineSize > LONGEST_LINE;
      const bytes = Buffer.concat(this.#line).subarray(0, LONGEST_LINE);
      const rest = cut ? ` [… ${this.#lineSize - bytes.length} more bytes in this line]` : '';
      const text = `${this.#number}\t${bytes.toString('utf8')}${rest}`;
      this.#lines.push(text);
      this.#shown += text.length + 1;
    }
    this.#line = [];
    this.#lineSize = 0;
    this.#number++;
  }

  result(file: string): ToolResult {
    if (this.#first !== null && isBinary(this.#first)) return success(`[${file} is a binary file]`);
    if (this.#whole && this.#lineSize > 0) this.#endLine();
    const total = this.#number - 1;
    if (this.bytes === 0) return success(`[${file} is empty]`);
    if (this.#lines.length === 0) return failure(`${file} has ${total} lines; there is no line ${this.#from}`);
    const more = this.#whole ? '' : `\n[there may be more: read on with from: ${this.#number}]`;
    return success(this.#lines.join('\n') + more);
  }
}
