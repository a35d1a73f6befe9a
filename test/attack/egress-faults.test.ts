/** What goes wrong outside, and in the gateway itself: refused, said why, and nothing goes another way. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createTls, type Server as HttpsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openScene, received, type Scene } from '../fakes/egress-scene.ts';

const INSPECTED = 'inspected.example';
const limits = { halfClosedTime: 100 };
/** For those who let their time run out; nobody else is to depend on how fast this machine is. */
const short = { ...limits, headTime: 1_000, idleTime: 1_000 };
let dir: string;

/** With the programs of OpenSSL, as somebody else would make them. */
const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: ['ignore', 'pipe', 'ignore'] });
function authority(name: string): void {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '30',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
  );
}
function certificate(file: string, issuer: string, names: string, days = 30, usage = 'serverAuth'): void {
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    `/CN=${file}`,
    '-keyout',
    `${file}.key`,
    '-out',
    `${file}.csr`,
  );
  writeFileSync(
    join(dir, `${file}.ext`),
    `subjectAltName=${names}\nextendedKeyUsage=${usage}\nbasicConstraints=CA:FALSE\n`,
  );
  openssl(
    'x509',
    '-req',
    '-in',
    `${file}.csr`,
    '-CA',
    `${issuer}.pem`,
    '-CAkey',
    `${issuer}.key`,
    '-CAcreateserial',
    '-days',
    String(days),
    '-extfile',
    `${file}.ext`,
    '-out',
    `${file}.pem`,
  );
}
const read = (file: string) => readFileSync(join(dir, file), 'utf8');

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'cordon-faults-'));
  authority('known');
  authority('unknown');
  certificate('good', 'known', `DNS:${INSPECTED}`);
  certificate('other-name', 'known', 'DNS:evil.example');
  certificate('wildcard', 'known', 'DNS:*.example.com,DNS:*');
  certificate('address', 'known', 'IP:93.184.216.35');
  certificate('expired', 'known', `DNS:${INSPECTED}`, -1);
  certificate('of-unknown', 'unknown', `DNS:${INSPECTED}`);
  certificate('of-a-leaf', 'good', `DNS:${INSPECTED}`);
  certificate('of-a-client', 'known', `DNS:${INSPECTED}`, 30, 'clientAuth');
  writeFileSync(join(dir, 'of-a-leaf.pem'), read('of-a-leaf.pem') + read('good.pem'));
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    `/CN=${INSPECTED}`,
    '-addext',
    `subjectAltName=DNS:${INSPECTED}`,
    '-keyout',
    'self-signed.key',
    '-out',
    'self-signed.pem',
  );
});
afterAll(() => rmSync(dir, { recursive: true }));

const inside = (scene: Scene) => scene.egress.caBundle.slice(scene.egress.caBundle.lastIndexOf('-----BEGIN'));
const get = `GET /open/a HTTP/1.1\r\nHost: ${INSPECTED}\r\nAuthorization: Bearer abc\r\nConnection: close\r\n\r\n`;

/** What the guest is told when the inspected host is this server, which says what it heard. */
async function visit(tls: (heard: string[]) => HttpsServer | ReturnType<typeof createTlsServer>, limits = {}) {
  const heard: string[] = [];
  const server = tls(heard);
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const scene = await openScene({ extraCa: read('known.pem'), limits });
  const pipes: Socket[] = [];
  scene.raw = (socket) => {
    const host = connect(port, '127.0.0.1');
    pipes.push(host);
    for (const each of [host, socket]) each.on('error', () => {});
    socket.pipe(host).pipe(socket);
  };
  try {
    const guest = await scene.tunnel(`${INSPECTED}:443`, { ca: inside(scene) });
    const answer = received(guest);
    guest.write(get);
    const text = await answer;
    await scene.until(() => scene.closed.length === scene.decided.length);
    const [result] = scene.closed.map((event) => event.result).filter((each) => each !== 'completed');
    return { text, result: result ?? 'completed', heard };
  } finally {
    await scene.close();
    for (const pipe of pipes) pipe.destroy();
    server.close();
  }
}

const site = (file: string) => (heard: string[]) =>
  createTls({ key: read(`${file}.key`), cert: read(`${file}.pem`) }, (request, response) => {
    heard.push(`${request.method} ${request.url}`);
    response.end('welcome');
  });

