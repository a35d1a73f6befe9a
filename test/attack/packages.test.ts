/** What a hostile agent, or a registry that was broken into, tries with packages; judged by what reached the guest. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { SecretHook } from '../../src/gateways/egress/gateway.ts';
import { openScene, received, type Scene } from '../fakes/egress-scene.ts';
import { type Answer, integrityOf, npmAnswer, type Published, pypiAnswer, send } from '../fakes/registry.ts';

const POLICY = `version: 1
security:
  allowed_network_hosts:
    - inspected.example:443
    - allowed.example:443
    - live.example:443
    - evil.example:443
dependencies:
  registries: [inspected.example, allowed.example, live.example]
  minimum_age: 3d
  deny: [event-stream, left-pad@1.3.0]
`;
const NPM = 'https://inspected.example/npm';
const FILES = 'https://live.example/packages/ab/';
const OLD = '2020-01-01T00:00:00.000Z';
const NEW = new Date(Date.now() - 3_600_000).toISOString();
const bytes = randomBytes(300_000);

const npm = (name: string, version = '1.0.0', published: string | null = OLD, tampered?: Buffer): Published => ({
  name,
  version,
  published,
  bytes,
  ...(tampered === undefined ? {} : { tampered }),
});
const damaged = Buffer.from(bytes);
damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
const PACKAGES: readonly Published[] = [
  npm('good'),
  npm('good', '1.1.0', NEW),
  npm('@acme/ui', '2.0.0'),
  npm('timeless', '1.0.0', null),
  npm('event-stream'),
  npm('left-pad', '1.3.0'),
  npm('left-pad', '1.2.0'),
  npm('bad', '1.0.0', OLD, damaged),
  npm('short', '1.0.0', OLD, bytes.subarray(0, 1000)),
];
const python = (name: string, version: string, file: string, published: string | null = OLD): Published => ({
  name,
  version,
  file,
  published,
  bytes,
});
const WHEELS: readonly Published[] = [
  python('Good.Thing', '1.0', 'good_thing-1.0-py3-none-any.whl'),
  python('Good.Thing', '1.0', 'Good.Thing-1.0.tar.gz'),
  python('Good.Thing', '2.0', 'good_thing-2.0-py3-none-any.whl', NEW),
  python('timeless', '1.0', 'timeless-1.0-py3-none-any.whl', null),
];

let scene: Scene;
/** Before what registries answer; undefined lets them. */
let instead: (request: IncomingMessage) => Answer | undefined = () => undefined;
let chunked = false;

beforeAll(async () => {
  scene = await openScene({ policyText: POLICY });
});
afterAll(() => scene.close());
afterEach(async () => {
  await scene.reset();
  instead = () => undefined;
  chunked = false;
});

function serve(): void {
  scene.answer = (request, response) => {
    const host = request.headers.host ?? '';
    const python = host === 'live.example' && request.url?.startsWith('/simple') ? [] : WHEELS;
    const registry =
      host === 'inspected.example' ? npmAnswer(NPM, PACKAGES, request) : pypiAnswer(FILES, python, request);
    const answer = instead(request) ?? registry;
    if (answer !== undefined && !chunked)
      return send(response, { ...answer, headers: { 'content-length': `${answer.body.length}`, ...answer.headers } });
    return send(response, answer);
  };
}

interface Got {
  readonly status: number;
  readonly body: Buffer;
  /** The answer came to its end as HTTP has it. */
  readonly whole: boolean;
  readonly problem: { readonly detail: string; readonly rules?: readonly string[]; readonly remedy?: string } | null;
}

/** One request of the guest, over inspected TLS. */
async function get(url: string, headers: Readonly<Record<string, string>> = {}, method = 'GET'): Promise<Got> {
  serve();
  const { host, pathname, search } = new URL(url);
  const path = url.slice(url.indexOf('/', 8)) || `${pathname}${search}`;
  const socket = await scene.tunnel(`${host}:443`, { ca: scene.egress.caBundle });
  const lines = Object.entries({ Host: host, Connection: 'close', ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  const raw = Buffer.from(await received(socket), 'latin1');
  const end = raw.indexOf('\r\n\r\n');
  const head = raw.toString('latin1', 0, end);
  const body = raw.subarray(end + 4);
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
  const whole = length === undefined ? body.subarray(-5).toString() === '0\r\n\r\n' : body.length === Number(length);
  const problem = /application\/problem\+json/.test(head) ? JSON.parse(body.toString()) : null;
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0), body, whole, problem };
}

