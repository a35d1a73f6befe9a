import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ColouredRedaction } from './coloured.ts';
import { Redactor } from './redactor.ts';

const VALUE = 'hunter2-hunter2';
// biome-ignore lint/suspicious/noControlCharactersInRegex: the colours themselves
const COLOURS = /\x1b\[[0-9;:]*m/g;

/** A stream cut at these places. */
function through(text: string, cuts: readonly number[] = []): string {
  const redactor = new Redactor();
  redactor.add('PW', VALUE);
  const redaction = new ColouredRedaction(redactor.open());
  const data = Buffer.from(text);
  const places = [...new Set(cuts.map((cut) => cut % (data.length + 1)))].sort((a, b) => a - b);
  const out: Buffer[] = [];
  let from = 0;
  for (const to of [...places, data.length]) {
    out.push(...redaction.write(data.subarray(from, to), false));
    from = to;
  }
  return Buffer.concat([...out, ...redaction.write(Buffer.alloc(0), true)]).toString();
}

describe('a value in pieces with colours between them', () => {
  test('is found, its colours behind the mark', () => {
    expect(through('a \x1b[31mhunter2\x1b[0m-\x1b[1mhunter2\x1b[0m b')).toBe(
      'a \x1b[31m[secret:PW]\x1b[0m\x1b[1m\x1b[0m b',
    );
  });

  test('colours elsewhere stay where they are, and what is no colour stays too', () => {
    const text = '\x1b[1mbold\x1b[22m hunter\x1b[2Khunter2 \x1b[38;2;1;2;3m€\x1b[0m\x1b[';
    expect(through(text)).toBe(text);
  });

  test('a coloured question goes on at once', () => {
    const redactor = new Redactor();
    redactor.add('PW', VALUE);
    const redaction = new ColouredRedaction(redactor.open());
    const text = '\x1b[1mContinue?\x1b[0m ';
    expect(Buffer.concat(redaction.write(Buffer.from(text), false)).toString()).toBe(text);
  });

  test('however it is cut, the result is the same, and without colours it is what it would be without them', () => {
    const piece = fc.constantFrom('hunter2', '-', 'hunter2-', '\x1b[31m', '\x1b[', '\x1b[0;1m', '\x1b', 'm', 'x ', '€');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), fc.array(fc.nat(), { maxLength: 8 }), (pieces, cuts) => {
        const text = pieces.join('');
        const whole = through(text);
        expect(through(text, cuts)).toBe(whole);
        const plain = new Redactor();
        plain.add('PW', VALUE);
        expect(whole.replace(COLOURS, '')).toBe(plain.redact(text.replace(COLOURS, '')));
      }),
    );
  });
});
