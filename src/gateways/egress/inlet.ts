import type { Duplex } from 'node:stream';
import { HEAD_LIMIT, hasBareLineEnd } from './head.ts';
import { Refusal } from './refusal.ts';

/** Bytes that may wait here before the sender is made to wait. */
const HIGH_WATER = 64 * 1024;

/**
 * The reading half of a connection, for code that takes bytes when it wants them. The stream stays in flowing mode and
 * is paused only when bytes pile up, so that a connection can be handed on to a tunnel without losing any.
 */
export class Inlet {
  readonly stream: Duplex;
  #waiting: Buffer[] = [];
  #size = 0;
  #ended = false;
  #finished = false;
  #paused = false;
  #wake: (() => void) | null = null;

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on('data', this.#take);
    stream.on('end', this.#finish);
    stream.on('close', this.#end);
    stream.on('error', this.#end);
    // Paused explicitly by whoever read from it before: a listener alone does not set it flowing again.
    if (stream.isPaused()) stream.resume();
  }

  readonly #take = (chunk: Buffer) => {
    this.#waiting.push(chunk);
    this.#size += chunk.length;
    if (this.#size > HIGH_WATER && !this.#paused) {
      this.#paused = true;
      this.stream.pause();
    }
    this.#rouse();
  };

  readonly #finish = () => {
    this.#finished = true;
    this.#end();
  };

  readonly #end = () => {
    this.#ended = true;
    this.#rouse();
  };

  #rouse(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Unread bytes that are here already. */
  get size(): number {
    return this.#size;
  }

  /** The next bytes, as they came; null at the end. */
  async read(): Promise<Buffer | null> {
    while (this.#size === 0) {
      if (this.#ended) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const chunk = this.#waiting.shift() ?? null;
    this.#size -= chunk?.length ?? 0;
    if (this.#paused && this.#size <= HIGH_WATER / 2) {
      this.#paused = false;
      this.stream.resume();
    }
    return chunk;
  }

  unread(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#waiting.unshift(bytes);
    this.#size += bytes.length;
  }

  /** At least `count` bytes, or null when the connection ends before. */
  async readAtLeast(count: number): Promise<Buffer | null> {
    const parts: Buffer[] = [];
    let size = 0;
    while (size < count) {
      const chunk = await this.read();
      if (chunk === null) {
        this.unread(Buffer.concat(parts));
        return null;
      }
      parts.push(chunk);
      size += chunk.length;
    }
    return parts.length === 1 ? (parts[0] ?? null) : Buffer.concat(parts);
  }

  /** A head with its empty line; null when the connection ended before its first byte. `onFirst` is called at that byte. */
  async readHead(onFirst: () => void): Promise<Buffer | null> {
    let bytes = await this.read();
    if (bytes === null) return null;
    onFirst();
    let from = 0;
    for (;;) {
      const end = bytes.indexOf('\r\n\r\n', from, 'latin1');
      if (end !== -1 && end + 4 <= HEAD_LIMIT) {
        this.unread(bytes.subarray(end + 4));
        return bytes.subarray(0, end + 4);
      }
      if (bytes.length > HEAD_LIMIT) throw new Refusal('malformed', `a head of more than ${HEAD_LIMIT} bytes`);
      if (hasBareLineEnd(bytes)) throw new Refusal('malformed', 'a line that does not end in CRLF');
      from = Math.max(0, bytes.length - 3);
      const more = await this.read();
      if (more === null) throw new Refusal('malformed', 'the connection ended in the middle of a head');
      bytes = Buffer.concat([bytes, more]);
    }
  }

  /** Stops reading; the unread bytes go with whoever takes the stream over. It is paused until then. */
  release(): Buffer {
    this.stream.pause();
    this.stream.off('data', this.#take);
    this.stream.off('end', this.#finish);
    this.stream.off('close', this.#end);
    const rest = Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.#size = 0;
    return rest;
  }

  /** True once no byte will come any more (some may still be unread). */
  get ended(): boolean {
    return this.#ended;
  }

  /** True when it ended without the other side's word that this was all. */
  get cut(): boolean {
    return this.#ended && !this.#finished;
  }
}

/** Waits while the other side does not take bytes as fast as they come. Throws when it is gone. */
export function send(stream: Duplex, chunk: Buffer | string): Promise<void> | undefined {
  if (stream.destroyed) throw new Refusal('guest_ended', 'the other side is gone');
  if (stream.write(chunk)) return undefined;
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done);
      stream.off('close', done);
      resolve();
    };
    stream.on('drain', done);
    stream.on('close', done);
  });
}
