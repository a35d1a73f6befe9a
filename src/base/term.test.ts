import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { clip, columns, palette, safeLines, safeText, shellLine } from './term.ts';

test.each([
  ['\x1b]0;title\x07', '\\x1b]0;title\\x07'],
  ['\x9b2J', '\\x9b2J'],
  ['a\nb\tc\r', 'a\\nb\\tc\\r'],
  ['admin\u202enimda', 'admin\\u{202e}nimda'],
  ['zero\u200bwidth\u{e0041}', 'zero\\u{200b}width\\u{e0041}'],
  ['\ud800', '\\u{d800}'],
  ['fill\u3164er \u115f\uffa0\u034f', 'fill\\u{3164}er \\u{115f}\\u{ffa0}\\u{34f}'],
  ['a\ufe0f\u{e0100} ❤\ufe0f\ufe0f', 'a\\u{fe0f}\\u{e0100} ❤\ufe0f\\u{fe0f}'],
  ['Zoë — 漢字 🙂', 'Zoë — 漢字 🙂'],
])('%j is shown as %j', (text, shown) => {
  expect(safeText(text)).toBe(shown);
});

test('nothing that a terminal acts upon is left, whatever the guest wrote', () => {
  // Judged by Unicode's own classes, not by the list in the code.
  const acted = /[\p{Cc}\p{Bidi_Control}\p{Cs}\p{Zl}\p{Zp}\p{Join_Control}\u{e0000}-\u{e0fff}]/u;
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(safeText(text)).not.toMatch(acted);
      expect(safeLines(text).replace(/[\n\t]/g, '')).not.toMatch(acted);
    }),
  );
});

test('lines stay lines', () => {
  expect(safeLines('a\r\n\tb\x1b[2J\rc')).toBe('a\n\tb\\x1b[2J\\rc');
});

test('a shown command, typed into a shell, is the command', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: fc.constantFrom(...`aB1 '"$\\;|&*~=-`) }), { minLength: 1, maxLength: 4 }),
      (argv) => {
        const out = execFileSync('sh', ['-c', `printf '%s\\n' ${shellLine(argv)}`], { encoding: 'utf8' });
        expect(out).toBe(`${argv.join('\n')}\n`);
      },
    ),
    { numRuns: 40 },
  );
});

test('columns line up whatever their style', () => {
  const { red } = palette(true);
  expect(
    columns([
      ['a', 'x'],
      [red('long'), 'y'],
    ]),
  ).toEqual(['a     x', `${red('long')}  y`]);
  expect(clip('abcdef', 4)).toBe('abc…');
});
