import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeReply, encodeWords } from './control-protocol.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');

describe('requests', () => {
  test('each word ends with NUL, numbers are decimal, text is UTF-8', () => {
    expect(encodeWords(['mount', '', 'é', 4096, -1])).toEqual(Buffer.from('mount\0\0é\x004096\0-1\0'));
  });

  test('the other side reads back the same words, whatever they are', () => {
    const word = fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0') && text.isWellFormed());
    fc.assert(
      fc.property(fc.array(word), (words) => {
        expect(encodeWords(words).toString().split('\0').slice(0, -1)).toEqual(words);
      }),
    );
  });

  test('a NUL in a word would make it two: refused', () => {
    expect(() => encodeWords(['exec', 1, '/workspace', 1, 'a\0b'])).toThrow(TypeError);
  });
});

describe('replies are an attacker’s words', () => {
  test('exactly a known kind and two whole numbers', () => {
    expect(decodeReply(bytes('reaped\x0042\x00-9\0'))).toEqual({ kind: 'reaped', a: 42, b: -9 });
  });

  test.each([
    '',
    '\0',
    'reaped\x0042\x009', // no end
    'reaped\x0042\0',
    'reaped\x0042\x009\x001\0',
    'Reaped\x0042\x009\0',
    'constructor\x001\x002\0',
    '__proto__\x001\x002\0',
    'reaped\x000x10\x001\0',
    'reaped\x001e3\x001\0',
    'reaped\x00 1\x001\0',
    'reaped\x00\x001\0',
    'reaped\x001.5\x001\0',
    'reaped\x00NaN\x001\0',
    `reaped\x00${'9'.repeat(16)}\x001\0`,
    `reaped\x00${'0'.repeat(60)}1\x001\0`,
    'ready\n\x000\x000\0',
  ])('%j is none', (text) => {
    expect(decodeReply(bytes(text))).toBeNull();
  });

  test('nothing makes it throw, and what it takes is a safe number', () => {
    const almost = fc
      .tuple(fc.constantFrom('ready', 'reaped', 'x'), fc.string({ maxLength: 20 }), fc.string({ maxLength: 20 }))
      .map((words) => Buffer.from(`${words.join('\0')}\0`));
    const any = fc.uint8Array({ maxLength: 80 }).map((data) => Buffer.from(data));
    fc.assert(
      fc.property(fc.oneof(almost, any), (data) => {
        const reply = decodeReply(data);
        if (reply === null) return;
        expect(Number.isSafeInteger(reply.a) && Number.isSafeInteger(reply.b)).toBe(true);
      }),
    );
  });
});
