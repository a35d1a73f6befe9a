import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib';
import type { Hold } from './intake.ts';
import { eachPiece } from './pieces.ts';
import { badRequest } from './refusal.ts';
import { isObject, type JsonObject } from './wire/wire.ts';

const DECODERS = {
  gzip: promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
  zstd: promisify(zstdDecompress),
} as const;

/** Levels of nesting that a request may have: what walks it must not run out of stack. */
const MAX_DEPTH = 200;
/** Values that a request may have: as objects they take far more memory than as text. */
const MAX_VALUES = 1_000_000;

/** The whole of a request's body, of at most `limit` bytes also when it was compressed. Throws `ModelRefusal`. */
export async function readBody(request: IncomingMessage, limit: number, hold: Hold): Promise<Buffer> {
  const tooLarge = () => badRequest(`the request is larger than ${limit} bytes (llm_policy.max_request)`, 413);
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge();
  const pieces: Buffer[] = [];
  let size = 0;
  await eachPiece(request, (piece) => {
    pieces.push(piece);
    size += piece.length;
    if (size > limit) throw tooLarge();
    hold.take(piece.length);
  });
  const body = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
  const encoding = String(request.headers['content-encoding'] ?? 'identity').toLowerCase();
  if (encoding === 'identity') return body;
  const decode = DECODERS[encoding as keyof typeof DECODERS];
  if (!Object.hasOwn(DECODERS, encoding)) throw badRequest(`content-encoding ${encoding} is not known here`, 415);
  const open = await decode(body, { maxOutputLength: limit }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ERR_BUFFER_TOO_LARGE' ? tooLarge() : badRequest(`the body is not ${encoding}`);
  });
  hold.take(open.length);
  return open;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** JSON of an object, not nested beyond reason. Of a name that stands twice the last counts, and only it is sent. */
export function parseBody(bytes: Buffer): JsonObject {
  if (bytes.length > MAX_VALUES && valuesIn(bytes) > MAX_VALUES)
    throw badRequest(`the body has more than ${MAX_VALUES} values`, 413);
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch {
    throw badRequest('the body is not JSON in UTF-8');
  }
  if (!isObject(value)) throw badRequest('the body is no JSON object');
  if (deeper(value, MAX_DEPTH)) throw badRequest(`the body is nested deeper than ${MAX_DEPTH} levels`);
  return value;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** At least so many values as the text has, told by its commas and brackets outside of strings. Stops beyond the limit. */
function valuesIn(bytes: Buffer): number {
  let count = 1;
  for (let at = 0; at < bytes.length && count <= MAX_VALUES; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) at = endOfString(bytes, at + 1);
    else if (byte === 0x2c || byte === 0x5b || byte === 0x7b) count++;
  }
  return count;
}

/** Where the quote stands that ends the string whose text begins at `from`. */
function endOfString(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(QUOTE, from); at >= 0; at = bytes.indexOf(QUOTE, at + 1)) {
    let slashes = 0;
    while (at - slashes > from && bytes[at - slashes - 1] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return at;
  }
  return bytes.length;
}

/** Goes no deeper than it asks for. */
function deeper(value: object, levels: number): boolean {
  if (levels === 0) return true;
  for (const key in value) {
    const item: unknown = value[key as keyof typeof value];
    if (typeof item === 'object' && item !== null && deeper(item, levels - 1)) return true;
  }
  return false;
}
