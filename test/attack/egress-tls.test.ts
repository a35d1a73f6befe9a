import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { clientHello, serverNames } from '../fakes/client-hello.ts';
import { openScene, received, type Scene } from '../fakes/egress-scene.ts';

/** TLS through the gateway: which name a tunnel is really for, and what an inspected host's requests may be. */
let scene: Scene;
let inspectionCa: string;
/** Its times are short, for those who let them run out or go away without a word; nobody else is to depend on how fast this machine is. */
let hasty: Scene;

beforeAll(async () => {
  scene = await openScene({ limits: { halfClosedTime: 100 } });
  inspectionCa = caOf(scene);
  hasty = await openScene({ limits: { headTime: 1_000, halfClosedTime: 100 } });
});
afterAll(() => Promise.all([scene.close(), hasty.close()]));
beforeEach(() => Promise.all([scene.reset(), hasty.reset()]));

const caOf = ({ egress }: Scene) => egress.caBundle.slice(egress.caBundle.lastIndexOf('-----BEGIN'));

const ech: [number, Buffer] = [0xfe0d, Buffer.from([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])];
/** What TLS 1.3 cannot do without: versions, signatures, groups, and no key yet. */
const modern: [number, Buffer][] = [
  [43, Buffer.from([2, 3, 4])],
  [13, Buffer.from([0, 2, 4, 3])],
  [10, Buffer.from([0, 2, 0, 0x1d])],
  [51, Buffer.from([0, 0])],
];
const get = (host: string, path: string) => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;