describe('the certificate of an opened host', () => {
  test('one that is right', async () => {
    const { text, heard } = await visit(site('good'));
    expect(text).toContain('welcome');
    expect(heard).toEqual(['GET /open/a']);
  });

  test.each(['other-name', 'wildcard', 'address', 'expired', 'of-unknown', 'of-a-leaf', 'of-a-client', 'self-signed'])(
    '%s: not a byte of the request goes there',
    async (file) => {
      const { text, heard, result } = await visit(site(file));
      expect(text).toMatch(/^HTTP\/1\.1 502 /);
      expect(text).toContain('certificate_refused');
      expect({ result, heard }).toEqual({ result: 'certificate_refused', heard: [] });
    },
  );

  test('old TLS', async () => {
    const { result, heard } = await visit((into) => {
      const server = site('good')(into);
      server.setSecureContext({
        key: read('good.key'),
        cert: read('good.pem'),
        minVersion: 'TLSv1',
        maxVersion: 'TLSv1.1',
        ciphers: 'ALL:@SECLEVEL=0',
      });
      return server;
    });
    expect({ result, heard }).toEqual({ result: 'connect_failed', heard: [] });
  });
});

describe('an opened host that', () => {
  const speak = (behave: (socket: TLSSocket) => void) => () =>
    createTlsServer({ key: read('good.key'), cert: read('good.pem') }, (socket) => {
      socket.on('error', () => {});
      socket.once('data', () => behave(socket));
    });
  test.each<[string, (socket: TLSSocket) => void, number, string]>([
    ['hangs up', (socket) => socket.end(), 502, 'upstream_ended'],
    ['is cut off', (socket) => socket.destroy(), 502, 'upstream_ended'],
    ['says nothing', () => {}, 504, 'timeout'],
    ['drips its head', (socket) => void setInterval(() => socket.write('H'), 20).unref(), 502, 'timeout'],
    [
      'has a head without end',
      (socket) => socket.write(`HTTP/1.1 200 OK\r\nA: ${'b'.repeat(200_000)}`),
      502,
      'upstream_malformed',
    ],
    [
      'has a thousand headers',
      (socket) => socket.write(`HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(1000)}\r\n`),
      502,
      'upstream_malformed',
    ],
    ['speaks HTTP/2 unasked', (socket) => socket.write(Buffer.from('000012040000000000', 'hex')), 504, 'timeout'],
  ])('%s', async (_name, behave, status, result) => {
    const answer = await visit(speak(behave), result === 'timeout' ? short : limits);
    expect(answer.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status === 502 ? '50[24]' : status} `));
    expect(answer.result).toBe(result);
  });

  test.each<[string, string]>([
    ['ends in the middle of a body', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'],
    ['ends in the middle of a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc'],
    ['ends before the last chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'],
  ])('%s: the guest sees no whole answer', async (_name, text) => {
    const answer = await visit(speak((socket) => socket.end(text)));
    expect(answer.result).toBe('upstream_ended');
    expect(answer.text).not.toContain('0\r\n\r\n');
  });

  test('never finishes its handshake', async () => {
    const silent = await openScene({ extraCa: read('known.pem'), limits: { connectTime: 500 } });
    try {
      silent.raw = () => {};
      const guest = await silent.tunnel(`${INSPECTED}:443`, { ca: inside(silent) });
      const answer = received(guest);
      guest.write(get);
      expect(await answer).toMatch(/^HTTP\/1\.1 502 [\s\S]*does not complete a TLS handshake/);
    } finally {
      await silent.close();
    }
  });
});

describe('tunnels that are passed through', () => {
  test('nobody answers: the guest is told before it speaks', async () => {
    const scene = await openScene({ limits, connect: () => connect({ host: '127.0.0.1', port: 1 }) });
    try {
      await expect(scene.tunnel('allowed.example:443')).rejects.toThrow(/^HTTP\/1\.1 502 [\s\S]*does not answer/);
    } finally {
      await scene.close();
    }
  });

  test.each([
    ['the host ends its half', (socket: Socket) => socket.end('bye')],
    ['the host resets', (socket: Socket) => void socket.resetAndDestroy()],
  ])('%s: the tunnel ends with it, soon', async (_name, behave) => {
    const scene = await openScene({ limits });
    try {
      scene.raw = (socket) => socket.once('data', () => behave(socket));
      await scene.tunnel('allowed.example:443').catch(() => {});
      await scene.until(() => scene.closed.length === 1 && scene.egress.connections === 0);
    } finally {
      await scene.close();
    }
  });
});

describe('when the gateway goes', () => {
  test('in the middle of a tunnel and of a request, both are cut, and nothing is served any more', async () => {
    const scene = await openScene({ limits });
    scene.answer = () => {};
    const tls = await scene.tunnel('allowed.example:443');
    const waiting = scene.send('GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n');
    await scene.until(() => scene.seen.length === 1);
    const ended = once(tls.resume(), 'end');
    await scene.egress.close();
    await ended;
    expect(await waiting).not.toContain(' 200 ');
    expect(scene.closed.map((event) => event.result)).toEqual(['closed', 'closed']);
    await expect(scene.open()).rejects.toThrow(/ECONNREFUSED/);
    await scene.close();
  });
});
