/** Server-sent events, as they pass (https://html.spec.whatwg.org/multipage/server-sent-events.html). */

export interface SseEvent {
  /** Its `event:` field. */
  readonly type: string | null;
  /** Its `data:` lines, joined. */
  readonly data: string;
  /** The bytes it came in, with the empty line that ends it. */
  readonly raw: Buffer;
}

const NOTHING = Buffer.alloc(0);

/** Longest event. Bytes. */
export const MAX_EVENT = 16 * 1024 * 1024;

export class EventTooLongError extends Error {
  constructor() {
    super(`an event of more than ${MAX_EVENT} bytes`);
  }
}

/** Cuts a stream into its events, wherever its pieces were cut. Comments and empty blocks are events without data. */
export class SseReader {
  /** The open block, with room behind it: a block that comes in many pieces is not copied for each of them. */
  #open: Buffer = NOTHING;
  #size = 0;

  /** Throws {@link EventTooLongError}. */
  push(piece: Buffer): SseEvent[] {
    // What an end may reach back was searched before, and is searched again.
    let from = Math.max(0, this.#size - 2);
    let bytes = this.#size === 0 ? piece : this.#append(piece);
    const events: SseEvent[] = [];
    for (let end = endOfBlock(bytes, from); end >= 0; end = endOfBlock(bytes, from)) {
      events.push(parseBlock(bytes.subarray(0, end)));
      bytes = bytes.subarray(end);
      from = 0;
    }
    // The events own what they came in; the rest must not keep it.
    if (events.length > 0 || this.#size === 0) this.#keep(bytes);
    if (this.#size > MAX_EVENT) throw new EventTooLongError();
    return events;
  }

  /** What came after the last whole event; empty for a stream that ended well. */
  get rest(): Buffer {
    return this.#open.subarray(0, this.#size);
  }

  #append(piece: Buffer): Buffer {
    const size = this.#size + piece.length;
    if (size > this.#open.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(size, 2 * this.#open.length));
      this.#open.copy(larger, 0, 0, this.#size);
      this.#open = larger;
    }
    piece.copy(this.#open, this.#size);
    this.#size = size;
    return this.#open.subarray(0, size);
  }

  #keep(rest: Buffer): void {
    this.#open = NOTHING;
    this.#size = 0;
    if (rest.length > 0) this.#append(rest);
  }
}

const LF = 10;
const CR = 13;

/** Where the block that begins at 0 ends: behind its empty line. -1 when it does not yet. */
function endOfBlock(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(LF, from); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return -1;
}

function parseBlock(raw: Buffer): SseEvent {
  let type: string | null = null;
  const data: string[] = [];
  const lines = raw.toString('utf8');
  for (let at = 0, end = 0; at < lines.length; at = end + 1) {
    end = lines.indexOf('\n', at);
    if (end < 0) end = lines.length;
    const text = lines.slice(at, lines[end - 1] === '\r' ? end - 1 : end);
    const colon = text.indexOf(':');
    if (colon <= 0) continue;
    const name = text.slice(0, colon);
    const value = text.slice(text[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') data.push(value);
    else if (name === 'event') type = value;
  }
  return { type, data: data.join('\n'), raw };
}
