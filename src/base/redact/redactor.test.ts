import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodingsOf } from './encodings.ts';
import { Redactor } from './redactor.ts';
import { credentialIn } from './shapes.ts';

const PASSWORD = 'p@ss "wörd"/+1\nline two';

function redactorOf(values: Record<string, string | Buffer>, shapes = true): Redactor {
  const redactor = new Redactor({ shapes });
  for (const [name, value] of Object.entries(values)) redactor.add(name, value);
  return redactor;
}

/** As a stream that is cut at the given places. */
function inPieces(redactor: Redactor, data: Buffer, cuts: readonly number[]): Buffer {
  const redaction = redactor.open();
  const places = [...new Set(cuts.map((cut) => cut % (data.length + 1)))].sort((a, b) => a - b);
  const out: Buffer[] = [];
  let from = 0;
  for (const to of [...places, data.length]) {
    out.push(...redaction.write(data.subarray(from, to), false));
    from = to;
  }
  return Buffer.concat([...out, ...redaction.write(Buffer.alloc(0), true)]);
}

describe('known values', () => {
  const forms: [string, string][] = [
    ['plain', PASSWORD],
    ['hex', Buffer.from(PASSWORD).toString('hex')],
    ['hex in capitals', Buffer.from(PASSWORD).toString('hex').toUpperCase()],
    ['base64', Buffer.from(PASSWORD).toString('base64')],
    ['base64url', Buffer.from(PASSWORD).toString('base64url')],
    ['URL-encoded', encodeURIComponent(PASSWORD)],
    ['URL-encoded in small letters', encodeURIComponent(PASSWORD).replace(/%../g, (x) => x.toLowerCase())],
    ['a form', new URLSearchParams({ a: PASSWORD }).toString().slice(2)],
    ['JSON', JSON.stringify(PASSWORD).slice(1, -1)],
    ['JSON within JSON', JSON.stringify(JSON.stringify(PASSWORD)).slice(3, -3)],
    ['on a terminal', PASSWORD.replace('\n', '\r\n')],
  ];
  test.each(forms)('%s', (_, form) => {
    const redactor = redactorOf({ DB_PASSWORD: PASSWORD });
    expect(redactor.redact(`before ${form} after`)).toBe('before [secret:DB_PASSWORD] after');
  });

  test('base64 of something around it, in each alignment', () => {
    const redactor = redactorOf({ TOKEN: 'abcdefgh-12345678' });
    for (const before of ['', 'x', 'xx', 'xxx', 'user:']) {
      const text = Buffer.from(`${before}abcdefgh-12345678!`).toString('base64');
      const out = redactor.redact(`Basic ${text}`);
      expect(out).toMatch(/^Basic .*\[secret:TOKEN\]/);
      // What stays beside the mark is of the neighbours, and bits of one byte.
      expect(out.replace('[secret:TOKEN]', '').length).toBeLessThanOrEqual('Basic '.length + before.length * 2 + 5);
    }
  });

  test('values that overlap leave no rest of either', () => {
    const redactor = redactorOf({ A: 'ABCDEFGH1234', B: '1234EFGHIJKL' });
    expect(redactor.redact('x ABCDEFGH1234EFGHIJKL y')).toBe('x [secret:A] y');
    expect(redactor.redact('ABCDEFGH1234 1234EFGHIJKL')).toBe('[secret:A] [secret:B]');
  });

  test('of a value and a longer one that begins with it, the longer names the place', () => {
    const redactor = redactorOf({ SHORT: 'abcdefgh', LONG: 'abcdefghijkl' });
    expect(inPieces(redactor, Buffer.from('abcdefghijkl abcdefgh.'), [8, 9]).toString()).toBe(
      '[secret:LONG] [secret:SHORT].',
    );
  });

  test('what cannot be the beginning of a secret goes on at once, the rest waits', () => {
    const redaction = redactorOf({ TOKEN: 'Qwertyuiop' }).open();
    const write = (text: string) => Buffer.concat(redaction.write(Buffer.from(text), false)).toString();
    expect(write('Continue? ')).toBe('Continue? ');
    expect(write('Qwerty')).toBe('');
    expect(write('!')).toBe('Qwerty!');
    expect(write('Qwertyuiop')).toBe('[secret:TOKEN]');
  });

  test('a value that is told while a stream is open is taken out from there on; one that is forgotten stays', () => {
    const redactor = redactorOf({});
    const redaction = redactor.open();
    const write = (text: string) => Buffer.concat(redaction.write(Buffer.from(text), false)).toString();
    expect(write('hunter2-hunter2\n')).toBe('hunter2-hunter2\n');
    redactor.add('PW', 'hunter2-hunter2');
    expect(write('hunter2-hunter2\n')).toBe('[secret:PW]\n');
    redactor.remove('PW');
    expect(write('hunter2-hunter2\n')).toBe('hunter2-hunter2\n');
  });

  test('refuses what would redact everything, without repeating it', () => {
    expect(() => redactorOf({ PIN: '1234567' })).toThrow(/PIN has 7 bytes; 8 to 65536/);
    expect(() => redactorOf({ PIN: '1234567' })).not.toThrow(/1234567/);
    expect(() => redactorOf({ BIG: Buffer.alloc(65_537) })).toThrow(RangeError);
  });

  test('does not show its values', () => {
    const redactor = redactorOf({ TOKEN: 'abcdefgh-12345678' });
    expect(inspect(redactor, { depth: 9, showHidden: true })).not.toContain('abcdefgh');
    expect(JSON.stringify({ redactor })).toBe('{"redactor":"[redactor of 1 secrets]"}');
  });
});

