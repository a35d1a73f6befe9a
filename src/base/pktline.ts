/**
 * pkt-lines (gitprotocol-common(5)): four hex digits of length, these included, then the payload. `0000` flush,
 * `0001` delimiter, `0002` end of response. Read strictly: a length of 3, or above 65520, is an error.
 */
export type Packet =
  | { readonly kind: 'data'; readonly data: Buffer }
  | { readonly kind: 'flush' | 'delimiter' | 'end' };

export class PacketError extends Error {}

const MAX_LENGTH = 65520;
export const flushPacket = Buffer.from('0000');

export function packet(data: string | Uint8Array): Buffer {
  const payload = Buffer.from(data as string);
  const length = payload.length + 4;
  if (length > MAX_LENGTH) throw new RangeError(`a packet holds ${MAX_LENGTH - 4} bytes, not ${payload.length}`);
  return Buffer.concat([Buffer.from(length.toString(16).padStart(4, '0')), payload]);
}

/** Takes packets off the front of a byte stream; what follows the last one taken is left in `rest()`. */
export class PacketReader {
  readonly #source: AsyncIterator<Buffer>;
  #bytes: Buffer = Buffer.alloc(0);
  #taken = 0;
  readonly #limit: number;

  /** `limit`: bytes that the packets may take together. */
  constructor(source: AsyncIterable<Buffer>, limit: number) {
    this.#source = source[Symbol.asyncIterator]();
    this.#limit = limit;
  }

  /** Null at the end of the stream. Throws `PacketError` for a malformed or cut-off packet, and beyond the limit. */
  async next(): Promise<Packet | null> {
    if (!(await this.#fill(4))) {
      if (this.#bytes.length === 0) return null;
      throw new PacketError('the bytes end within a packet');
    }
    const digits = this.#bytes.toString('latin1', 0, 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw new PacketError('a packet length is not four hex digits');
    const length = Number.parseInt(digits, 16);
    if (length === 3 || length > MAX_LENGTH) throw new PacketError(`${length} is no packet length`);
    this.#taken += Math.max(length, 4);
    if (this.#taken > this.#limit) throw new PacketError(`the packets take more than ${this.#limit} bytes`);
    if (length < 4) {
      this.#bytes = this.#bytes.subarray(4);
      return { kind: (['flush', 'delimiter', 'end'] as const)[length] as 'flush' };
    }
    if (!(await this.#fill(length))) throw new PacketError('the bytes end within a packet');
    const data = Buffer.from(this.#bytes.subarray(4, length));
    this.#bytes = this.#bytes.subarray(length);
    return { kind: 'data', data };
  }

  /** Everything behind the packets taken so far. */
  async *rest(): AsyncGenerator<Buffer> {
    if (this.#bytes.length > 0) yield this.#bytes;
    this.#bytes = Buffer.alloc(0);
    for (;;) {
      const step = await this.#source.next();
      if (step.done === true) return;
      yield step.value;
    }
  }

  async #fill(size: number): Promise<boolean> {
    if (this.#bytes.length >= size) return true;
    // Joined once: whoever sends a packet byte by byte would have all of it copied for each of them.
    const parts = [this.#bytes];
    let length = this.#bytes.length;
    while (length < size) {
      const step = await this.#source.next();
      if (step.done === true) break;
      parts.push(step.value);
      length += step.value.length;
    }
    this.#bytes = Buffer.concat(parts);
    return length >= size;
  }
}
