import { expect, test } from 'vitest';
import { Redactor } from '../../base/redact/index.ts';
import { parseBody } from './body.ts';
import { redactRequest } from './redact.ts';

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
