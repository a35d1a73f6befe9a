import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PolicyAction } from './action.ts';
import { decide } from './decide.ts';
import type { EffectivePolicy } from './effective.ts';
import { additionsYaml, type Denials, type DeniedCrossing, suggestAdditions } from './observe.ts';
import { compile, effectOf } from './policy.fixture.ts';
import { canonicalRequestPath, parseRequestPathGlob } from './request-paths.ts';

const NOTHING: Denials = { crossings: [], names: [], commands: [], ungrantable: [] };
const suggest = (denials: Partial<Denials>) => suggestAdditions({ ...NOTHING, ...denials });
const yaml = (denials: Partial<Denials>) => additionsYaml(suggest(denials));
const tunnel = (host: string, port = 443): DeniedCrossing => ({ host, port, method: null, path: null });
const request = (method: string, path: string, host = 'a.example', port = 80): DeniedCrossing => ({
  host,
  port,
  method,
  path,
});

/** What the fragment permits by itself: merged into a document, its entries stand beside those that are there. */
async function permits(text: string | null): Promise<EffectivePolicy> {
  expect(text).not.toBeNull();
  return compile((text as string).replace(/^version: 1\n/, ''));
}

describe('the least that would have permitted what was denied', () => {
  test('nothing was denied', () => {
    expect(yaml({})).toBeNull();
    expect(suggest({}).denied).toBe(0);
  });

  test('tunnels: one host and port each, whole', async () => {
    const text = yaml({ crossings: [tunnel('b.example'), tunnel('a.example', 8443), tunnel('b.example')] });
    expect(text).toBe(
      [
        'version: 1',
        'security:',
        '  allowed_network_hosts:',
        '    - a.example:8443  # denied once',
        '    - b.example:443  # denied 2 times',
        '',
      ].join('\n'),
    );
    const policy = await permits(text);
    expect(effectOf(policy, 'net.connect host=a.example:8443')).toBe('permit');
    expect(effectOf(policy, 'net.connect host=a.example:443')).toBe('deny');
    expect(effectOf(policy, 'net.connect host=c.example:443')).toBe('deny');
  });

  test('requests: these methods on these paths, and no method where only another went', async () => {
    const policy = await permits(
      yaml({ crossings: [request('GET', '/a'), request('GET', '/b/'), request('POST', '/a'), request('HEAD', '/a')] }),
    );
    const effect = (method: string, path: string) =>
      effectOf(policy, `net.request host=a.example:80 method=${method} path=${path}`);
    expect([effect('GET', '/a'), effect('GET', '/b/'), effect('POST', '/a'), effect('HEAD', '/a')]).toEqual(
      Array(4).fill('permit'),
    );
    expect([
      effect('POST', '/b/'),
      effect('HEAD', '/b/'),
      effect('GET', '/b'),
      effect('GET', '/a/x'),
      effect('DELETE', '/a'),
    ]).toEqual(Array(5).fill('deny'));
  });

  test('many paths below one folder become that folder, and a few elsewhere stay as they are', () => {
    const many = Array.from({ length: 20 }, (_, i) => request('GET', `/simple/pkg-${i}/file`));
    const [entry] = suggest({ crossings: [...many, request('GET', '/health'), request('GET', '/simple')] }).hosts;
    expect(entry?.paths).toEqual(['/health', '/simple', '/simple/**']);
    const deep = Array.from({ length: 20 }, (_, i) => request('GET', `/repos/acme/app/${i}`));
    expect(suggest({ crossings: deep }).hosts[0]?.paths).toEqual(['/repos/acme/app/**']);
    const wide = Array.from({ length: 20 }, (_, i) => request('GET', `/${i}`));
    expect(suggest({ crossings: wide }).hosts[0]?.paths).toEqual(['/**']);
  });

  test('characters that mean something in patterns, and what no pattern can say', async () => {
    const odd = ['/a*b', '/**', '/x[1]', '/!', '/{y}'];
    const policy = await permits(yaml({ crossings: odd.map((path) => request('GET', path)) }));
    for (const path of odd)
      expect(decide(policy, { action: 'net.request', host: 'a.example', port: 80, method: 'GET', path }).effect).toBe(
        'permit',
      );
    expect(effectOf(policy, 'net.request host=a.example:80 method=GET path=/axyb')).toBe('deny');
    const { hosts, ungrantable, denied } = suggest({
      crossings: [request('GET', `/${'x'.repeat(2000)}`), request('get', '/a'), tunnel('0.0.0.0')],
    });
    expect({ hosts, denied }).toEqual({ hosts: [], denied: 3 });
    expect(ungrantable.map(({ why }) => why)).toEqual([
      'no pattern can name this method and path',
      'no pattern can name this method and path',
      'no rule can name this host',
    ]);
  });

  test('private addresses and WebSockets are said in words, and only there', async () => {
    const text = yaml({
      crossings: [
        { ...tunnel('10.0.0.5'), private: true },
        { ...request('GET', '/live'), websocket: true },
        tunnel('[2001:4860::1]'),
      ],
    });
    expect(text).toContain('- {host: "10.0.0.5", port: 443, private: true}  # denied once; an address of a private');
    expect(text).toContain('- {host: a.example, port: 80, methods: [GET], paths: [/live], websocket: true}');
    expect(text).toContain('- "[2001:4860::1]:443"');
    const policy = await permits(text);
    expect(policy.network.filter((rule) => rule.private).map(({ pattern }) => pattern.host)).toEqual(['10.0.0.5']);
    expect(policy.network.filter((rule) => rule.websocket).map(({ pattern }) => pattern.host)).toEqual(['a.example']);
  });

  test('a name that was only asked for: a guess, said to be one; none where its port is known', () => {
    const text = yaml({ crossings: [tunnel('a.example', 22)], names: ['a.example', 'b.example', 'b.example'] });
    expect(text).toContain('- a.example:22  # denied once\n');
    expect(text).toContain('- b.example:443  # only its address was asked for: the port is a guess\n');
    expect(text).not.toContain('a.example:443');
  });

  test('programs', async () => {
    const policy = await permits(yaml({ commands: ['/usr/bin/perl', '/usr/bin/perl', '/opt/a b/tool'] }));
    expect(policy.commands?.map(({ path }) => path).sort()).toEqual(['/opt/a b/tool', '/usr/bin/perl']);
    expect(suggest({ commands: ['/usr/bin/x*'] }).ungrantable).toHaveLength(1);
  });

  test('what a rule stands against is counted, and adds nothing', () => {
    const one = { what: 'net.connect evil.example:443', why: '/etc/cordon/policy.yaml:7', count: 1 };
    const result = suggest({ ungrantable: [one, one] });
    expect(result.ungrantable).toEqual([{ ...one, count: 2 }]);
    expect(additionsYaml(result)).toBeNull();
  });

  test('a guest cannot make it endless', () => {
    const crossings = Array.from({ length: 300 }, (_, i) => tunnel(`h${i}.example`));
    const { hosts, ungrantable } = suggest({ crossings });
    expect(hosts).toHaveLength(100);
    expect(ungrantable).toHaveLength(200);
  });
});

