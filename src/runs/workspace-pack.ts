/**
 * What changed in a workspace, as it is kept beside the log:
 *
 *   pack     gzip of records, one after the other
 *   record   length of the head (4 bytes, big-endian) head bytes
 *   head     {"p": path, each byte a character, "k": "f" file | "l" link | "d" folder | "x" gone | "w" withheld,
 *             "m": mode, "t": milliseconds since 1970, "n": number of bytes, "r": true where the checkout has something of another kind}
 */
import { Readable } from 'node:stream';
import { createGunzip, createGzip } from 'node:zlib';
import * as z from 'zod';
import { AuditInvalidError } from '../base/errors.ts';

export const PACK_MEDIA_TYPE = 'application/vnd.cordon.workspace+gzip';
/** Bytes of one file; they are in memory. */
export const LONGEST_FILE = 256 * 1024 * 1024;
const LONGEST_HEAD = 64 * 1024;

const headSchema = z.strictObject({
  p: z.string().min(1),
  k: z.enum(['f', 'l', 'd', 'x', 'w']),
  m: z.int().min(0).max(0o7777),
  t: z.number(),
  n: z.int().min(0).max(LONGEST_FILE),
  r: z.boolean(),
});
export type PackHead = Readonly<z.output<typeof headSchema>>;

export interface PackRecord {
  readonly head: PackHead;
  readonly bytes: Buffer;
}

export function packed(records: AsyncIterable<PackRecord>): AsyncIterable<Buffer> {
  return Readable.from(encoded(records)).compose(createGzip({ level: 1 })) as AsyncIterable<Buffer>;
}

async function* encoded(records: AsyncIterable<PackRecord>): AsyncGenerator<Buffer> {
  for await (const { head, bytes } of records) {
    const text = Buffer.from(JSON.stringify(head));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    yield Buffer.concat([length, text]);
    if (bytes.length > 0) yield bytes;
  }
}

/** Throws `AuditInvalidError` for what is no pack. In memory a file at a time. */
export async function* unpacked(pack: AsyncIterable<Buffer>): AsyncGenerator<PackRecord> {
  const source = new Reader(Readable.from(pack).compose(createGunzip()) as AsyncIterable<Buffer>);
  for (;;) {
    const length = await source.take(4);
    if (length === null) return;
    const size = length.readUInt32BE();
    const text = size > LONGEST_HEAD ? null : await source.take(size);
    const head = text === null ? null : headSchema.safeParse(JSON.parse(text.toString('utf8')));
    if (head === null || !head.success) throw new AuditInvalidError('a pack of a workspace has a record that is none');
    const bytes = head.data.n === 0 ? Buffer.alloc(0) : await source.take(head.data.n);
    if (bytes === null) throw new AuditInvalidError('a pack of a workspace ends in a file');
    yield { head: head.data, bytes };
  }
}

class Reader {
  readonly #source: AsyncIterator<Buffer>;
  #pieces: Buffer[] = [];
  #size = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Exactly so many bytes; null at the end. */
  async take(count: number): Promise<Buffer | null> {
    while (this.#size < count) {
      const { value, done } = await this.#source.next();
      if (done === true) return null;
      this.#pieces.push(value);
      this.#size += value.length;
    }
    const all = this.#pieces.length === 1 ? (this.#pieces[0] as Buffer) : Buffer.concat(this.#pieces);
    this.#pieces = [all.subarray(count)];
    this.#size = all.length - count;
    return all.subarray(0, count);
  }
}
