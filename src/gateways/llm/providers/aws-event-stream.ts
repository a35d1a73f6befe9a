import { crc32 } from 'node:zlib';
import { ModelRefusal } from '../refusal.ts';
import { isObject, parseObject } from '../wire/wire.ts';

/**
 * `application/vnd.amazon.eventstream`: frames of
 *
 *   u32 length of all · u32 length of headers · u32 CRC of these eight bytes · headers · payload · u32 CRC of all before it
 *   header: u8 length · name · u8 type · value; type 7 is text: u16 length · bytes
 *
 * https://smithy.io/2.0/aws/amazon-eventstream.html
 */
const PRELUDE = 12;
/** The format's own bound. Bytes. */
const MAX_FRAME = 24 * 1024 * 1024;

interface Frame {
  readonly headers: ReadonlyMap<string, string>;
  readonly payload: Buffer;
}

/** Frames whose payload is `{"bytes": base64 of an event of Anthropic's}` → that event as it is in a stream of Anthropic's own. */
export async function* bedrockEvents(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let open: Buffer = Buffer.alloc(0);
  for await (const piece of bytes) {
    open = open.length === 0 ? piece : Buffer.concat([open, piece]);
    const out: string[] = [];
    for (let length = frameLength(open); length !== null && open.length >= length; length = frameLength(open)) {
      out.push(eventOf(frameOf(open.subarray(0, length))));
      open = open.subarray(length);
    }
    if (out.length > 0) yield Buffer.from(out.join(''));
  }
  if (open.length > 0) throw malformed('a frame has no end');
}

const malformed = (what: string) =>
  new ModelRefusal('cut', 502, 'answer_malformed', `the provider's event stream is damaged: ${what}`);

/** Null while not even that is known. */
function frameLength(open: Buffer): number | null {
  if (open.length < PRELUDE) return null;
  if (crc32(open.subarray(0, 8)) !== open.readUInt32BE(8)) throw malformed('the checksum of a frame’s head');
  const length = open.readUInt32BE(0);
  if (length > MAX_FRAME || length < PRELUDE + 4 + open.readUInt32BE(4)) throw malformed('the length of a frame');
  return length;
}

function frameOf(bytes: Buffer): Frame {
  const end = bytes.length - 4;
  if (crc32(bytes.subarray(0, end)) !== bytes.readUInt32BE(end)) throw malformed('the checksum of a frame');
  const from = PRELUDE + bytes.readUInt32BE(4);
  return { headers: headersOf(bytes.subarray(PRELUDE, from)), payload: bytes.subarray(from, end) };
}

/** Bytes of the values that have one length: true, false, u8, i16, i32, i64; time, and uuid. */
const FIXED: Readonly<Record<number, number>> = { 0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16 };

function headersOf(bytes: Buffer): Map<string, string> {
  const headers = new Map<string, string>();
  try {
    for (let at = 0; at < bytes.length; ) {
      const name = bytes.toString('utf8', at + 1, at + 1 + bytes.readUInt8(at));
      at += 1 + bytes.readUInt8(at);
      const type = bytes.readUInt8(at++);
      const length = FIXED[type] ?? bytes.readUInt16BE(at);
      if (FIXED[type] === undefined) at += 2;
      if (type > 9 || at + length > bytes.length) throw malformed('a header of a frame');
      if (type === 7) headers.set(name, bytes.toString('utf8', at, at + length));
      at += length;
    }
  } catch (error) {
    throw error instanceof RangeError ? malformed('a header of a frame') : error;
  }
  return headers;
}

/** As Anthropic names what went wrong. */
const TYPES: Readonly<Record<string, string>> = {
  throttlingException: 'rate_limit_error',
  validationException: 'invalid_request_error',
  serviceUnavailableException: 'overloaded_error',
  modelTimeoutException: 'timeout_error',
};

function eventOf({ headers, payload }: Frame): string {
  const kind = headers.get(':message-type');
  const body = parseObject(payload.toString('utf8'));
  if (kind === 'exception' || kind === 'error') {
    const what = headers.get(':exception-type') ?? headers.get(':error-code') ?? 'an error';
    const said = headers.get(':error-message') ?? body?.message;
    const message = typeof said === 'string' ? said : what;
    return sse('error', JSON.stringify({ type: 'error', error: { type: TYPES[what] ?? 'api_error', message } }));
  }
  if (headers.get(':event-type') !== 'chunk') return '';
  if (typeof body?.bytes !== 'string') throw malformed('a chunk without bytes');
  const data = Buffer.from(body.bytes, 'base64').toString('utf8');
  const event = parseObject(data);
  if (!isObject(event) || typeof event.type !== 'string' || !/^[a-z_]{1,64}$/.test(event.type))
    throw malformed('a chunk that is no event');
  // Written anew: a line break in it would end the event.
  return sse(event.type, JSON.stringify(event));
}

const sse = (type: string, data: string) => `event: ${type}\ndata: ${data}\n\n`;
