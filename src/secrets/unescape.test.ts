import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Unescape } from './unescape.ts';

function meant(text: string, cuts: readonly number[] = []): string {
  const reader = new Unescape();
  const data = Buffer.from(text, 'latin1');
  const places = [...new Set(cuts.map((cut) => cut % (data.length + 1)))].sort((a, b) => a - b);
  const out: Buffer[] = [];
  let from = 0;
  for (const to of [...places, data.length]) {
    out.push(reader.write(data.subarray(from, to), false));
    from = to;
  }
  return Buffer.concat([...out, reader.write(Buffer.alloc(0), true)]).toString('latin1');
}

test.each([
  ['%63%6Frd', 'cord'],
  ['%2563', '%63'],
  ['\\u0063\\x6Frd\\\\n', 'cordn'],
  ['=63ord=\r\non', 'cordon'],
  ['&#99;&#x6f;&#X0072;d&amp;', 'cord&amp;'],
  ['c\0o\0r\0d\0', 'cord'],
  ['Y29y\r\n ZG9u', 'Y29yZG9u'],
  ['50%&=%zz\\u00&#;&#xx;', '50%&=%zzu00&#;&#xx;'],
  ['%ff=ff\\u0463&#200;', '%ff=ffu0463&#200;'],
  ['%2', '%2'],
])('%j', (text, expected) => {
  expect(meant(text)).toBe(expected);
});

test('however it is cut, it is the same', () => {
  const piece = fc.constantFrom(
    '%',
    '6',
    '3',
    '\\',
    'u',
    '00',
    'x',
    '=',
    '\r\n',
    '&',
    '#',
    ';',
    'c',
    'ff',
    '\\u006',
    '&#x0000000',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 24 }), fc.array(fc.nat(), { maxLength: 8 }), (pieces, cuts) => {
      expect(meant(pieces.join(''), cuts)).toBe(meant(pieces.join('')));
    }),
    { numRuns: 1000 },
  );
});
