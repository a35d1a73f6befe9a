import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { flushPacket, PacketError, PacketReader, packet } from '../../base/pktline.ts';
import { readPushHead } from './receive.ts';

async function* chunked(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Buffer> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : (sizes[i % sizes.length] as number);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

const read = (bytes: Buffer, sizes: readonly number[] = []) => new PacketReader(chunked(bytes, sizes), 256 * 1024);
const oid = fc.string({ unit: fc.constantFrom(...'123456789abcdef'), minLength: 40, maxLength: 40 });
const command = fc.record({
  old: oid,
  new: oid,
  ref: fc.stringMatching(/^refs\/heads\/[a-z][a-z0-9]{0,20}(?:\/[a-z][a-z0-9]{0,9})?$/),
});

describe('packets', () => {
  test('come out as they went in, however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 10 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 }),
        fc.uint8Array({ maxLength: 100 }),
        async (payloads, sizes, rest) => {
          const reader = read(Buffer.concat([...payloads.map((payload) => packet(payload)), flushPacket, rest]), sizes);
          for (const payload of payloads)
            expect(await reader.next()).toEqual({ kind: 'data', data: Buffer.from(payload) });
          expect(await reader.next()).toEqual({ kind: 'flush' });
          const left: Buffer[] = [];
          for await (const chunk of reader.rest()) left.push(chunk);
          expect(Buffer.concat(left)).toEqual(Buffer.from(rest));
        },
      ),
    );
  });

  test('any bytes give packets, the end or a PacketError, and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 100 }), fc.string({ maxLength: 60 })), async (input) => {
        const reader = read(Buffer.from(input as string));
        try {
          while ((await reader.next()) !== null);
        } catch (error) {
          expect(error).toBeInstanceOf(PacketError);
        }
      }),
    );
  });
});

describe('the head of a push', () => {
  test('well-formed commands are understood as they were written', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(command, { minLength: 1, maxLength: 5, selector: (one) => one.ref }),
        async (commands) => {
          const lines = commands.map((one, i) =>
            packet(`${one.old} ${one.new} ${one.ref}${i === 0 ? '\0report-status agent=x' : '\n'}`),
          );
          const head = await readPushHead(read(Buffer.concat([...lines, flushPacket])), 'sha1');
          if (head === null) throw new Error('no head');
          expect(head.commands).toEqual(commands.map((one) => ({ ...one, kind: 'update' })));
        },
      ),
    );
  });

  test('any bytes give a head, none or a PacketError', async () => {
    const line = fc.string({ maxLength: 120 }).map((text) => packet(text));
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 4 }), async (lines) => {
        try {
          await readPushHead(read(Buffer.concat([...lines, flushPacket])), 'sha1');
        } catch (error) {
          expect(error).toBeInstanceOf(PacketError);
        }
      }),
    );
  });
});
