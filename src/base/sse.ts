/** Server-sent events, as they pass (https://html.spec.whatwg.org/multipage/server-sent-events.html). */

export interface SseEvent {
  /** Its `event:` field. */
  readonly type: string | null;
  /** Its `data:` lines, joined. */
  readonly data: string;
  /** The bytes it came in, with the empty line that ends it. */
  readonly raw: Buffer;
}

/** Longest event. Bytes. */
export const MAX_EVENT = 16 * 1024 * 1024;

export class EventTooLongError extends Error {
  constructor() {
    super(`an event of more than ${MAX_EVENT} bytes`);
  }
}

/** Cuts a stream into its events, wherever its pieces were cut. Comments and empty blocks are events without data. */
export class SseReader {
  #pending: Buffer[] = [];
  #size = 0;
  /** Bytes of the open block that were searched for its end already, less what an end may reach back. */
  #searched = 0;

  /** Throws {@link EventTooLongError}. */
  push(piece: Buffer): SseEvent[] {
    this.#pending.push(piece);
    this.#size += piece.length;
    let open = this.#pending.length === 1 ? piece : Buffer.concat(this.#pending);
    const events: SseEvent[] = [];
    for (;;) {
      const end = endOfBlock(open, this.#searched);
      if (end < 0) break;
      events.push(parseBlock(open.subarray(0, end)));
      open = open.subarray(end);
      this.#searched = 0;
    }
    this.#searched = Math.max(0, open.length - 3);
    this.#pending = open.length === 0 ? [] : [open];
    this.#size = open.length;
    if (this.#size > MAX_EVENT) throw new EventTooLongError();
    return events;
  }

  /** What came after the last whole event; empty for a stream that ended well. */
  get rest(): Buffer {
    return Buffer.concat(this.#pending);
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
  for (const line of raw.toString('utf8').split('\n')) {
    const text = line.endsWith('\r') ? line.slice(0, -1) : line;
    const colon = text.indexOf(':');
    if (colon <= 0) continue;
    const name = text.slice(0, colon);
    const value = text.slice(text[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') data.push(value);
    else if (name === 'event') type = value;
  }
  return { type, data: data.join('\n'), raw };
}
