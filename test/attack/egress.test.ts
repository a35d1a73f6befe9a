import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openScene, received, type Scene } from '../fakes/egress-scene.ts';

/** What a hostile guest sends to its proxy. Judged outside: by what was resolved, dialled and received there. */
let scene: Scene;

beforeAll(async () => {
  scene = await openScene();
});
afterAll(() => scene.close());
beforeEach(() => scene.reset());

const nothingHappened = () => {
  expect(scene.resolved).toEqual([]);
  expect(scene.dialled).toEqual([]);
  expect(scene.seen).toEqual([]);
  expect(scene.leaked).toEqual([]);
};

test('what is permitted works, so that what follows means something', async () => {
  const answer = await scene.send(
    'GET http://allowed.example/x HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n',
  );
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(answer).toContain('hello from allowed.example/x');
  expect(scene.resolved).toEqual(['allowed.example']);
  expect(scene.dialled).toEqual(['93.184.216.34:80']);
});

describe('requests without one meaning are refused before anything happens', () => {
  const base = 'GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n';
  const post = 'POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n';
  test.each<[string, string]>([
    ['both lengths', `${post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['two equal lengths', `${post}Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd`],
    ['two different lengths', `${post}Content-Length: 4\r\nContent-Length: 0\r\n\r\nabcd`],
    ['a list of lengths', `${post}Content-Length: 4, 4\r\n\r\nabcd`],
    ['a signed length', `${post}Content-Length: +4\r\n\r\nabcd`],
    ['a hexadecimal length', `${post}Content-Length: 0x4\r\n\r\nabcd`],
    ['a length with leading zeros', `${post}Content-Length: 04\r\n\r\nabcd`],
    ['a length beyond 2^53', `${post}Content-Length: 9007199254740993\r\n\r\n`],
    ['an empty length', `${post}Content-Length:\r\n\r\n`],
    ['chunked and another coding', `${post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
    ['chunked that is not last', `${post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ['chunked twice', `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['xchunked', `${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ['chunked with a vertical tab', `${post}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`],
    ['an underscore length', `${post}Content_Length: 4\r\n\r\nabcd`],
    ['an underscore coding', `${post}Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['a space before the colon', `${post}Content-Length : 4\r\n\r\nabcd`],
    ['a tab before the colon', `${post}Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n`],
    ['a folded header', `${base}X-A: b\r\n c\r\n\r\n`],
    [
      'a folded first header',
      `GET http://allowed.example/ HTTP/1.1\r\n Host: evil.example\r\nHost: allowed.example\r\n\r\n`,
    ],
    ['a bare LF between headers', `GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\nX-A: b\r\n\r\n`],
    ['bare LFs throughout', 'GET http://allowed.example/ HTTP/1.1\nHost: allowed.example\n\n'],
    ['a bare CR in a value', `${base}X-A: b\rHost: evil.example\r\n\r\n`],
    ['a NUL in a value', `${base}X-A: b\0c\r\n\r\n`],
    ['a control character in a value', `${base}X-A: b\x7fc\r\n\r\n`],
    [
      'a label that only says it is IDNA',
      'GET http://xn--llowed-6ra.example/ HTTP/1.1\r\nHost: xn--llowed-6ra.example\r\n\r\n',
    ],
    ['a header without a name', `${base}: b\r\n\r\n`],
    ['a header without a colon', `${base}Evil\r\n\r\n`],
    ['two Hosts', `${base}Host: evil.example\r\n\r\n`],
    ['no Host', 'GET http://allowed.example/ HTTP/1.1\r\n\r\n'],
    ['an empty Host', 'GET http://allowed.example/ HTTP/1.1\r\nHost:\r\n\r\n'],
    ['a Host that is another', 'GET http://allowed.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n'],
    ['a Host with another port', 'GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example:81\r\n\r\n'],
    ['a Host with a path', 'GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example/evil\r\n\r\n'],
    ['a Host list', 'GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example, evil.example\r\n\r\n'],
    ['HTTP/1.0', 'GET http://allowed.example/ HTTP/1.0\r\nHost: allowed.example\r\n\r\n'],
    ['HTTP/0.9', 'GET http://allowed.example/\r\n\r\n'],
    ['HTTP/1.2', 'GET http://allowed.example/ HTTP/1.2\r\nHost: allowed.example\r\n\r\n'],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    [
      'an upgrade to h2c',
      `${base}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAA\r\n\r\n`,
    ],
    ['an upgrade to h2c without settings', `${base}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n`],
    ['an upgrade to two things', `${base}Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n`],
    ['an upgrade to TLS', `${base}Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n`],
    ['a Connection that drops Host', `${base}Connection: host\r\n\r\n`],
    ['a Connection that drops the length', `${post}Connection: close, content-length\r\nContent-Length: 4\r\n\r\nabcd`],
    ['a method in small letters', 'get http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['two spaces in the request line', 'GET  http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['a tab in the request line', 'GET\thttp://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['an empty line first', '\r\nGET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['a relative target', 'GET / HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['a relative target of two slashes', 'GET //evil.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['an asterisk', 'OPTIONS * HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['another scheme', 'GET ftp://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['https in the clear', 'GET https://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['a user before the host', 'GET http://allowed.example@evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n'],
    ['a user and a password', 'GET http://a:b@allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['a backslash in the host', 'GET http://evil.example\\.allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['an escaped host', 'GET http://allowed%2eexample/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['a fragment', 'GET http://allowed.example#@evil.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['port 0', 'GET http://allowed.example:0/ HTTP/1.1\r\nHost: allowed.example:0\r\n\r\n'],
    ['an empty port', 'GET http://allowed.example:/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    [
      'port 65616, which is 80 cut to 16 bits',
      'GET http://allowed.example:65616/ HTTP/1.1\r\nHost: allowed.example:65616\r\n\r\n',
    ],
    ['a signed port', 'GET http://allowed.example:+80/ HTTP/1.1\r\nHost: allowed.example:+80\r\n\r\n'],
    ['CONNECT without a port', 'CONNECT allowed.example HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['CONNECT to a URL', 'CONNECT http://allowed.example:443/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n'],
    ['CONNECT with another Host', 'CONNECT allowed.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n'],
    ['CONNECT with another port in Host', 'CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:80\r\n\r\n'],
    [
      'CONNECT with a body',
      'CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\nContent-Length: 4\r\n\r\nabcd',
    ],
    [
      'CONNECT with a chunked body',
      'CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    [
      'bytes right after a CONNECT',
      'CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\n\r\n\x16\x03\x01',
    ],
    [
      'CONNECT to port 65979, which is 443 cut to 16 bits',
      'CONNECT allowed.example:65979 HTTP/1.1\r\nHost: allowed.example:65979\r\n\r\n',
    ],
    ['CONNECT with a zone id', 'CONNECT [fe80::1%25eth0]:443 HTTP/1.1\r\nHost: [fe80::1%25eth0]:443\r\n\r\n'],
    ['CONNECT with a NUL', 'CONNECT allowed.example\0.evil.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\n\r\n'],
    ['a head without end', `${base}X-A: ${'a'.repeat(40_000)}`],
    ['a thousand headers', `${base}${'X-A: b\r\n'.repeat(1000)}\r\n`],
    ['an expectation nobody knows', `${post}Expect: 200-ok\r\nContent-Length: 4\r\n\r\n`],
  ])('%s', async (_name, bytes) => {
    const answer = await scene.send(Buffer.from(bytes, 'latin1'));
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('application/problem+json');
    expect(scene.unjudged).toHaveLength(1);
    nothingHappened();
  });
});

describe('names and addresses that are not permitted are neither resolved nor dialled', () => {
  test.each([
    'evil.example',
    'allowed.example.evil.example',
    'notallowed.example',
    'xn--80ak6aa92e.example',
    '127.0.0.1',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '127.0.0.1.',
    '0',
    '0.0.0.0',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[64:ff9b::7f00:1]',
    '[2002:7f00:1::]',
    '169.254.169.254',
    '[fd00:ec2::254]',
    'metadata.google.internal',
    'localhost',
    'wild.example',
    'evilwild.example',
  ])('%s', async (host) => {
    const plain = await scene.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect(plain).toMatch(/^HTTP\/1\.1 403 /);
    const connect = await scene.send(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\nConnection: close\r\n\r\n`);
    expect(connect).toMatch(/^HTTP\/1\.1 403 /);
    expect(scene.decided).toHaveLength(2);
    expect(scene.closed.map((event) => event.result)).toEqual(['denied', 'denied']);
    nothingHappened();
  });

  test('other spellings of a permitted name are that name, everywhere', async () => {
    for (const host of ['ALLOWED.example', 'allowed.example.', 'allowed.EXAMPLE']) {
      await scene.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    }
    expect(new Set(scene.resolved)).toEqual(new Set(['allowed.example']));
    expect(scene.seen.map((request) => request.headers.host)).toEqual(Array(3).fill('allowed.example'));
    expect(new Set(scene.decided.map((event) => event.host))).toEqual(new Set(['allowed.example']));
  });

  test('the denial names host, rule and the line to add', async () => {
    const answer = await scene.send(
      'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\nConnection: close\r\n\r\n',
    );
    const problem: unknown = JSON.parse(answer.split('\r\n\r\n')[1] ?? '');
    expect(problem).toMatchObject({
      status: 403,
      host: 'evil.example:443',
      remedy: 'add to .cordon/policy.yaml: security: {allowed_network_hosts: ["evil.example:443"]}',
    });
  });
});

describe('a permitted name that stands for a forbidden address', () => {
  test.each([
    ['10.0.0.5'],
    ['127.0.0.1'],
    ['169.254.169.254'],
    ['100.64.0.1'],
    ['192.168.1.1'],
    ['172.31.255.255'],
    ['224.0.0.1'],
    ['255.255.255.255'],
    ['0.0.0.0'],
    ['192.0.2.1'],
    ['198.18.0.1'],
    ['::1'],
    ['::'],
    ['::ffff:10.0.0.5'],
    ['64:ff9b::a00:5'],
    ['2002:a00:5::1'],
    ['fe80::1%eth0'],
    ['fd00::1'],
    ['ff02::1'],
    ['2001:db8::1'],
    ['93.184.216.34', '10.0.0.5'],
    ['not an address'],
  ])('%s', async (...addresses) => {
    scene.resolve = async () => addresses;
    const answer = await scene.send(
      'GET http://rebound.example/ HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 403 /);
    expect(answer).not.toContain(addresses[0] ?? '');
    expect(scene.dialled).toEqual([]);
    expect(scene.leaked).toEqual([]);
    expect(scene.closed).toMatchObject([{ result: 'address_refused', address: null }]);
  });

  test('rebinding: one lookup a crossing, and its answer is what is dialled', async () => {
    const answers = [['93.184.216.34'], ['127.0.0.1'], ['93.184.216.34']];
    scene.resolve = async () => answers.shift() ?? ['127.0.0.1'];
    const request = 'GET http://rebound.example/ HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n';
    expect(await scene.send(request)).toMatch(/^HTTP\/1\.1 200 /);
    expect(await scene.send(request)).toMatch(/^HTTP\/1\.1 403 /);
    expect(scene.resolved).toHaveLength(2);
    expect(scene.dialled).toEqual(['93.184.216.34:80']);
  });

  test('`private: true` opens private addresses for that host, and metadata services never by name', async () => {
    const request = 'GET http://corp.example/ HTTP/1.1\r\nHost: corp.example\r\nConnection: close\r\n\r\n';
    scene.raw = (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    scene.resolve = async () => ['10.0.0.5'];
    expect(await scene.send(request)).toMatch(/^HTTP\/1\.1 200 /);
    scene.resolve = async () => ['169.254.169.254'];
    expect(await scene.send(request)).toMatch(/^HTTP\/1\.1 403 /);
    scene.resolve = async () => ['0.0.0.0'];
    expect(await scene.send(request)).toMatch(/^HTTP\/1\.1 403 /);
    expect(scene.dialled).toEqual(['10.0.0.5:80']);
  });
});

describe('kept-alive connections', () => {
  test('every request is judged on its own: the second, pipelined, is denied', async () => {
    const answer = await scene.send(
      'GET http://allowed.example/1 HTTP/1.1\r\nHost: allowed.example\r\n\r\n' +
        'GET http://evil.example/2 HTTP/1.1\r\nHost: evil.example\r\n\r\n' +
        'GET http://allowed.example/3 HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n',
    );
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403', 'HTTP/1.1 200']);
    expect(scene.seen.map((request) => `${request.host}${request.url}`)).toEqual([
      'allowed.example/1',
      'allowed.example/3',
    ]);
    expect(scene.resolved).not.toContain('evil.example');
  });

  test('a request hidden in a body stays a body', async () => {
    const hidden = 'GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n';
    await scene.send(
      `POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: ${hidden.length}\r\nConnection: close\r\n\r\n${hidden}`,
    );
    expect(scene.seen).toHaveLength(1);
    expect(scene.seen[0]?.body).toBe(hidden);
  });

  test('a response hidden in a response is not taken for the next one', async () => {
    scene.raw = (socket) => {
      socket.once('data', () =>
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'),
      );
    };
    const socket = await scene.open();
    const get = (path: string) => `GET http://allowed.example/${path} HTTP/1.1\r\nHost: allowed.example\r\n\r\n`;
    for (const path of ['1', '2']) {
      const answer = received(socket, /ok$/);
      socket.write(get(path));
      expect(await answer).not.toContain('evil');
    }
    expect(scene.dialled).toHaveLength(2);
    socket.destroy();
  });

  test('a redirect leads nowhere by itself: what it names is a request of its own', async () => {
    scene.answer = (_request, response) => {
      response.writeHead(302, { Location: 'http://169.254.169.254/latest/meta-data/' });
      response.end();
    };
    const answer = await scene.send(
      'GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n' +
        'GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n',
    );
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 302', 'HTTP/1.1 403']);
    expect(scene.dialled).toEqual(['93.184.216.34:80']);
  });
});