/** Put together here, so that no file holds what looks like a credential. */
const word = 'Zm9vYmFyYmF6cXV4Y29yZ2VncmF1bHQ0MDk2';
const samples: [string, string, string][] = [
  ['aws-access-key', `AKIA${'ABCDEFGHIJKLMNOP'}`, 'AWS access key'],
  ['github-token', `ghp${'_'}${word}`, 'GitHub token'],
  ['github-token', `github_pat${'_'}${word.slice(0, 22)}_${word}${word.slice(0, 23)}`, 'GitHub token'],
  ['gitlab-token', `glpat${'-'}${word.slice(0, 20)}`, 'GitLab token'],
  ['npm-token', `npm${'_'}${word}`, 'npm token'],
  ['slack-token', `xoxb${'-'}123456789012-${word}`, 'Slack token'],
  ['google-api-key', `AIza${word.slice(1)}`, 'Google API key'],
  ['anthropic-key', `sk-ant${'-'}api03-${word}${word}`, 'Anthropic key'],
  ['openai-key', `sk-proj${'-'}${word}${word}`, 'OpenAI key'],
  ['stripe-key', `sk_live${'_'}${word}`, 'Stripe key'],
];
const pem = ['-----BEGIN RSA PRIVATE', ' KEY-----\n', `${word}\n${word}\n`, '-----END RSA PRIVATE', ' KEY-----'].join(
  '',
);

