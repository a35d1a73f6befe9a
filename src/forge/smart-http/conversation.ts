import { isOid } from '../../base/git.ts';
import { flushPacket, type Packet, PacketError, PacketReader, packet } from '../../base/pktline.ts';
import { safeText } from '../../base/term.ts';
import { ForgeError } from '../forge.ts';

/** What both directions of git's smart protocol share: packets with text in them, and the errors they may carry. */
export const AGENT = 'agent=git/cordon';
const delimiterPacket = Buffer.from('0001');

/** A protocol v2 command (gitprotocol-v2(5)). */
export function command(name: string, objectFormat: string, lines: readonly string[]): Buffer {
  const head = [`command=${name}\n`, `${AGENT}\n`, `object-format=${objectFormat}\n`];
  return Buffer.concat([
    ...head.map(packet),
    delimiterPacket,
    ...lines.map((line) => packet(`${line}\n`)),
    flushPacket,
  ]);
}

/** Reads packets and throws every fault as one of the forge's. */
export class Conversation {
  readonly #reader: PacketReader;
  readonly #name: string;
  readonly #body: AsyncGenerator<Buffer>;

  constructor(name: string, body: AsyncGenerator<Buffer>, limit = Number.POSITIVE_INFINITY) {
    this.#name = name;
    this.#body = body;
    this.#reader = new PacketReader(body, limit);
  }

  /** Reads what there is to read, to the end of the answer: a connection that is left in the middle serves nobody any more. */
  async whole<T>(read: () => Promise<T>): Promise<T> {
    try {
      const result = await read();
      for await (const rest of this.#reader.rest()) if (rest.length > 0) throw this.fault('more than was asked for');
      return result;
    } finally {
      await this.close();
    }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await this.#body.return(undefined);
  }

  /** Null at the end of the stream. */
  async next(): Promise<Packet | null> {
    let found: Packet | null;
    try {
      found = await this.#reader.next();
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      throw this.fault(error.message);
    }
    if (found?.kind === 'data' && found.data.subarray(0, 4).toString('latin1') === 'ERR ') {
      throw new ForgeError('rejected', `${this.#name} says: ${safeText(found.data.toString().slice(4, 400).trim())}`);
    }
    return found;
  }

  /** The text of a packet without its newline; null for every other kind, and at the end. */
  async line(): Promise<string | null> {
    const found = await this.next();
    return found?.kind === 'data' ? found.data.toString().replace(/\n$/, '') : null;
  }

  oid(text: string): string {
    if (isOid(text)) return text;
    throw this.fault('an object id that is none');
  }

  fault(why: string): ForgeError {
    return new ForgeError('protocol', `${this.#name} answered what git does not say: ${safeText(why)}`);
  }
}

/** Side bands (gitprotocol-pack(5)): 1 data, 2 what the other side tells people, 3 its last words. */
export async function* sideBand(
  talk: Conversation,
  name: string,
  onProgress: (text: string) => void,
): AsyncGenerator<Buffer> {
  for (;;) {
    const found = await talk.next();
    if (found === null) throw talk.fault('the pack ends without its end');
    if (found.kind !== 'data') return;
    const [band] = found.data;
    const rest = found.data.subarray(1);
    if (band === 1) yield rest;
    else if (band === 2) onProgress(safeText(rest.toString()).slice(0, 1000));
    else if (band === 3)
      throw new ForgeError('rejected', `${name} says: ${safeText(rest.toString().trim()).slice(0, 400)}`);
    else throw talk.fault('an unknown side band');
  }
}
