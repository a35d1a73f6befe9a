import fc from 'fast-check';
import { expect, test } from 'vitest';
import { strictJsonParse } from './strict-json.ts';

test('reads what JSON.stringify writes', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5, noUnicodeString: false }), (value) => {
      const text = JSON.stringify(value);
      fc.pre(!/\d{16}/.test(text) && !/[0-9]e/i.test(text));
      expect(strictJsonParse(text)).toEqual(JSON.parse(text));
    }),
  );
});

test.each([
  ['a duplicate key', '{"a":1,"b":{},"a":2}'],
  ['a duplicate key spelled otherwise', '{"a":1,"\\u0061":2}'],
  ['a duplicate key further in', '[{"x":[1,{"k":0,"k":0}]}]'],
  ['an integer past 2^53', '{"n":9007199254740993}'],
  ['one below -2^53', '[-9007199254740993]'],
  ['an integer in another spelling', '[9.007199254740993e15]'],
  ['infinity by exponent', '[1e999]'],
  ['bottomless nesting', '['.repeat(100_000)],
  ['an unfinished string', '{"a'],
  ['a trailing comma', '[1,]'],
  ['two documents', '{} {}'],
  ['nothing', ''],
])('refuses %s', (_, text) => {
  expect(() => strictJsonParse(text)).toThrow(SyntaxError);
});

test('the same key may stand in two objects, and as a value', () => {
  expect(strictJsonParse('[{"a":"a"},{"a":["a","a"]}]')).toEqual([{ a: 'a' }, { a: ['a', 'a'] }]);
});