describe('shapes', () => {
  test.each(samples)('%s', (id, sample, kind) => {
    expect(new Redactor().redact(`token=${sample}\n`)).toBe(`token=[secret:${id}]\n`);
    expect(credentialIn(`token=${sample}\n`)).toBe(kind);
    expect(new Redactor({ shapes: false }).redact(sample)).toBe(sample);
  });

  test('a private key is taken out whole, as a file and within JSON, and what follows stays', () => {
    expect(new Redactor().redact(`a\n${pem}\nb`)).toBe('a\n[secret:private-key]\nb');
    expect(new Redactor().redact(`{"key":${JSON.stringify(pem)}, "n": 1}`)).toBe(
      '{"key":"[secret:private-key]", "n": 1}',
    );
    expect(credentialIn(JSON.stringify(pem))).toBe('private key');
    expect(credentialIn("const head = '-----BEGIN PRIVATE KEY-----\\n' + body")).toBeNull();
  });

  test('one without its end does not take all that follows', () => {
    const rest = 'a b\n'.repeat(10_000);
    const out = new Redactor().redact(`${pem.slice(0, 60)}${rest}`);
    expect(out.length).toBeGreaterThan(rest.length - 17_000);
  });

  test('one within a word, or too short, is none', () => {
    const text = `xghp${'_'}${word} npm${'_'}config_registry AKIA1 ----- sk-ant- glpat-short`;
    expect(new Redactor().redact(text)).toBe(text);
  });

  test('a granted value has its own name, though it has a shape', () => {
    const token = `ghp${'_'}${word}`;
    expect(redactorOf({ GITHUB_TOKEN: token }).redact(`${token} ghp${'_'}${word.toUpperCase()}`)).toBe(
      '[secret:GITHUB_TOKEN] [secret:github-token]',
    );
  });

  test('a token without end takes no memory', () => {
    const redaction = new Redactor().open();
    expect(Buffer.concat(redaction.write(Buffer.from(`glpat${'-'}${word}`), false)).toString()).toBe(
      '[secret:gitlab-token]',
    );
    for (let i = 0; i < 100; i++) expect(redaction.write(Buffer.alloc(1_000, 'glpat-a'), false)).toEqual([]);
    expect(Buffer.concat(redaction.write(Buffer.from(' end'), true)).toString()).toBe(' end');
  });
});

describe('properties', () => {
  /** Text made of pieces that are, begin, or follow secrets. */
  const values = { A: 'ABCDEFGH1234', B: '1234EFGHIJKL', AA: 'abababababab', T: 'tök"en\\ \n<&', S: 'ABCDEFGH' };
  const pool = [
    ...Object.values(values).flatMap((value) => encodingsOf(Buffer.from(value)).map((form) => form.toString('latin1'))),
    ...samples.map(([, sample]) => sample),
    pem,
    pem.slice(0, 40),
    JSON.stringify(pem),
    `${samples[7]?.[1]}AKIA`,
    ' ',
    '\n',
    'ab',
    '-----',
  ];
  const piece = fc.oneof(
    fc.constantFrom(...pool),
    fc.tuple(fc.constantFrom(...pool), fc.nat(60)).map(([text, n]) => text.slice(0, n)),
    fc.tuple(fc.constantFrom(...pool), fc.nat(60)).map(([text, n]) => text.slice(n)),
    fc.string({ maxLength: 4 }),
  );
  const text = fc.array(piece, { maxLength: 12 }).map((pieces) => Buffer.from(pieces.join(''), 'latin1'));
  const redactor = redactorOf(values);

  test('however a stream is cut, the result is that of the whole', () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat(), { maxLength: 12 }), (data, cuts) => {
        expect(inPieces(redactor, data, cuts).toString('latin1')).toBe(redactor.redact(data).toString('latin1'));
      }),
      { numRuns: 2_000 },
    );
  });

  test('byte by byte too', () => {
    fc.assert(
      fc.property(text, (data) => {
        const all = Array.from({ length: data.length }, (_, i) => i);
        expect(inPieces(redactor, data, all).toString('latin1')).toBe(redactor.redact(data).toString('latin1'));
      }),
      { numRuns: 300 },
    );
  });

  test('no value survives in any encoding', () => {
    const secret = fc.oneof(
      fc.string({ minLength: 8, maxLength: 40, unit: 'binary' }).filter((s) => Buffer.byteLength(s) >= 8),
      fc.uint8Array({ minLength: 8, maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    );
    fc.assert(
      fc.property(secret, fc.nat(20), fc.array(fc.string(), { minLength: 2, maxLength: 5 }), (value, pick, around) => {
        const bytes = Buffer.from(value);
        const forms = encodingsOf(bytes);
        const form = forms[pick % forms.length] as Buffer;
        const data = Buffer.concat(
          around.flatMap((part, i) => (i === 0 ? [Buffer.from(part)] : [form, Buffer.from(part)])),
        );
        const out = redactorOf({ '': bytes }, false).redact(data);
        for (const other of forms) expect(out.includes(other)).toBe(false);
      }),
    );
  });

  test('what holds no secret passes unchanged, byte for byte', () => {
    const other = redactorOf({ X: 'never-in-there-0123456789', Y: Buffer.alloc(24, 0xfe) });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.array(fc.nat(), { maxLength: 5 }), (bytes, cuts) => {
        const data = Buffer.from(bytes);
        expect(inPieces(other, data, cuts).equals(data)).toBe(true);
        expect(other.redact(data)).toBe(data);
      }),
    );
  });

  test('the list that pushes are checked by finds what is redacted', () => {
    const shapesOnly = new Redactor();
    fc.assert(
      fc.property(text, (data) => {
        expect(credentialIn(data) !== null).toBe(shapesOnly.matches(data));
      }),
      { numRuns: 1_000 },
    );
  });
});