describe('tunnels to hosts that are not inspected', () => {
  test('stay encrypted end to end: the guest sees the certificate of the host', async () => {
    const tls = await scene.tunnel('allowed.example:443');
    expect(tls.getPeerCertificate().issuer.CN).toContain('the public network');
    const answer = received(tls);
    tls.write(get('allowed.example', '/private?token=x'));
    expect(await answer).toContain('hello from allowed.example/private?token=x');
    await scene.until(() => scene.closed.length === 1);
    expect(scene.closed).toMatchObject([{ result: 'completed', address: '93.184.216.34', host: 'allowed.example' }]);
    expect(scene.closed[0]?.bytesOut).toBeGreaterThan(100);
    expect(scene.decided).toMatchObject([{ method: null, path: null }]);
  });

  test('CONNECT of HTTP/1.0, as Python sends it', async () => {
    const socket = await scene.open();
    const answer = received(socket, /\r\n\r\n/);
    socket.write('CONNECT allowed.example:443 HTTP/1.0\r\n\r\n');
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
  });

  test.each<[string, Buffer | string]>([
    ['another name than CONNECT', clientHello({ names: ['evil.example'] })],
    ['a name that only starts alike', clientHello({ names: ['allowed.example.evil.example'] })],
    ['a name with a NUL', clientHello({ names: ['allowed.example\0.evil.example'] })],
    ['no name', clientHello({})],
    ['an empty list of names', clientHello({ extensions: [[0, Buffer.from([0, 0])]] })],
    ['two names', clientHello({ names: ['allowed.example', 'evil.example'] })],
    ['a name of an unknown type', clientHello({ names: ['allowed.example'], nameType: 1 })],
    [
      'the extension twice',
      clientHello({ names: ['allowed.example'], extensions: [[0, serverNames(['evil.example'])]] }),
    ],
    ['an encrypted hello under the permitted name', clientHello({ names: ['allowed.example'], extensions: [ech] })],
    ['an encrypted server name', clientHello({ names: ['allowed.example'], extensions: [[0xffce, Buffer.alloc(8)]] })],
    ['an address for a name', clientHello({ names: ['93.184.216.34'] })],
    ['SOCKS', Buffer.from([5, 1, 0])],
    ['TLS that is no handshake', Buffer.from([23, 3, 3, 0, 1, 0])],
    ['an SSLv2 hello', Buffer.from([0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10])],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
    ['a record that is too long', Buffer.from([22, 3, 1, 0xff, 0xff])],
    [
      'a hello of sixteen megabytes',
      Buffer.concat([Buffer.from([22, 3, 1, 0, 8, 1, 0xff, 0xff, 0xff]), Buffer.alloc(4)]),
    ],
    ['lengths that do not fit', Buffer.from([22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0])],
    ['bytes after the hello in its record', lengthened(clientHello({ names: ['allowed.example'] }))],
  ])('%s is refused', async (_name, bytes) => {
    const heard: string[] = [];
    scene.raw = (socket) => socket.on('data', (chunk: Buffer) => heard.push(chunk.toString('latin1')));
    const socket = await scene.open();
    const connected = received(socket, /\r\n\r\n/);
    socket.write('CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\n\r\n');
    await connected;
    const rest = received(socket);
    socket.write(bytes);
    expect(Buffer.from(await rest, 'latin1')[0]).toBe(21); // a TLS alert
    await scene.until(() => scene.closed.length === 1);
    expect(scene.closed[0]?.result).toBe('handshake_refused');
    expect(heard).toEqual([]);
  });

  test('a hello over many records and packets is read as one', async () => {
    const heard: Buffer[] = [];
    scene.raw = (socket) => socket.on('data', (chunk: Buffer) => heard.push(chunk));
    const hello = clientHello({ names: ['Allowed.Example'], recordSize: 7 });
    const socket = await scene.open();
    const connected = received(socket, /\r\n\r\n/);
    socket.write('CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\n\r\n');
    await connected;
    for (const byte of hello) socket.write(Buffer.from([byte]));
    await scene.until(() => Buffer.concat(heard).length >= hello.length);
    expect(Buffer.concat(heard).equals(hello)).toBe(true);
    socket.destroy();
  });

  test.each([
    ['at once', Buffer.alloc(0)],
    ['after a change of cipher', Buffer.from([20, 3, 3, 0, 1, 1])],
    ['after data sent early', Buffer.from([23, 3, 3, 0, 2, 7, 7])],
    ['after data sent early and a change of cipher', Buffer.from([20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 2, 7, 7])],
    ['after a warning that servers pass over', Buffer.from([21, 3, 3, 0, 2, 1, 90])],
    ['behind an empty record of a handshake', Buffer.from([22, 3, 3, 0, 0])],
    ['behind an empty record of data', Buffer.from([23, 3, 3, 0, 0])],
    ['behind a record of no known kind', Buffer.from([24, 3, 3, 0, 1, 1])],
  ])('a second hello with another name, %s, is refused', async (_name, between) => {
    const heard: Buffer[] = [];
    scene.raw = (socket) => socket.on('data', (chunk: Buffer) => heard.push(chunk));
    const socket = await scene.open();
    const connected = received(socket, /\r\n\r\n/);
    socket.write('CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\n\r\n');
    await connected;
    socket.write(
      Buffer.concat([clientHello({ names: ['allowed.example'] }), between, clientHello({ names: ['evil.example'] })]),
    );
    await scene.until(() => scene.closed.length === 1);
    expect(scene.closed[0]?.result).toBe('handshake_refused');
    expect(Buffer.concat(heard).toString('latin1')).not.toContain('evil.example');
    socket.destroy();
  });

  const retry = Buffer.concat([
    Buffer.from([22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3]),
    Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex'),
    Buffer.alloc(4),
  ]);
  const tunnelled = async (answer: Buffer) => {
    const heard: Buffer[] = [];
    scene.raw = (socket) => {
      socket.on('data', (chunk: Buffer) => heard.push(chunk));
      for (const byte of answer) socket.write(Buffer.from([byte]));
    };
    const socket = await scene.open();
    const connected = received(socket, /\r\n\r\n/);
    socket.write('CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\n\r\n');
    await connected;
    let answered = 0;
    const heardBack = new Promise<void>((resolve) => {
      socket.on('data', (chunk: Buffer) => {
        answered += chunk.length;
        if (answered >= answer.length) resolve();
      });
    });
    socket.write(clientHello({ names: ['allowed.example'] }));
    await heardBack;
    return { socket, heard: () => Buffer.concat(heard) };
  };

  test('asked by the host for a second hello, the guest cannot put another name into it, whatever it sends before', async () => {
    const { socket, heard } = await tunnelled(retry);
    for (const between of [
      [23, 3, 3, 0, 2, 7, 7],
      [20, 3, 3, 0, 1, 1],
      [21, 3, 3, 0, 2, 1, 90],
    ])
      socket.write(Buffer.from(between));
    socket.write(clientHello({ names: ['evil.example'] }));
    await scene.until(() => scene.closed.length === 1);
    expect(scene.closed[0]?.result).toBe('handshake_refused');
    expect(heard().toString('latin1')).not.toContain('evil.example');
    socket.destroy();
  });

  test('with the same name the second hello goes on, after data sent early, and everything after it', async () => {
    const { socket, heard } = await tunnelled(retry);
    const early = Buffer.from([23, 3, 3, 0, 3, 7, 7, 7]);
    const rest = Buffer.from([23, 3, 3, 0, 4, 9, 9, 9, 9, 22, 22, 22]);
    const sent = Buffer.concat([early, clientHello({ names: ['allowed.example'], recordSize: 9 }), rest]);
    for (const byte of sent) socket.write(Buffer.from([byte]));
    const all = Buffer.concat([clientHello({ names: ['allowed.example'] }), sent]);
    await scene.until(() => heard().length >= all.length);
    expect(heard().equals(all)).toBe(true);
    socket.destroy();
  });

  test('once the host has answered there is no second hello, and nothing is held back', async () => {
    const hello = Buffer.concat([retry.subarray(0, 11), Buffer.alloc(32, 7), Buffer.alloc(4)]);
    const { socket, heard } = await tunnelled(hello);
    const half = Buffer.from([23, 3, 3, 1, 0, 5]);
    socket.write(half);
    const all = Buffer.concat([clientHello({ names: ['allowed.example'] }), half]);
    await scene.until(() => heard().length >= all.length);
    expect(heard().equals(all)).toBe(true);
    socket.destroy();
  });

  test('changes of cipher without end are not kept', async () => {
    scene.raw = (socket) => socket.resume();
    const socket = await scene.open();
    const connected = received(socket, /\r\n\r\n/);
    socket.write('CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\n\r\n');
    await connected;
    const change = Buffer.from([20, 3, 3, 0, 1, 1]);
    socket.write(Buffer.concat([clientHello({ names: ['allowed.example'] }), ...Array<Buffer>(1000).fill(change)]));
    await scene.until(() => scene.closed.length === 1);
    expect(scene.closed[0]?.result).toBe('handshake_refused');
    socket.destroy();
  });

  test('a hello that drips is given up', async () => {
    hasty.raw = () => {};
    const socket = await hasty.open();
    const connected = received(socket, /\r\n\r\n/);
    socket.write('CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\n\r\n');
    await connected;
    socket.write(clientHello({ names: ['allowed.example'] }).subarray(0, 20));
    await hasty.until(() => hasty.closed.length === 1);
    expect(hasty.closed[0]?.result).toBe('timeout');
  });
});

