import type { Duplex } from 'node:stream';
import { type Sieve, Silence } from './answer-secrets.ts';
import type { Framing } from './head.ts';
import { type Inlet, send } from './inlet.ts';
import { Refusal } from './refusal.ts';

const LINE_LIMIT = 1024;
const TRAILER_LIMIT = 8 * 1024;

/** Sees a body's bytes before they go on, in order, and `last` with the last of them; throws when they may not. */
export type Look = (piece: Buffer, last: boolean) => void;
/** The same, where looking takes time. */
export type PatientLook = (piece: Buffer, last: boolean) => void | Promise<void>;
const NOTHING = Buffer.alloc(0);

/** Sees a body's bytes, without their framing. What it throws in `end` keeps the last of them back, and cuts the body. */
export interface BodyWatch {
  take(part: Buffer): void | Promise<void>;
  /** All bytes came, and all but the last have gone on. */
  end(): Promise<void>;
}

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
  look: PatientLook = () => {},
): Promise<void> {
  if (framing.kind === 'none') return;
  if (framing.kind === 'length') return relayLength(from, to, framing.length, count, look);
  if (framing.kind === 'close') return relayToEnd(from, to, count, look);
  for (let size = await nextSize(from); size > 0; size = await nextSize(from)) {
    count(size);
    await send(to, `${size.toString(16)}\r\n`);
    const seen: PatientLook = (piece) => look(piece, false);
    await relayLength(from, to, size, () => {}, seen);
    await endOfChunk(from);
    await send(to, '\r\n');
  }
  await skipTrailers(from);
  await look(NOTHING, true);
  await send(to, '0\r\n\r\n');
}

/** One message's body as it is meant, without chunk sizes. Throws as {@link relayBody}. */
export async function* bodyParts(from: Inlet, framing: Framing): AsyncGenerator<Buffer> {
  if (framing.kind === 'none') return;
  if (framing.kind === 'length') yield* lengthParts(from, framing.length);
  else if (framing.kind === 'close') {
    for (let chunk = await from.read(); chunk !== null; chunk = await from.read()) yield chunk;
    if (from.cut) throw new Refusal('upstream_ended', 'the connection was cut in the middle of a body');
  } else {
    for (let size = await nextSize(from); size > 0; size = await nextSize(from)) {
      yield* lengthParts(from, size);
      await endOfChunk(from);
    }
    await skipTrailers(from);
  }
}

/** As {@link relayBody}, with what `sieve` lets on of each piece; it may hold some back until the next. */
export async function relaySieved(
  from: Inlet,
  to: Duplex,
  framing: Framing,
  count: (bytes: number) => void,
  look: PatientLook,
  sieve: Sieve,
): Promise<void> {
  const silence = new Silence(sieve, (bytes) => {
    // Where the guest is gone, the next piece finds that out.
    if (!to.destroyed) void sendPart(to, framing, bytes);
  });
  try {
    for await (const part of bodyParts(from, framing)) {
      silence.end();
      count(part.length);
      await look(part, false);
      for (const piece of await sieve.pass(part, false)) if (piece.length > 0) await sendPart(to, framing, piece);
      silence.begin();
    }
  } finally {
    silence.end();
  }
  await look(NOTHING, true);
  for (const piece of await sieve.pass(NOTHING, true)) if (piece.length > 0) await sendPart(to, framing, piece);
  if (framing.kind === 'chunked') await send(to, '0\r\n\r\n');
}

function sendPart(to: Duplex, framing: Framing, part: Buffer): Promise<void> | undefined {
  if (framing.kind !== 'chunked') return send(to, part);
  return send(to, Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]));
}

/** As {@link relayBody}, one piece behind: the last goes on when the watch has ended well. */
export async function relayWatched(
  from: Inlet,
  to: Duplex,
  framing: Framing,
  count: (bytes: number) => void,
  watch: BodyWatch,
  sieve: Sieve | null,
): Promise<void> {
  const pass = async (part: Buffer, last: boolean) => {
    const pieces = sieve === null ? [part] : await sieve.pass(part, last);
    for (const piece of pieces) if (piece.length > 0) await sendPart(to, framing, piece);
  };
  let held: Buffer | null = null;
  for await (const part of bodyParts(from, framing)) {
    count(part.length);
    await watch.take(part);
    if (held !== null) await pass(held, false);
    held = part;
  }
  await watch.end();
  await pass(held ?? NOTHING, true);
  if (framing.kind === 'chunked') await send(to, '0\r\n\r\n');
}

async function* lengthParts(from: Inlet, length: number): AsyncGenerator<Buffer> {
  let left = length;
  while (left > 0) {
    const chunk = await from.read();
    if (chunk === null) throw new Refusal('upstream_ended', 'the connection ended in the middle of a body');
    const part = chunk.length > left ? chunk.subarray(0, left) : chunk;
    if (part.length < chunk.length) from.unread(chunk.subarray(left));
    left -= part.length;
    yield part;
  }
}

async function nextSize(from: Inlet): Promise<number> {
  return chunkSize(await readLine(from, LINE_LIMIT));
}

async function endOfChunk(from: Inlet): Promise<void> {
  if ((await readLine(from, LINE_LIMIT)) !== '') throw new Refusal('malformed', 'a chunk that is longer than it says');
}

async function skipTrailers(from: Inlet): Promise<void> {
  let left = TRAILER_LIMIT;
  for (;;) {
    const line = await readLine(from, left);
    if (line === '') return;
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/.test(line))
      throw new Refusal('malformed', 'trailers that are no header lines');
    left -= line.length + 2;
  }
}

async function relayLength(
  from: Inlet,
  to: Duplex,
  length: number,
  count: (bytes: number) => void,
  look: PatientLook,
): Promise<void> {
  let left = length;
  while (left > 0) {
    const chunk = await from.read();
    if (chunk === null) throw new Refusal('upstream_ended', 'the connection ended in the middle of a body');
    const part = chunk.length > left ? chunk.subarray(0, left) : chunk;
    if (part.length < chunk.length) from.unread(chunk.subarray(left));
    left -= part.length;
    count(part.length);
    const looking = look(part, left === 0);
    if (looking !== undefined) await looking;
    await send(to, part);
  }
}

async function relayToEnd(from: Inlet, to: Duplex, count: (bytes: number) => void, look: Look): Promise<void> {
  for (let chunk = await from.read(); chunk !== null; chunk = await from.read()) {
    count(chunk.length);
    look(chunk, false);
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