const host = fc.constantFrom('a.example', 'b.example', 'true', 'null', 'xn--bcher-kva.example', '10.1.2.3', '[::1]');
const port = fc.constantFrom(80, 443, 8443);
const segment = fc.string({ unit: fc.constantFrom(...'ab*[]{}!:#,~@%-_.'), minLength: 1, maxLength: 6 });
const path = fc
  .array(segment, { maxLength: 4 })
  .map((segments) => canonicalRequestPath(`/${segments.join('/')}`))
  .filter((form) => form.ok)
  .map((form) => (form.ok ? form.value : '/'));
const method = fc.constantFrom('GET', 'POST', 'NULL', 'ON');
const crossing: fc.Arbitrary<DeniedCrossing> = fc.oneof(
  fc.record({ host, port, method: fc.constant(null), path: fc.constant(null) }),
  fc.record({ host, port, method, path }),
);

function actionOf({ host, port, method, path }: DeniedCrossing): PolicyAction {
  return method === null || path === null
    ? { action: 'net.connect', host, port }
    : { action: 'net.request', host, port, method, path };
}

describe('whatever was denied', () => {
  test('what is suggested compiles and permits each of it; no host, port or method besides', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(crossing, { minLength: 1, maxLength: 40 }), async (crossings) => {
        const additions = suggest({ crossings });
        expect(additions.ungrantable).toEqual([]);
        const policy = await permits(additionsYaml(additions));
        for (const each of crossings) {
          expect(decide(policy, actionOf(each)).effect).toBe('permit');
          expect(decide(policy, { action: 'net.connect', host: each.host, port: each.port }).effect).toBe('permit');
        }
        const places = new Set(crossings.map(({ host, port }) => `${host}:${port}`));
        for (const { host } of crossings)
          for (const port of [80, 443, 8443, 22])
            expect(decide(policy, { action: 'net.connect', host, port }).effect).toBe(
              places.has(`${host}:${port}`) ? 'permit' : 'deny',
            );
        const whole = new Set(crossings.filter((c) => c.method === null).map(({ host, port }) => `${host}:${port}`));
        for (const { host, port } of crossings) {
          if (whole.has(`${host}:${port}`)) continue;
          const action = { action: 'net.request', host, port, method: 'DELETE', path: '/never/asked' } as const;
          expect(decide(policy, action).effect).toBe('deny');
        }
      }),
      { numRuns: 60 },
    );
  });

  test('up to eight paths: exactly these, where they hold nothing that patterns use', async () => {
    const plain = fc.string({ unit: fc.constantFrom(...'abc'), minLength: 1, maxLength: 3 });
    const plainPath = fc.tuple(fc.array(plain, { maxLength: 3 }), fc.boolean()).map(([names, slash]) => {
      const text = `/${names.join('/')}`;
      return slash && names.length > 0 ? `${text}/` : text;
    });
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(plainPath, { minLength: 1, maxLength: 8 }), plainPath, async (paths, other) => {
        const policy = await permits(yaml({ crossings: paths.map((path) => request('GET', path)) }));
        const action = { action: 'net.request', host: 'a.example', port: 80, method: 'GET', path: other } as const;
        expect(decide(policy, action).effect).toBe(paths.includes(other) ? 'permit' : 'deny');
      }),
      { numRuns: 60 },
    );
  });
});

test('a pattern may end with a slash, once', () => {
  expect(parseRequestPathGlob('/simple/*/').ok).toBe(true);
  expect(parseRequestPathGlob('/simple//').ok).toBe(false);
  expect(parseRequestPathGlob('//').ok).toBe(false);
});
