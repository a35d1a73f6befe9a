import { posix } from 'node:path';
import * as z from 'zod';
import { capture, type Ended } from '../guest.ts';
import { failure, guestPath, line, path, success, type Tool, type ToolResult, type Workbench } from './tool.ts';

/** Bytes of a file that can be edited. */
const MOST = 8 * 1024 * 1024;
const TIMEOUT = 60_000;

const schema = z.strictObject({
  path: path.describe('relative to /workspace, or absolute'),
  old: line(1_000_000).describe(
    'text that stands in the file, exactly, white space included; empty to make a new file',
  ),
  new: line(1_000_000).describe('what is to stand in its place'),
  all: z.boolean().optional().describe('replace every place; without it there must be exactly one'),
});
type Input = z.output<typeof schema>;

export const edit: Tool = {
  name: 'edit',
  description: 'Replaces text in a file, or makes a new file when old is empty. Read the file first.',
  schema,
  brief: ({ path }: Input) => path,
  run: editFile,
};

async function editFile(input: Input, bench: Workbench): Promise<ToolResult> {
  const file = guestPath(input.path, bench);
  const { how, out, err, over } = await capture(
    bench.guest,
    { argv: ['cat', '--', file], env: bench.env, timeout: TIMEOUT, signal: bench.signal },
    MOST,
  );
  if (over) return failure(`${file} is larger than ${MOST} bytes: change it with a command`);
  if (how.kind === 'failed') return failure(`cat could not be started in the sandbox: ${how.message}`);
  const there = how.kind === 'exited' && how.code === 0;
  if (input.old === '') {
    if (there && out.length > 0) return failure(`${file} exists: give the text that is to be replaced in old`);
    if (!there && !/No such file/.test(err)) return failure(err || `${file} cannot be written`);
    return write(file, Buffer.from(input.new), bench, there ? 'written' : 'made');
  }
  if (!there) return failure(`${err || `${file} cannot be read`}; to make a new file, leave old empty`);
  if (input.old === input.new) return failure('old and new are the same: nothing would change');
  const places = placesOf(out, Buffer.from(input.old));
  if (places.length === 0) return failure(notFound(file, out, input.old));
  if (places.length > 1 && input.all !== true) return failure(tooMany(file, out, places));
  return write(
    file,
    replaced(out, places, Buffer.byteLength(input.old), Buffer.from(input.new)),
    bench,
    placeText(out, places),
  );
}

function placesOf(bytes: Buffer, old: Buffer): number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(old); at >= 0; at = bytes.indexOf(old, at + old.length)) found.push(at);
  return found;
}

function replaced(bytes: Buffer, places: readonly number[], length: number, by: Buffer): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (const at of places) {
    parts.push(bytes.subarray(from, at), by);
    from = at + length;
  }
  return Buffer.concat([...parts, bytes.subarray(from)]);
}

/** The folder is made when it is missing; the file keeps its mode. */
async function write(file: string, content: Buffer, bench: Workbench, done: string): Promise<ToolResult> {
  if (content.length > MOST) return failure(`${file} would be larger than ${MOST} bytes`);
  const ended = await capture(
    bench.guest,
    {
      argv: ['/bin/sh', '-c', 'mkdir -p -- "$2" && cat > "$1"', 'sh', file, posix.dirname(file)],
      env: bench.env,
      input: content,
      timeout: TIMEOUT,
      signal: bench.signal,
    },
    4_096,
  );
  const why = wrote(ended);
  return why === null ? success(`${file}: ${done}`) : failure(`${file} was not written: ${why}`);
}

/** Null when it was; else why not. */
function wrote({ how, err }: Ended & { readonly err: string }): string | null {
  if (how.kind === 'exited' && how.code === 0) return null;
  if (how.kind === 'failed') return `/bin/sh could not be started in the sandbox: ${how.message}`;
  return err || `it was ended (${how.kind})`;
}

function lineOf(bytes: Buffer, at: number): number {
  let count = 1;
  for (let feed = bytes.indexOf(10); feed >= 0 && feed < at; feed = bytes.indexOf(10, feed + 1)) count++;
  return count;
}

function placeText(bytes: Buffer, places: readonly number[]): string {
  const [first = 0] = places;
  return places.length === 1 ? `replaced at line ${lineOf(bytes, first)}` : `replaced at ${places.length} places`;
}

function tooMany(file: string, bytes: Buffer, places: readonly number[]): string {
  const lines = places.slice(0, 10).map((at) => lineOf(bytes, at));
  return `old stands at ${places.length} places of ${file} (lines ${lines.join(', ')}): give more of what is around it, or set all`;
}

/** Models forget most often how lines are indented and how they end. */
function notFound(file: string, bytes: Buffer, old: string): string {
  const text = bytes.toString('utf8');
  if (text.includes(old.replaceAll('\n', '\r\n')))
    return `old does not stand in ${file}: its lines end with a carriage return and a line feed, those of old do not`;
  const squeeze = (one: string) => one.trim().replace(/\s+/g, ' ');
  const first = squeeze(old.split('\n').find((one) => one.trim() !== '') ?? '');
  const like = first === '' ? -1 : text.split('\n').findIndex((one) => squeeze(one).includes(first));
  const hint =
    like < 0 ? 'read it again' : `line ${like + 1} is like its beginning; white space may differ: read it again`;
  return `old does not stand in ${file}: ${hint}`;
}
