import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Redactor } from '../../base/redact/index.ts';
import { CleanPieces } from './pieces.ts';

const SECRET = 'correct-horse-battery';

/** What comes out of pieces that came at 0, 1, 2, …, as a reader of the recording puts it together. */
function through(redactor: Redactor, pieces: readonly string[]): [number, string][] {
  const out: [number, string][] = [];
  const clean = new CleanPieces(redactor, (at, bytes) => {
    const last = out.at(-1);
    if (at === null && last !== undefined) last[1] += bytes.toString('latin1');
    else out.push([at ?? -1, bytes.toString('latin1')]);
  });
  for (const [at, piece] of pieces.entries()) clean.add(Buffer.from(piece, 'latin1'), at);
  clean.end();
  return out;
}

function open(): Redactor {
  const redactor = new Redactor();
  redactor.add('KEY', SECRET);
  return redactor;
}

test('pieces without a secret come out as they came, also where one might have begun', () => {
  const pieces = ['one', 'correct-', 'horse-', 'no', 'ghp', '_', 'two'];
  expect(through(open(), pieces)).toEqual(pieces.map((piece, at) => [at, piece]));
});

test('a secret over several pieces leaves its mark where it begins, and the others stay in place', () => {
  expect(through(open(), ['a', 'key: corr', 'ect-hor', 'se-battery', ' and', 'b'])).toEqual([
    [0, 'a'],
    [1, 'key: [secret:KEY]'],
    [4, ' and'],
    [5, 'b'],
  ]);
});

test('cut anywhere it is the whole without secrets, with as many bytes in each piece where there is none', () => {
  const text = fc.array(fc.constantFrom(SECRET, 'correct', '-', 'sk-ant-', 'text ', 'x'), { maxLength: 12 });
  fc.assert(
    fc.property(text, fc.array(fc.nat(200)), (words, cuts) => {
      const all = words.join('');
      const places = [0, ...cuts.filter((at) => at < all.length).sort((a, b) => a - b), all.length];
      const pieces = places.map((at, i) => all.slice(at, places[i + 1] ?? at));
      const out = through(open(), pieces);
      expect(out.map(([, piece]) => piece).join('')).toBe(open().redact(all));
      const came = pieces.map((piece, at): [number, string] => [at, piece]).filter(([, piece]) => piece !== '');
      // The words may make a key of their own: `sk-ant-` and enough behind it.
      if (open().redact(all) === all) expect(out).toEqual(came);
    }),
  );
});

test('a piece of any length is written in portions, and is one piece again', () => {
  const long = 'x'.repeat(300_000);
  const sizes: number[] = [];
  const clean = new CleanPieces(open(), (_, bytes) => sizes.push(bytes.length));
  clean.add(Buffer.from(long), 0);
  clean.end();
  expect(Math.max(...sizes)).toBe(64 * 1024);
  expect(through(open(), [long, 'y'])).toEqual([
    [0, long],
    [1, 'y'],
  ]);
});