test('as a stream of Node', async () => {
  const names: string[] = [];
  const stream = redactorOf({ TOKEN: 'Qwertyuiop' }).stream((name) => names.push(name));
  for (const piece of ['one Qwer', 'tyuiop ', 'two Qwerty']) stream.write(piece);
  stream.end();
  const out: Buffer[] = [];
  for await (const piece of stream) out.push(piece as Buffer);
  expect(Buffer.concat(out).toString()).toBe('one [secret:TOKEN] two Qwerty');
  expect(names).toEqual(['TOKEN']);
});

test('a value that ends with line feeds is taken out without them too', () => {
  const redactor = new Redactor({ shapes: false });
  redactor.add('A', 'first-line\nlast-line\r\n\n');
  expect(redactor.redact('x first-line\nlast-line y')).toBe('x [secret:A] y');
  expect(redactor.redact(Buffer.from('first-line\nlast-line').toString('base64'))).toMatch(/^\[secret:A\]/);
  redactor.add('B', `short\n\n\n`); // eight bytes: what is left of it is too short to be told from other text
  expect(redactor.redact('short')).toBe('short');
});

describe('whether there is something to take out', () => {
  const github = `ghp_${'a1B2'.repeat(9)}`;
  const aws = `AKIA${'ABCDEFGH'.repeat(2)}`;
  const pem = '-----BEGIN PRIVATE KEY-----\n';
  const parts = fc.oneof(
    fc.constantFrom(
      github,
      aws,
      pem,
      PASSWORD,
      JSON.stringify(PASSWORD),
      '-----END',
      'A',
      '0',
      '_',
      '\n',
      '\0',
      ' ',
      'é',
    ),
    fc
      .constantFrom(github, aws, pem, PASSWORD)
      .chain((whole) => fc.nat(whole.length).map((end) => whole.slice(0, end))),
    fc.constantFrom(github, aws, pem, PASSWORD).chain((whole) => fc.nat(whole.length).map((from) => whole.slice(from))),
  );
  const texts = fc.array(
    fc.array(parts, { maxLength: 4 }).map((all) => all.join('')),
    { maxLength: 4 },
  );
  const redactor = redactorOf({ DB_PASSWORD: PASSWORD });

  test('is what a stream of it would lose', () => {
    fc.assert(
      fc.property(texts, (all) => {
        for (const text of all) {
          const redaction = redactor.open();
          redaction.write(Buffer.from(text), true);
          expect(redactor.matches(text)).toBe(redaction.marks > 0);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('of several texts, is that of any of them: where one ends and another begins makes no difference', () => {
    fc.assert(
      fc.property(texts, (all) => {
        expect(redactor.matchesAny(all)).toBe(all.some((text) => redactor.matches(text)));
      }),
      { numRuns: 2000 },
    );
  });
});