const names = () => scene.egress.packages?.entries().map(({ purl }) => purl);
const file = (name: string, version: string) => `${NPM}/${name}/-/${name.replace(/^.*\//, '')}-${version}.tgz`;

describe('npm', () => {
  test('what is old enough comes whole, and is recorded with what the registry says of it', async () => {
    const got = await get(file('@acme/ui', '2.0.0'));
    expect({ status: got.status, same: got.body.equals(bytes) }).toEqual({ status: 200, same: true });
    const [entry] = scene.egress.packages?.entries().filter(({ name }) => name === '@acme/ui') ?? [];
    expect(entry).toMatchObject({
      purl: 'pkg:npm/%40acme/ui@2.0.0',
      registry: NPM,
      url: file('@acme/ui', '2.0.0'),
      integrity: integrityOf(bytes),
      bytes: bytes.length,
      published: Date.parse(OLD),
      verified: true,
    });
    expect(scene.dependencies).toMatchObject([{ kind: 'downloaded', name: '@acme/ui' }]);
    // The gateway's own request for the index is a crossing like the guest's.
    expect(scene.decided.filter(({ method }) => method !== null).map(({ path }) => path)).toEqual([
      '/npm/@acme/ui',
      '/npm/@acme/ui/-/ui-2.0.0.tgz',
    ]);
    const asked = { ecosystem: 'npm', name: '@acme/ui', version: '2.0.0' } as const;
    const recorded = (integrity: string) => scene.egress.packages?.wasRecorded({ ...asked, integrity });
    expect(recorded(integrityOf(bytes))).toBe(true);
    expect(recorded(`sha256:${entry?.sha256}`)).toBe(true);
    expect(recorded(integrityOf(damaged))).toBe(false);
    expect(recorded(`${integrityOf(bytes)} ${integrityOf(damaged)}`)).toBe(false);
    expect(recorded('sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA=')).toBe(false);
    expect(recorded('')).toBe(false);
  });

  test.each([
    [
      'too young',
      file('good', '1.1.0'),
      /good@1\.1\.0 was published 1 hour ago .* old enough at 20/,
      'minimum_age: 3d',
    ],
    [
      'without a time',
      file('timeless', '1.0.0'),
      /not known \(https:\/\/inspected\.example\/npm does not say\)/,
      'minimum_age',
    ],
    ['of a version the index does not have', file('good', '9.9.9'), /not known .* does not name it/, 'minimum_age'],
    ['without an index', file('absent', '1.0.0'), /answers with 404/, 'minimum_age'],
    ['denied', file('event-stream', '1.0.0'), /event-stream@1\.0\.0 is denied/, 'deny: event-stream'],
    ['denied in this version', file('left-pad', '1.3.0'), /left-pad@1\.3\.0 is denied/, 'deny: left-pad@1.3.0'],
    ['denied, in other letters', file('Event-Stream', '1.0.0'), /denied/, 'deny: event-stream'],
    ['under an escaped name', `${NPM}/%65vent-stream/-/event-stream-1.0.0.tgz`, /denied/, 'deny: event-stream'],
    ['with a query', `${file('event-stream', '1.0.0')}?x=/good/-/good-1.0.0.tgz`, /denied/, 'deny: event-stream'],
    ['below another path', 'https://inspected.example/a/b/event-stream/-/event-stream-1.0.0.tgz', /denied/, 'deny'],
    [
      'whose file is another’s',
      `${NPM}/good/-/event-stream-1.0.0.tgz`,
      /archive without a package's name/,
      'registries',
    ],
    ['of another scope', `${NPM}/@acme/ui/-/@evil/ui-2.0.0.tgz`, /archive without/, 'registries'],
    ['without a version', `${NPM}/good/-/good-latest.tgz`, /archive without/, 'registries'],
    ['that no path names', `${NPM}/download/blob.tgz`, /archive without/, 'registries'],
    ['with a parameter', `${NPM}/event-stream/-/event-stream-1.0.0.tgz;a=b`, /archive without/, 'registries'],
    ['with an escaped parameter', `${NPM}/event-stream/-/event-stream-1.0.0.tgz%3Ba`, /archive without/, 'registries'],
    ['with a slash behind it', `${NPM}/event-stream/-/event-stream-1.0.0.tgz/`, /archive without/, 'registries'],
    ['with a blank behind it', `${NPM}/event-stream/-/event-stream-1.0.0.tgz%20`, /archive without/, 'registries'],
    ['with a dot behind it', `${NPM}/event-stream/-/event-stream-1.0.0.tgz.`, /archive without/, 'registries'],
    ['in capitals', `${NPM}/event-stream/-/EVENT-STREAM-1.0.0.TGZ`, /archive without/, 'registries'],
    ['with a parameter in its name', `${NPM}/event-stream;x/-/event-stream-1.0.0.tgz`, /archive without/, 'registries'],
    ['with an escaped suffix', `${NPM}/good/-/good-1.0.0%2Etgz.tar`, /archive without/, 'registries'],
  ])('a file %s is refused, with the rule', async (_, url, detail, rule) => {
    const got = await get(url);
    expect(got.status).toBe(403);
    expect(got.problem?.detail).toMatch(detail);
    expect(got.problem?.rules?.[0]).toContain(`dependencies.${rule}`);
    expect(got.problem?.rules?.[0]).toMatch(/^\.cordon\/policy\.yaml:\d+ /);
    expect(scene.seen.filter(({ url: asked }) => asked.includes('.tgz'))).toEqual([]);
    expect(scene.dependencies).toEqual([]);
    expect(scene.decided.at(-1)?.decision.effect).toBe('deny');
  });

  test('the index of a denied name is not asked for; that of one with a denied version is', async () => {
    const accept = { Accept: 'application/vnd.npm.install-v1+json' };
    expect((await get(`${NPM}/event-stream`, accept)).status).toBe(403);
    expect(scene.seen).toEqual([]);
    expect((await get(`${NPM}/left-pad`, accept)).status).toBe(200);
    expect((await get(file('left-pad', '1.2.0'))).status).toBe(200);
    expect((await get(`${NPM}/-/v1/search?text=event-stream`)).status).toBe(404);
  });

  test.each([
    ['with a length', false, 'bad'],
    ['in chunks', true, 'bad'],
    ['cut short by the registry', false, 'short'],
  ])('bytes that are not what the index says are cut before their end: %s', async (_, inChunks, name) => {
    chunked = inChunks;
    const got = await get(file(name, '1.0.0'));
    expect(got.status === 200 && got.whole).toBe(false);
    expect(got.body.includes(damaged.subarray(-16))).toBe(false);
    expect(scene.dependencies).toMatchObject([
      { kind: 'mismatch', purl: `pkg:npm/${name}@1.0.0`, expected: integrityOf(bytes), found: expect.any(String) },
    ]);
    await scene.until(() => scene.closed.some(({ result }) => result === 'package_mismatch'));
    expect(names()).not.toContain(`pkg:npm/${name}@1.0.0`);
  });

  test('a part of a file is not to be had: it is asked for whole', async () => {
    const got = await get(file('good', '1.0.0'), { Range: 'bytes=0-9', 'If-Range': '"x"', 'Accept-Encoding': 'gzip' });
    expect({ status: got.status, same: got.body.equals(bytes) }).toEqual({ status: 200, same: true });
    const [{ headers } = { headers: {} }] = scene.seen.filter(({ url }) => url.endsWith('.tgz'));
    expect(headers).toMatchObject({ 'accept-encoding': 'identity' });
    expect(headers).not.toHaveProperty('range');
    expect(headers).not.toHaveProperty('if-range');
  });

  test.each([
    ['a part', 206, { 'content-range': 'bytes 0-9/300000' }],
    ['an encoded form', 200, { 'content-encoding': 'gzip' }],
  ])('a registry that answers with %s all the same is not passed on', async (_, status, headers) => {
    instead = ({ url }) => (url?.endsWith('.tgz') ? { status, headers, body: bytes.subarray(0, 10) } : undefined);
    const before = names();
    expect((await get(file('good', '1.0.0'))).status).toBe(502);
    expect(scene.dependencies).toEqual([]);
    expect(names()).toEqual(before);
  });

  test.each([
    ['304', { status: 304, body: '' }],
    ['404', { status: 404, body: 'none' }],
  ])('what did not come is not recorded: %s', async (_, answer) => {
    instead = ({ url }) => (url?.endsWith('.tgz') ? answer : undefined);
    expect((await get(file('left-pad', '1.2.0'), { 'If-None-Match': '"x"' })).status).toBe(answer.status);
    expect(scene.dependencies).toEqual([]);
  });

  test('a registry that ends in the middle leaves no record', async () => {
    serve();
    const calm = scene.answer;
    scene.answer = (request, response) => {
      if (!request.url?.endsWith('.tgz')) return calm(request, response);
      response.writeHead(200, { 'content-length': `${bytes.length}` });
      response.write(bytes.subarray(0, 1000), () => response.destroy());
    };
    const socket = await scene.tunnel('inspected.example:443', { ca: scene.egress.caBundle });
    socket.write('GET /npm/good/-/good-1.0.0.tgz HTTP/1.1\r\nHost: inspected.example\r\n\r\n');
    await received(socket);
    expect(scene.dependencies).toEqual([]);
  });

  test('a file that hides behind another path is known by what it is answered with', async () => {
    instead = ({ url }) =>
      url?.startsWith('/npm/hidden')
        ? { headers: { 'content-type': 'application/octet-stream' }, body: bytes }
        : undefined;
    for (const [path, headers] of [
      ['/npm/hidden', {}],
      ['/npm/hidden', { Accept: 'application/vnd.npm.install-v1+json' }],
      ['/npm/hidden/-/', {}],
    ] as const) {
      const got = await get(`https://inspected.example${path}`, headers);
      expect(got.status).toBe(403);
      expect(got.problem?.detail).toContain('answered with application/octet-stream');
    }
  });

  test('where the registry sends a file elsewhere, it stays the same file', async () => {
    const there = 'https://live.example/blob/7f3a?signature=abc';
    instead = ({ url, headers }) => {
      if (url?.endsWith('/good-1.0.0.tgz')) return { status: 302, headers: { location: there }, body: '' };
      return headers.host === 'live.example'
        ? { headers: { 'content-type': 'application/octet-stream' }, body: bytes }
        : undefined;
    };
    expect((await get(there)).status).toBe(403); // nobody said what that is
    expect((await get(file('good', '1.0.0'))).status).toBe(302);
    expect((await get(there)).body.equals(bytes)).toBe(true);
    expect(scene.dependencies).toMatchObject([
      { name: 'good', version: '1.0.0', verified: true, url: 'https://live.example/blob/7f3a' },
    ]);
  });

  test('a registry gives no WebSocket', async () => {
    const upgrade = {
      Connection: 'Upgrade, close',
      Upgrade: 'websocket',
      'Sec-WebSocket-Key': 'x',
      'Sec-WebSocket-Version': '13',
    };
    expect((await get(`${NPM}/-/live`, upgrade)).problem?.detail).toContain('no WebSocket');
  });

  test('a registry that wants a credential is asked for its index with the one that is used there, and only there', async () => {
    const first = scene;
    const secrets: SecretHook = {
      wants: ({ host }) => host === 'inspected.example',
      apply: async ({ host, headers }) => {
        const own = headers.find(({ lower, value }) => lower === 'authorization' && value === 'Bearer placeholder');
        if (own === undefined) return { set: [] };
        return host === 'inspected.example' ? { set: [{ ...own, value: 'Bearer real' }] } : { refuse: 'elsewhere' };
      },
      watchBody: () => () => false,
      watchAnswer: () => null,
    };
    scene = await openScene({ policyText: POLICY, secrets });
    instead = ({ headers }) => (headers.authorization === 'Bearer real' ? undefined : { status: 401, body: '{}' });
    try {
      expect((await get(file('good', '1.0.0'), { Authorization: 'Bearer placeholder' })).body.equals(bytes)).toBe(true);
      expect(scene.seen.map(({ url, headers }) => [url, headers.authorization])).toEqual([
        ['/npm/good', 'Bearer real'],
        ['/npm/good/-/good-1.0.0.tgz', 'Bearer real'],
      ]);
      expect((await get(file('left-pad', '1.2.0'))).problem?.detail).toContain('answers with 401');
    } finally {
      await scene.close();
      scene = first;
    }
  });

  test('an index is read once, however many of its files are asked for at once', async () => {
    const all = await Promise.all(Array.from({ length: 6 }, () => get(file('good', '1.0.0'))));
    expect(all.every(({ status }) => status === 200)).toBe(true);
    expect(scene.seen.filter(({ url }) => url === '/npm/good').length).toBeLessThanOrEqual(1);
  });

  test('hosts that are no registries are as they were', async () => {
    scene.answer = (_, response) => response.end(bytes);
    const socket = await scene.tunnel('evil.example:443'); // end to end: its own certificate
    socket.write(
      'GET /event-stream/-/event-stream-1.0.0.tgz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
    );
    expect(await received(socket)).toMatch(/^HTTP\/1\.1 200/);
    expect(scene.dependencies).toEqual([]);
  });
});

