import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  canonicalHost,
  coversHost,
  hostPatternText,
  isAddress,
  matchHost,
  parseHostPattern,
  parsePort,
} from './hosts.ts';

const canonical = (text: string) => {
  const result = canonicalHost(text);
  return result.ok ? result.value : null;
};
const pattern = (text: string) => {
  const result = parseHostPattern(text);
  if (!result.ok) throw new Error(result.message);
  return result.value;
};
const refusal = (text: string) => {
  const result = parseHostPattern(text);
  return result.ok ? undefined : `${result.message} → ${result.remedy}`;
};

describe('one canonical form', () => {
  test.each([
    ['Packages.ACME.example', 'packages.acme.example'],
    ['acme.example.', 'acme.example'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['ＡＣＭＥ.example', 'acme.example'],
    ['acme。example', 'acme.example'],
    ['127.0.0.1', '127.0.0.1'],
    ['0x7f.1', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['0177.0.0.01', '127.0.0.1'],
    ['127.1', '127.0.0.1'],
    ['127.0.0.1.', '127.0.0.1'],
    ['[2001:DB8::0:1]', '[2001:db8::1]'],
    ['2001:db8::1', '[2001:db8::1]'],
    ['::ffff:169.254.169.254', '169.254.169.254'],
    ['[::FFFF:a9fe:a9fe]', '169.254.169.254'],
    ['localhost', 'localhost'],
    ['_dmarc.acme.example', '_dmarc.acme.example'],
  ])('%s is %s', (text, form) => {
    expect(canonical(text)).toBe(form);
  });

  test.each([
    '',
    '.',
    'acme.example..',
    'a..b',
    'evil.com#.acme.example',
    'evil.com?.acme.example',
    'evil.com/.acme.example',
    'evil.com\\.acme.example',
    'evil.com%2f.acme.example',
    'user@acme.example',
    'acme.example\0.evil.example',
    'acme.example\n',
    ' acme.example',
    'acme.example:443',
    '-a.example',
    'a-.example',
    '1.2.3.4.5',
    '256.1.1.1',
    '[::1',
    '[fe80::1%25eth0]',
    'fe80::1%eth0',
    'xn--a.example',
    `${'a'.repeat(64)}.example`,
    `${'a.'.repeat(130)}example`,
    'ac\u00adme\ud800.example',
  ])('%j has none', (text) => {
    expect(canonical(text)).toBeNull();
  });

  test('what is canonical stays as it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.ipV4Extended(), fc.ipV6(), fc.string(), fc.webAuthority()), (text) => {
        const form = canonical(text);
        if (form !== null) expect(canonical(form)).toBe(form);
      }),
      { numRuns: 2000 },
    );
  });

  test('it is the host that a URL client would dial', () => {
    fc.assert(
      fc.property(fc.domain(), (name) => {
        expect(canonical(name.toUpperCase())).toBe(new URL(`https://${name}/`).hostname);
      }),
    );
  });
});

describe('patterns', () => {
  test.each([
    ['acme.example', 'acme.example:443'],
    ['ACME.example.:8443', 'acme.example:8443'],
    ['*.Acme.example', '*.acme.example:443'],
    ['[2001:db8::1]:80', '[2001:db8::1]:80'],
    ['10.0.0.1:5432', '10.0.0.1:5432'],
    ['localhost:3000', 'localhost:3000'],
  ])('%s is %s', (text, form) => {
    expect(hostPatternText(pattern(text))).toBe(form);
  });

  test.each([
    ['*', /every host/],
    ['*:443', /every host/],
    ['**', /every host/],
    ['*.com', /too broad/],
    ['*.co.uk', /too broad/],
    ['*.github.io', /too broad/],
    ['*.amazonaws.com', /too broad/],
    ['*.10.0.0.1', /too broad/],
    ['*acme.example', /leading/],
    ['a.*.example', /leading/],
    ['*.*.acme.example', /leading/],
    ['http://acme.example/x', /write acme\.example:80/],
    ['https://acme.example:8443/x', /write acme\.example:8443/],
    ['acme.example/x', /paths: \["\/x"\]/],
    ['0.0.0.0', /every address/],
    ['0', /every address/],
    ['[::]:443', /every address/],
    ['acme.example:0', /no port/],
    ['acme.example:65536', /no port/],
    ['acme.example:65979', /no port/],
    ['acme.example:443:80', /no port/],
    ['acme.example:*', /no port/],
    ['acme.example:4e2', /no port/],
    ['2001:db8::1', /no port/],
    ['аcme.example', /ASCII form: xn--cme-5cd\.example:443/],
    ['evil.com#.acme.example', /no host name/],
    ['', /no host name/],
  ])('%j is refused and says what to write', (text, message) => {
    expect(refusal(text)).toMatch(message);
  });

  test('a wildcard is for names below, on its port, and never for an address', () => {
    const wild = pattern('*.acme.example');
    expect(matchHost(wild, 'a.acme.example', 443)).toBe(true);
    expect(matchHost(wild, 'a.b.acme.example', 443)).toBe(true);
    expect(matchHost(wild, 'acme.example', 443)).toBe(false);
    expect(matchHost(wild, 'evilacme.example', 443)).toBe(false);
    expect(matchHost(wild, 'acme.example.evil.example', 443)).toBe(false);
    expect(matchHost(wild, 'a.acme.example', 80)).toBe(false);
  });

  test('what covers a pattern matches all that it matches', () => {
    const label = fc.constantFrom('a', 'b', 'acme', 'evil');
    const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => `${labels.join('.')}.example`);
    const any = fc.record({ host: name, wildcard: fc.boolean(), port: fc.constantFrom(80, 443) });
    fc.assert(
      fc.property(any, any, name, fc.constantFrom(80, 443), (outer, inner, host, port) => {
        if (coversHost(outer, inner) && matchHost(inner, host, port)) expect(matchHost(outer, host, port)).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  test('no text is both a name and a pattern for something else', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), (text) => {
        const result = parseHostPattern(text);
        if (!result.ok) return;
        expect(canonical(result.value.host)).toBe(result.value.host);
        expect(result.value.port).toBeGreaterThan(0);
        expect(result.value.wildcard && isAddress(result.value.host)).toBe(false);
      }),
    );
  });
});

test('a port is what is written, not its last 16 bits', () => {
  expect(parsePort('443')).toEqual({ ok: true, value: 443 });
  for (const text of ['0', '-1', '65536', '65979', '443 ', '0443', '1e3', '', '٤٤٣'])
    expect(parsePort(text).ok).toBe(false);
});
