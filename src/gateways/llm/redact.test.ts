import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Redactor } from '../../base/redact/index.ts';
import { parseBody } from './body.ts';
import { CONVERSATIONS, jsonOf, redactRequest } from './redact.ts';
import type { JsonObject, JsonValue } from './wire/wire.ts';

const KEY = 'correct-horse-battery';

function redactor(): Redactor {
  const known = new Redactor();
  known.add('KEY', KEY);
  return known;
}

function sent(written: string | Buffer) {
  const bytes = Buffer.from(written as string);
  return { bytes, redacted: redactRequest(parseBody(bytes), redactor(), 'replace', bytes) };
}

test('the caller’s own bytes go on where they are what would be written', () => {
  const { bytes, redacted } = sent('{"model":"m","messages":[{"role":"user","content":"é ok"}]}');
  expect(redacted.bytes).toBe(bytes);
});

test.each([
  ['with white space', '{"model": "m"}', '{"model":"m"}'],
  ['with a name twice', '{"model":"x","model":"m"}', '{"model":"m"}'],
  ['with escapes that need not be', '{"model":"\\u006d"}', '{"model":"m"}'],
  ['behind a byte order mark', Buffer.from('\ufeff{"model":"m"}'), '{"model":"m"}'],
])('%s they are written anew', (_, written, expected) => {
  expect(sent(written).redacted.bytes.toString()).toBe(expected);
});

test('a secret in them is taken out', () => {
  const { redacted } = sent(JSON.stringify({ model: 'm', text: `it is ${KEY}.` }));
  expect(redacted.bytes.toString()).toBe('{"model":"m","text":"it is [secret:KEY]."}');
  expect(redacted.marks).toEqual({ KEY: 1 });
});

test('JSON that is put together from a conversation’s items is what JSON.stringify writes', () => {
  const names = fc.constantFrom<string>(...CONVERSATIONS, 'model', 'a "b"', '__proto__', '7');
  const values = fc.oneof(fc.jsonValue(), fc.array(fc.jsonValue()), fc.constant(undefined));
  fc.assert(
    fc.property(fc.array(fc.tuple(names, values)), (members) => {
      const body = Object.fromEntries(members) as JsonObject;
      const lists = CONVERSATIONS.map((name) => body[name]).filter((one) => Array.isArray(one));
      const { text, items } = jsonOf(body);
      expect(text).toBe(JSON.stringify(body));
      expect(items).toEqual((lists as JsonValue[][]).flat().map((item) => JSON.stringify(item)));
    }),
  );
});