describe('PyPI', () => {
  const simple = 'https://allowed.example/simple';

  test('files that lie on another host are known by the index that was asked for', async () => {
    expect((await get(`${simple}/good-thing/`, { Accept: 'text/html' })).status).toBe(200);
    expect((await get(`${FILES}good_thing-1.0-py3-none-any.whl`)).body.equals(bytes)).toBe(true);
    expect((await get(`${FILES}Good.Thing-1.0.tar.gz`)).body.equals(bytes)).toBe(true);
    expect(scene.dependencies).toMatchObject([
      { purl: 'pkg:pypi/good-thing@1.0', registry: simple, published: Date.parse(OLD), verified: true },
      { purl: 'pkg:pypi/good-thing@1.0', registry: simple, published: Date.parse(OLD), verified: true },
    ]);
    const young = await get(`${FILES}good_thing-2.0-py3-none-any.whl`);
    expect(young.problem?.detail).toContain('pypi:good-thing@2.0 was published 1 hour ago');
    expect((await get(`${FILES}good_thing-2.0-py3-none-any.whl.metadata`)).status).toBe(403);
  });

  test('one that is asked for by its address alone is looked up at the registries there are', async () => {
    expect((await get(`${FILES}timeless-1.0-py3-none-any.whl`)).problem?.detail).toContain('is not known');
    expect(scene.seen.some(({ host, url }) => host === 'allowed.example' && url === '/simple/timeless/')).toBe(true);
  });

  test('where the simple index has no times, the other document is asked, and believed of the same bytes only', async () => {
    const of = (sha256: string) =>
      JSON.stringify({
        info: { name: 'timeless' },
        releases: {
          '1.0': [{ filename: 'timeless-1.0-py3-none-any.whl', digests: { sha256 }, upload_time_iso_8601: OLD }],
        },
      });
    const { createHash } = await import('node:crypto');
    const right = createHash('sha256').update(bytes).digest('hex');
    let body = of('0'.repeat(64));
    instead = ({ url }) => (url === '/pypi/timeless/json' ? { body } : undefined);
    expect((await get(`${FILES}timeless-1.0-py3-none-any.whl`)).status).toBe(403);
    body = of(right);
    const again = await openScene({ policyText: POLICY });
    const first = scene;
    try {
      scene = again;
      expect((await get(`${FILES}timeless-1.0-py3-none-any.whl`)).status).toBe(200);
    } finally {
      scene = first;
      await again.close();
    }
  });

  test('indexes that do not exist do not crowd out the one that does', async () => {
    const fresh = await openScene({ policyText: POLICY });
    const first = scene;
    scene = fresh;
    try {
      for (let i = 0; i < 8; i++) expect((await get(`https://live.example/${i}/simple/good-thing/`)).status).toBe(404);
      expect((await get(`${simple}/good-thing/`)).status).toBe(200);
      expect((await get(`${FILES}good_thing-1.0-py3-none-any.whl`)).status).toBe(200);
      expect(scene.dependencies).toMatchObject([{ registry: simple, verified: true }]);
    } finally {
      scene = first;
      await fresh.close();
    }
  });

  test.each([
    'good_thing-1.0-1-2-py3-none-any.whl',
    'good_thing-one-py3-none-any.whl',
    'good.tar.gz',
    'good-1.0-1.tar.gz', // `good` 1.0-1, or `good-1.0` 1: nobody knows
    'good_thing-1.0.egg',
  ])('%s has no name that is certain', async (name) => {
    expect((await get(`${FILES}${name}`)).problem?.detail).toContain('archive without');
  });
});
