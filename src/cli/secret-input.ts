import { CancelledError, UsageError } from '../base/errors.ts';
import { LONGEST_SECRET } from '../base/redact/index.ts';
import { Secret } from '../secrets/index.ts';
import type { Context } from './context.ts';

/** A terminal, as far as asking needs it; `process.stdin` is one. */
export interface Terminal extends AsyncIterable<Buffer> {
  readonly isTTY?: boolean;
  setRawMode?(on: boolean): unknown;
  destroy?(): unknown;
}

/**
 * The value from standard input: asked for on a terminal, without showing it, else all that is piped in. Throws `UsageError` for
 * none, one that is too short or too long, and on a terminal where the question could not be seen.
 */
export async function readSecret(context: Context, name: string, input: Terminal = process.stdin): Promise<Secret> {
  if (input.isTTY && !context.interactive) {
    throw new UsageError('there is nobody to ask for the value: standard error is no terminal', {
      remedy: `pipe it in: cordon secrets set ${name} < FILE`,
    });
  }
  const bytes = input.isTTY ? await ask(context, name, input) : withoutLineEnd(await readAll(input));
  return new Secret(bytes, name);
}

async function readAll(input: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of input) {
    pieces.push(Buffer.from(piece));
    length += piece.length;
    if (length > LONGEST_SECRET + 2) break; // Secret says what is wrong
  }
  return Buffer.concat(pieces);
}

function withoutLineEnd(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}

const [ENTER, NEWLINE, DELETE, BACKSPACE, INTERRUPT, END, CLEAR] = [0x0d, 0x0a, 0x7f, 0x08, 0x03, 0x04, 0x15];

async function ask(context: Context, name: string, terminal: Terminal): Promise<Buffer> {
  const { stderr } = context.streams;
  terminal.setRawMode?.(true); // before the question: who answers at once is not echoed
  stderr.write(`value of ${name} (not shown): `);
  let typed: number[] = [];
  const pieces = terminal[Symbol.asyncIterator]();
  const ended = endOf(context.signal);
  try {
    for (;;) {
      const { done, value: piece } = await Promise.race([pieces.next(), ended.signalled]);
      if (done) return Buffer.from(typed);
      for (const byte of piece) {
        if (byte === ENTER || byte === NEWLINE || byte === END) return Buffer.from(typed);
        if (byte === INTERRUPT) throw cancelled();
        if (byte === DELETE || byte === BACKSPACE) typed = withoutLast(typed);
        else if (byte === CLEAR) typed = [];
        else typed.push(byte);
      }
    }
  } finally {
    ended.dispose();
    terminal.setRawMode?.(false);
    stderr.write('\n');
    // A question nobody will answer must not keep the process; an iterator that waits for bytes ends only with its stream.
    if (context.signal.aborted) terminal.destroy?.();
    else await pieces.return?.();
  }
}

function cancelled(): CancelledError {
  return new CancelledError('cancelled; nothing was changed');
}

/** Rejects when a signal asks for the end. */
function endOf(signal: AbortSignal): { readonly signalled: Promise<never>; dispose(): void } {
  const { promise, reject } = Promise.withResolvers<never>();
  const end = () => reject(cancelled());
  promise.catch(() => {});
  if (signal.aborted) end();
  signal.addEventListener('abort', end, { once: true });
  return { signalled: promise, dispose: () => signal.removeEventListener('abort', end) };
}

/** One character back: in UTF-8 all but its first byte begin with the bits 10. */
function withoutLast(typed: readonly number[]): number[] {
  let end = typed.length - 1;
  while (end > 0 && ((typed[end] as number) & 0xc0) === 0x80) end--;
  return typed.slice(0, Math.max(0, end));
}
