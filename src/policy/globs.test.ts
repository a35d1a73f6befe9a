import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { coversGlob, matchGlob, matchSegment, parseGlob } from './globs.ts';

const glob = (text: string) => {
  const result = parseGlob(text);
  if (!result.ok) throw new Error(result.message);
  return result.value;
};
const matches = (text: string, name: string) => matchGlob(glob(text), name);

/** The meaning in a few lines, exponential and plainly right: what the real one is held against. */
function reference(pattern: readonly string[], names: readonly string[]): boolean {
  const [head, ...rest] = pattern;
  if (head === undefined) return names.length === 0;
  if (head === '**') {
    if (rest.length === 0) return names.length > 0;
    return names.some((_, i) => reference(rest, names.slice(i))) || reference(rest, []);
  }
  return names.length > 0 && segment(head, names[0] ?? '') && reference(rest, names.slice(1));
}
function segment(pattern: string, name: string): boolean {
  if (pattern === '') return name === '';
  if (pattern[0] === '*') return segment(pattern.slice(1), name) || (name !== '' && segment(pattern, name.slice(1)));
  return name !== '' && (pattern[0] === '?' || pattern[0] === name[0]) && segment(pattern.slice(1), name.slice(1));
}

describe('matching', () => {
  test.each([
    ['cordon/**', 'cordon/x', true],
    ['cordon/**', 'cordon/x/y', true],
    ['cordon/**', 'cordon', false],
    ['cordon/**', 'cordonx/y', false],
    ['**', 'a', true],
    ['**/x', 'x', true],
    ['**/x', 'a/b/x', true],
    ['a/**/b', 'a/b', true],
    ['a/**/b', 'a/x/y/b', true],
    ['a/*/b', 'a/x/y/b', false],
    ['*.ts', 'a.ts', true],
    ['*.ts', 'a/b.ts', false],
    ['*', '.hidden', true],
    ['a?c', 'abc', true],
    ['a?c', 'ac', false],
    ['a?c', 'a/c', false],
    ['a?c', 'a😀c', true],
    ['a.b', 'axb', false],
  ])('%s on %s: %s', (text, name, expected) => {
    expect(matches(text, name)).toBe(expected);
  });

  test('agrees with its meaning', () => {
    const part = fc.constantFrom('*', '**', 'a', 'b', 'a*', '*b', '?', 'a*b', '*a*b*');
    const name = fc.array(fc.constantFrom('a', 'b', 'ab', 'aab', 'ba', 'abab'), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), name, (parts, names) => {
        expect(matches(parts.join('/'), names.join('/'))).toBe(reference(parts, names));
      }),
      { numRuns: 5000 },
    );
  });

  test('a hostile pattern does not explode', () => {
    // With backtracking these would take longer than the universe lasts; the test's own limit is the judge.
    expect(matchSegment('*a'.repeat(200), 'a'.repeat(400).concat('b'))).toBe(false);
    expect(matches(`${'**/a/'.repeat(60)}b`, 'a/'.repeat(500).concat('c'))).toBe(false);
  });
});

test.each([
  '',
  'a//b',
  '/a',
  'a/',
  'a/../b',
  './a',
  'a/.',
  '[ab]',
  '{a,b}',
  '!a',
  'a\\b',
  'a**',
  '**a/b',
  'a\0',
  'a\nb',
  'a'.repeat(2000),
])('refuses %j', (text) => {
  expect(parseGlob(text).ok).toBe(false);
});

test('what surely is not covered is said to be', () => {
  expect(coversGlob(glob('cordon/**'), glob('cordon/fix-*'))).toBe(true);
  expect(coversGlob(glob('cordon/**'), glob('cordon/**'))).toBe(true);
  expect(coversGlob(glob('cordon/*'), glob('cordon/**'))).toBe(false);
  expect(coversGlob(glob('cordon/**'), glob('**/x'))).toBe(false);
});
