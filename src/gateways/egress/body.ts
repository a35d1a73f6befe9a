import type { Duplex } from 'node:stream';
import type { Framing } from './head.ts';
import { type Inlet, send } from './inlet.ts';
import { Refusal } from './refusal.ts';

const LINE_LIMIT = 1024;
const TRAILER_LIMIT = 8 * 1024;

/** Sees a body's bytes before they go on, in order, and `last` with the last of them; throws when they may not. */
export type Look = (piece: Buffer, last: boolean) => void;
const NOTHING = Buffer.alloc(0);

/**
 * Passes one message's body on and no byte more. A chunked body is decoded and framed anew: what the next server reads
 * as its end is what was read as its end here. Chunk extensions and trailers are dropped, as RFC 9112 §7.1 allows.
 * `count` is called before bytes go out and may throw. Throws `Refusal` when the sender ends too soon or frames wrongly.
 */
export async function relayBody(
  from: Inlet,
  to: Duplex,
  framing: Framing,
  count: (bytes: number) => void,
  look: Look = () => {},
): Promise<void> {
  if (framing.kind === 'none') return;
  if (framing.kind === 'length') return relayLength(from, to, framing.length, count, look);
  if (framing.kind === 'close') return relayToEnd(from, to, count);
  for (;;) {
    const size = chunkSize(await readLine(from, LINE_LIMIT));
    if (size === 0) break;
    count(size);
    await send(to, `${size.toString(16)}\r\n`);
    const seen: Look = (piece) => look(piece, false);
    await relayLength(from, to, size, () => {}, seen);
    if ((await readLine(from, LINE_LIMIT)) !== '')
      throw new Refusal('malformed', 'a chunk that is longer than it says');
    await send(to, '\r\n');
  }
  let left = TRAILER_LIMIT;
  for (;;) {
    const line = await readLine(from, left);
    if (line === '') break;
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/.test(line))
      throw new Refusal('malformed', 'trailers that are no header lines');
    left -= line.length + 2;
  }
  look(NOTHING, true);
  await send(to, '0\r\n\r\n');
}

async function relayLength(
  from: Inlet,
  to: Duplex,
  length: number,
  count: (bytes: number) => void,
  look: Look,
): Promise<void> {
  let left = length;
  while (left > 0) {
    const chunk = await from.read();
    if (chunk === null) throw new Refusal('upstream_ended', 'the connection ended in the middle of a body');
    const part = chunk.length > left ? chunk.subarray(0, left) : chunk;
    if (part.length < chunk.length) from.unread(chunk.subarray(left));
    left -= part.length;
    count(part.length);
    look(part, left === 0);
    await send(to, part);
  }
}

async function relayToEnd(from: Inlet, to: Duplex, count: (bytes: number) => void): Promise<void> {
  for (let chunk = await from.read(); chunk !== null; chunk = await from.read()) {
    count(chunk.length);
    await send(to, chunk);
  }
  // Where the end of the connection is the end of the body, a reset must not pass for one.
  if (from.cut) throw new Refusal('upstream_ended', 'the connection was cut in the middle of a body');
}

function chunkSize(line: string): number {
  const match = /^([0-9a-fA-F]{1,12})(?:;[\t\x20-\x7e]*)?$/.exec(line);
  if (match === null) throw new Refusal('malformed', 'a chunk without its size');
  return Number.parseInt(match[1] ?? '', 16);
}

function tooLong(limit: number): Refusal {
  return new Refusal('malformed', `a line of more than ${limit} bytes in a body`);
}

/** One line without its CRLF; a bare CR or LF in it is refused. */
async function readLine(from: Inlet, limit: number): Promise<string> {
  let bytes: Buffer = Buffer.alloc(0);
  for (;;) {
    const end = bytes.indexOf(10);
    if (end !== -1) {
      if (end > limit) throw tooLong(limit);
      if (bytes[end - 1] !== 13 || bytes.indexOf(13) !== end - 1)
        throw new Refusal('malformed', 'a line that does not end in CRLF');
      from.unread(bytes.subarray(end + 1));
      return bytes.toString('latin1', 0, end - 1);
    }
    if (bytes.length > limit) throw tooLong(limit);
    const more = await from.read();
    if (more === null) throw new Refusal('upstream_ended', 'the connection ended in the middle of a body');
    bytes = bytes.length === 0 ? more : Buffer.concat([bytes, more]);
  }
}