describe('plain HTTP in a tunnel, as some programs send it', () => {
  const tunnel = async (authority: string) => {
    const socket = await scene.open();
    const connected = received(socket, /\r\n\r\n/);
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect(await connected).toMatch(/^HTTP\/1\.1 200 /);
    return socket;
  };

  test('is judged request by request, over the connection that is there', async () => {
    const socket = await tunnel('allowed.example:80');
    for (const path of ['/1?token=x', '/2']) {
      const answer = received(socket, /hello from \S+/);
      socket.write(`GET ${path} HTTP/1.1\r\nHost: allowed.example\r\n\r\n`);
      expect(await answer).toContain(`hello from allowed.example${path}`);
    }
    expect(scene.dialled).toEqual(['93.184.216.34:80']);
    expect(scene.decided.map(({ method, path }) => [method, path])).toEqual([
      [null, null],
      ['GET', '/1'],
      ['GET', '/2'],
    ]);
    socket.destroy();
  });

  test('a host with rules about requests keeps them', async () => {
    const socket = await tunnel('inspected.example:80');
    const answer = received(socket);
    socket.write(
      `GET /open/1 HTTP/1.1\r\nHost: inspected.example\r\n\r\nDELETE /open/1 HTTP/1.1\r\nHost: inspected.example\r\n\r\n${get('inspected.example', '/closed')}`,
    );
    expect((await answer).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403', 'HTTP/1.1 403']);
    expect(scene.seen.map(({ method, url }) => `${method} ${url}`)).toEqual(['GET /open/1']);
  });

  test.each<[string, string]>([
    ['another Host', get('evil.example', '/')],
    ['another port in Host', get('allowed.example:81', '/')],
    ['a target in absolute form', get('allowed.example', 'http://evil.example/')],
    ['a CONNECT in the CONNECT', 'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n'],
    [
      'both lengths',
      'POST / HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    [
      'an upgrade to h2c',
      'GET / HTTP/1.1\r\nHost: allowed.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n',
    ],
    ['HTTP/2 without asking', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'],
    ['SSH', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['SMTP', 'EHLO evil.example\r\nMAIL FROM:<a@evil.example>\r\n\r\n'],
  ])('%s is refused', async (_name, bytes) => {
    const heard: string[] = [];
    scene.raw = (socket) => socket.on('data', (chunk: Buffer) => heard.push(chunk.toString('latin1')));
    const socket = await tunnel('allowed.example:80');
    const answer = received(socket);
    socket.write(Buffer.from(bytes, 'latin1'));
    expect(await answer).toMatch(/^HTTP\/1\.1 400 /);
    await scene.until(() => scene.closed.length === 1 && scene.unjudged.length === 1);
    expect(heard).toEqual([]);
    expect(scene.dialled).toEqual(['93.184.216.34:80']);
  });
});

describe('inspected hosts', () => {
  const tunnel = (options = {}) => scene.tunnel('inspected.example:443', { ca: inspectionCa, ...options });

  test('a permitted request passes, and is recorded without its query', async () => {
    const tls = await tunnel();
    expect(tls.getPeerCertificate().issuer.CN).toContain('Cordon inspection');
    const answer = received(tls);
    tls.write(get('inspected.example', '/open/a?token=secret'));
    expect(await answer).toContain('hello from inspected.example/open/a?token=secret');
    await scene.until(() => scene.closed.length === 2);
    expect(scene.decided).toMatchObject([
      { host: 'inspected.example', method: null },
      { host: 'inspected.example', method: 'GET', path: '/open/a' },
    ]);
    expect(JSON.stringify(scene.decided)).not.toContain('secret');
  });

  test.each([
    ['another path', 'GET /closed HTTP/1.1\r\nHost: inspected.example\r\n', 403],
    ['another method', 'POST /open/a HTTP/1.1\r\nHost: inspected.example\r\nContent-Length: 0\r\n', 403],
    ['a path that climbs', 'GET /open/../closed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['a path that climbs, escaped', 'GET /open/%2e%2e/closed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['an escaped separator', 'GET /open/..%2fclosed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['a twice escaped dot', 'GET /open/%252e%252e/closed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['a path that climbs, with a parameter', 'GET /open/..;/closed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['a path that climbs, with a value', 'GET /open/%2e%2e;a=b/closed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['a path that climbs, escaped parameter', 'GET /open/..%3bx/closed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['a path that climbs, with a blank', 'GET /open/..%20/closed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['a path that climbs, overlong', 'GET /open/%c0%ae%c0%ae/closed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['an overlong separator', 'GET /open/..%e0%80%afclosed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['a path in wide letters', 'GET /open/%uff0e%uff0e/closed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    [
      'a header that names another method',
      'GET /open/a HTTP/1.1\r\nHost: inspected.example\r\nX-HTTP-Method-Override: DELETE\r\n',
      400,
    ],
    [
      'the same, with underscores',
      'GET /open/a HTTP/1.1\r\nHost: inspected.example\r\nX_HTTP_Method_Override: DELETE\r\n',
      400,
    ],
    [
      'a header that names another path',
      'GET /open/a HTTP/1.1\r\nHost: inspected.example\r\nX-Original-URL: /closed\r\n',
      400,
    ],
    ['another such header', 'GET /open/a HTTP/1.1\r\nHost: inspected.example\r\nX-Rewrite-Url: /closed\r\n', 400],
    ['a backslash', 'GET /open/..\\closed HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['an empty segment', 'GET //open/a HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['a target in absolute form', 'GET https://evil.example/open/a HTTP/1.1\r\nHost: inspected.example\r\n', 400],
    ['another Host', 'GET /open/a HTTP/1.1\r\nHost: evil.example\r\n', 400],
    ['a CONNECT inside', 'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n', 400],
    [
      'an upgrade to h2c',
      'GET /open/a HTTP/1.1\r\nHost: inspected.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n',
      400,
    ],
    [
      'a WebSocket without a rule',
      'GET /open/a HTTP/1.1\r\nHost: inspected.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n',
      403,
    ],
    [
      'both lengths',
      'GET /open/a HTTP/1.1\r\nHost: inspected.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n',
      400,
    ],
  ])('%s is refused before anything is dialled', async (_name, head, status) => {
    const tls = await tunnel();
    const answer = received(tls);
    tls.write(`${head}${head.includes('Connection:') ? '' : 'Connection: close\r\n'}\r\n`);
    setTimeout(() => tls.end(), 50);
    expect(await answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(scene.dialled).toEqual([]);
    expect(scene.resolved).toEqual([]);
  });

  test('one connection, many requests: each is judged', async () => {
    const tls = await tunnel();
    const answer = received(tls);
    tls.write(
      'GET /open/1 HTTP/1.1\r\nHost: inspected.example\r\n\r\nGET /closed HTTP/1.1\r\nHost: inspected.example\r\n\r\n',
    );
    tls.write(get('inspected.example', '/open/2'));
    expect((await answer).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403', 'HTTP/1.1 200']);
    expect(scene.seen.map((request) => request.url)).toEqual(['/open/1', '/open/2']);
  });

  test('what was judged is what is sent: escapes in their one form', async () => {
    const tls = await tunnel();
    const answer = received(tls);
    tls.write(get('inspected.example', '/open/%7euser/%c3%a9'));
    await answer;
    expect(scene.seen.map((request) => request.url)).toEqual(['/open/~user/%C3%A9']);
  });

  test('HTTP/2 alone is refused in the handshake', async () => {
    await expect(tunnel({ alpn: ['h2'] })).rejects.toThrow(/alert|closed|reset|ECONNRESET/i);
    expect(scene.dialled).toEqual([]);
  });

  test('HTTP/2 beside HTTP/1.1 comes to HTTP/1.1', async () => {
    const tls = await hasty.tunnel('inspected.example:443', { ca: caOf(hasty), alpn: ['h2', 'http/1.1'] });
    expect(tls.alpnProtocol).toBe('http/1.1');
    tls.destroy();
  });

  test.each([
    ['inside TLS', {}],
    ['inside TLS, after HTTP/1.1 was agreed upon', { alpn: ['h2', 'http/1.1'] }],
  ])('HTTP/2 without asking, %s, is answered in HTTP/1.1', async (_name, options) => {
    const tls = await tunnel(options);
    const answer = received(tls);
    tls.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    expect(await answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(scene.dialled).toEqual([]);
  });

  test('a client of HTTP/2 fails at once, and nobody outside hears of it', async () => {
    const socket = await scene.open();
    const connected = received(socket, /\r\n\r\n/);
    socket.write('CONNECT inspected.example:443 HTTP/1.1\r\nHost: inspected.example:443\r\n\r\n');
    await connected;
    const secure = connectTls({ socket, servername: 'inspected.example', ca: inspectionCa, ALPNProtocols: ['h2'] });
    const failed = once(secure, 'error');
    const client = connectHttp2('https://inspected.example', { createConnection: () => secure });
    client.on('error', () => {});
    const [error] = (await failed) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
    client.destroy();
    expect(scene.dialled).toEqual([]);
  });

  // What a client sends that has no key of the host (RFC 9849, GREASE) looks like what one sends that has: it is opened here.
  test('an encrypted hello, real or not, is answered by the gateway, which knows no inner name', async () => {
    const socket = await hasty.open();
    const connected = received(socket, /\r\n\r\n/);
    socket.write('CONNECT inspected.example:443 HTTP/1.1\r\nHost: inspected.example:443\r\n\r\n');
    await connected;
    const answer = received(socket, /[\s\S]/);
    socket.write(clientHello({ names: ['inspected.example'], extensions: [ech, ...modern] }));
    expect(Buffer.from(await answer, 'latin1')[0]).toBe(22); // a handshake goes on
    expect(hasty.dialled).toEqual([]);
    socket.destroy();
  });

  test('an encrypted hello under another name is refused there too', async () => {
    const socket = await scene.open();
    const connected = received(socket, /\r\n\r\n/);
    socket.write('CONNECT inspected.example:443 HTTP/1.1\r\nHost: inspected.example:443\r\n\r\n');
    await connected;
    const rest = received(socket);
    socket.write(clientHello({ names: ['public.example'], extensions: [ech] }));
    expect(Buffer.from(await rest, 'latin1')[0]).toBe(21);
    await scene.until(() => scene.closed.length === 1);
    expect(scene.closed[0]?.result).toBe('handshake_refused');
  });

  test('another name in the handshake is refused', async () => {
    await expect(tunnel({ servername: 'evil.example' })).rejects.toThrow();
    await scene.until(() => scene.closed.length === 1);
    expect(scene.closed[0]?.result).toBe('handshake_refused');
  });

  test('a host whose certificate is not valid is never passed through', async () => {
    const strict = await openScene({ extraCa: inspectionCa });
    try {
      const own = strict.egress.caBundle.slice(strict.egress.caBundle.lastIndexOf('-----BEGIN'));
      const tls = await strict.tunnel('inspected.example:443', { ca: own });
      const answer = received(tls);
      tls.write(get('inspected.example', '/open/a'));
      const text = await answer;
      expect(text).toMatch(/^HTTP\/1\.1 502 /);
      expect(text).toContain('certificate_refused');
      expect(strict.seen).toEqual([]);
      await strict.until(() => strict.closed.some((event) => event.result === 'certificate_refused'));
    } finally {
      await strict.close();
    }
  });
});

describe('secrets', () => {
  test('are set after the verdict, at the inspected host, in place of what the guest sent', async () => {
    const asked: string[] = [];
    const injecting = await openScene({
      secrets: {
        wants: (target) => target.host === 'allowed.example',
        apply: async (request) => {
          asked.push(`${request.method} ${request.host}${request.path}`);
          if (request.path === '/no') return { refuse: 'a placeholder where none belongs' };
          return { set: [{ name: 'Authorization', lower: 'authorization', value: 'Bearer real' }] };
        },
        watchBody: () => () => false,
        watchAnswer: () => null,
      },
    });
    try {
      const own = injecting.egress.caBundle.slice(injecting.egress.caBundle.lastIndexOf('-----BEGIN'));
      const tls = await injecting.tunnel('allowed.example:443', { ca: own });
      const answer = received(tls);
      tls.write(
        'GET /no HTTP/1.1\r\nHost: allowed.example\r\n\r\nGET /yes HTTP/1.1\r\nHost: allowed.example\r\nauthorization: placeholder\r\nConnection: close\r\n\r\n',
      );
      expect((await answer).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 403', 'HTTP/1.1 200']);
      expect(injecting.seen.map((request) => [request.url, request.headers.authorization])).toEqual([
        ['/yes', 'Bearer real'],
      ]);
      expect(asked).toEqual(['GET allowed.example/no', 'GET allowed.example/yes']);
    } finally {
      await injecting.close();
    }
  });
});

describe('revocation', () => {
  test('cuts open tunnels at once, and denies what comes', async () => {
    const tls = await scene.tunnel('allowed.example:443');
    const ended = once(tls.resume(), 'end');
    expect(scene.egress.revoke({ host: 'allowed.example', port: 443 })).toBe(1);
    await ended;
    expect(scene.closed).toMatchObject([{ result: 'revoked' }]);
    scene.dialled.length = 0;
    await expect(scene.tunnel('allowed.example:443')).rejects.toThrow(/403/);
    expect(scene.dialled).toEqual([]);
    expect(scene.decided.at(-1)?.decision).toMatchObject({ effect: 'deny' });
  });

  test('by the line of the policy, in the middle of a response', async () => {
    scene.answer = (_request, response) => {
      response.writeHead(200, { 'Content-Length': '1000000' });
      response.write('x');
    };
    const tls = await scene.tunnel('inspected.example:443', { ca: inspectionCa });
    const answer = received(tls);
    tls.write(get('inspected.example', '/open/slow'));
    await scene.until(() => scene.seen.length === 1 && scene.decided.length === 2);
    expect(scene.egress.revoke({ rule: '.cordon/policy.yaml:6' })).toBe(2);
    await answer;
    await scene.until(() => scene.closed.length === 2);
    expect(scene.closed.map((event) => event.result)).toEqual(['revoked', 'revoked']);
  });
});

/** The hello's record with bytes after the message. */
function lengthened(hello: Buffer): Buffer {
  const bytes = Buffer.concat([hello, Buffer.from([1, 0, 0, 0])]);
  bytes.writeUInt16BE(bytes.length - 5, 3);
  return bytes;
}
