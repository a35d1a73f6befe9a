/** How a guest tries to carry a placeholder away, judged by what hosts outside received and by the alarms. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Redactor } from '../../src/base/redact/index.ts';
import {
  type Broker,
  openBroker,
  openSecrets,
  parseUse,
  RunSecrets,
  type SecretEvent,
} from '../../src/secrets/index.ts';
import { openScene, received, type Scene } from '../fakes/egress-scene.ts';

const HOST = 'allowed.example';
const VALUE = 'the-token-itself-1';
const POLICY = `version: 1
security:
  allowed_network_hosts:
    - allowed.example:443
    - allowed.example:80
    - allowed.example:8443
    - small.example:80
    - {host: live.example, port: 80, websocket: true}
`;
const facts = { id: '0123456789abcdef', repository: 'r', agent: 'a', workflow: null, environment: null };

let dir: string;
let broker: Broker;
let scene: Scene;
let run: RunSecrets;
/** What stands for the secret in this run, and in another one. */
let mine: string;
let others: string;
let events: SecretEvent[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cordon-attack-'));
  const drivers = [openSecrets('env', { env: { T: VALUE }, secrets: { TOKEN: { variable: 'T' } } })];
  broker = openBroker({ drivers, dir, redactor: new Redactor(), record: async (event) => events.push(event) });
  run = new RunSecrets(broker, facts);
  mine = (await run.grant('TOKEN', parseUse({ host: HOST }))).placeholder;
  const other = new RunSecrets(broker, { ...facts, id: 'fedcba9876543210' });
  others = (await other.grant('TOKEN', parseUse({ host: HOST }))).placeholder;
  scene = await openScene({
    policyText: POLICY,
    secrets: run,
    limits: { halfClosedTime: 100 },
  });
});
afterAll(async () => {
  await scene.close();
  await broker.close();
  await rm(dir, { recursive: true });
});
beforeEach(async () => {
  await scene.reset();
  events = [];
});

const alarms = () => events.filter(({ type }) => type === 'secret.alarm');
const bytesOutside = () => JSON.stringify(scene.seen) + scene.leaked.join('');

async function refused(answer: string): Promise<void> {
  expect(answer).toMatch(/^HTTP\/1\.1 403 /);
  expect(answer).toContain('secret_refused');
  expect(answer).not.toContain(mine);
  await scene.until(() => scene.closed.length > 0);
  expect(scene.closed[0]?.result).toBe('secret_refused');
  expect(alarms()).toHaveLength(1);
  expect(JSON.stringify(alarms())).not.toContain(mine);
}

test('where it belongs, the value arrives, over TLS and in the clear', async () => {
  const own = scene.egress.caBundle.slice(scene.egress.caBundle.lastIndexOf('-----BEGIN'));
  const head = `Host: ${HOST}\r\nAuthorization: Bearer ${mine}\r\nConnection: close\r\n\r\n`;
  await scene.send(`GET http://${HOST}/ HTTP/1.1\r\n${head}`);
  const tls = await scene.tunnel(`${HOST}:443`, { ca: own });
  const answer = received(tls);
  tls.write(`GET / HTTP/1.1\r\n${head}`);
  expect(await answer).toMatch(/ 200 OK/);
  expect(scene.seen.map(({ headers }) => headers.authorization)).toEqual(Array(2).fill(`Bearer ${VALUE}`));
  expect(alarms()).toEqual([]);
});

test.each([443, 8443])('the value cannot be had in the clear on port %i, by proxy or in a tunnel', async (port) => {
  const head = `Host: ${HOST}:${port}\r\nAuthorization: Bearer ${mine}\r\nConnection: close\r\n\r\n`;
  const answers = [await scene.send(`GET http://${HOST}:${port}/ HTTP/1.1\r\n${head}`)];
  const socket = await scene.open();
  const connected = received(socket, /\r\n\r\n/);
  socket.write(`CONNECT ${HOST}:${port} HTTP/1.1\r\nHost: ${HOST}:${port}\r\n\r\n`);
  await connected;
  const rest = received(socket);
  socket.write(`GET / HTTP/1.1\r\n${head}`);
  answers.push(await rest);
  for (const answer of answers) {
    expect(answer).toMatch(/^HTTP\/1\.1 403 /);
    expect(answer).toContain('unencrypted');
  }
  expect(scene.dialled).toEqual([]);
  expect(bytesOutside()).not.toContain(VALUE);
});

const escaped = (text: string) => text.replace(/./g, (c) => `%${c.charCodeAt(0).toString(16)}`);
const unicode = (text: string) => text.replace(/./g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('in the head of a request', () => {
  const get = (host: string, target: string, header = 'X-A: b') =>
    scene.send(`GET http://${host}${target} HTTP/1.1\r\nHost: ${host}\r\n${header}\r\nConnection: close\r\n\r\n`);
  test.each<[string, () => Promise<string>]>([
    ['path', () => get(HOST, `/a/${mine}/b`)],
    ['escaped path', () => get(HOST, `/${escaped(mine)}`)],
    ['path in base64', () => get(HOST, `/${Buffer.from(`x${mine}`).toString('base64url')}`)],
    ['query', () => get(HOST, `/?q=${mine}`)],
    ['escaped query', () => get(HOST, `/?q=${escaped(mine)}`)],
    ['query escaped twice', () => get(HOST, `/?q=${escaped(escaped(mine))}`)],
    ['query in base64, escaped', () => get(HOST, `/?q=${escaped(base64(`x${mine}`))}`)],
    ['another header, escaped', () => get(HOST, '/', `Cookie: a=${escaped(mine)}`)],
    ['another header, as a language writes it', () => get(HOST, '/', `X-A: ${unicode(mine)}`)],
    ['query in hex', () => get(HOST, `/?q=${Buffer.from(mine).toString('hex')}`)],
    ['another header', () => get(HOST, '/', `Cookie: session=${mine}`)],
    ['another header in base64', () => get(HOST, '/', `X-Data: ${base64(`xy${mine}`)}`)],
    ['the name of a header', () => get(HOST, '/', `X-${mine}: 1`)],
    ['the right header of another host', () => get('small.example', '/', `Authorization: Bearer ${mine}`)],
    ['the path of another host', () => get('small.example', `/${mine}`)],
    ['another run’s, in the right header', () => get(HOST, '/', `Authorization: Bearer ${others}`)],
  ])('%s', async (_name, attack) => {
    await refused(await attack());
    expect(scene.seen).toEqual([]);
    expect(scene.dialled).toEqual([]);
  });
});

test.each(['TRACE', 'TRACK'])('%s, whose answer is the request with the value in it, is not sent', async (method) => {
  const head = `Host: ${HOST}\r\nConnection: close\r\n\r\n`;
  const answer = await scene.send(`${method} http://${HOST}/ HTTP/1.1\r\n${head}`);
  expect(answer).toMatch(/^HTTP\/1\.1 403 [\s\S]*secret_refused/);
  expect(answer).not.toContain(VALUE);
  expect(scene.dialled).toEqual([]);
});

test('in the credentials for the proxy itself, which go nowhere', async () => {
  const head = `Host: small.example\r\nProxy-Authorization: Bearer ${mine}\r\nConnection: close\r\n\r\n`;
  expect(await scene.send(`GET http://small.example/ HTTP/1.1\r\n${head}`)).toMatch(/ 200 OK/);
  expect(bytesOutside()).not.toContain(mine);
});

describe('in the body of a request', () => {
  const multipart = (encoding: string, text: string) =>
    `--b\r\nContent-Disposition: form-data; name="f"\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${text}\r\n--b--\r\n`;
  const post = (body: string, host = HOST) =>
    `POST http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
  const chunked = (pieces: readonly string[], trailer = '') =>
    `POST http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${pieces
      .map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`)
      .join('')}0\r\n${trailer}\r\n`;
  test.each<[string, () => string]>([
    ['as it is', () => post(mine)],
    ['as it is, to another host', () => post(mine, 'small.example')],
    ['in JSON', () => post(JSON.stringify({ a: [`x${mine}y`] }))],
    ['in a form', () => post(String(new URLSearchParams({ a: `x ${mine}` })))],
    ['in base64', () => post(base64(mine))],
    ['in base64, one byte off', () => post(base64(`x${mine}`))],
    ['in base64, two bytes off', () => post(base64(`xy${mine}z`))],
    ['in base64 with lines', () => post(base64(`headers\n${mine}\n`))],
    ['in hex', () => post(Buffer.from(mine).toString('hex'))],
    ['in a form with every byte escaped', () => post(`a=${escaped(mine)}`)],
    ['in a form with every second byte escaped', () => post(mine.replace(/(.)(.)/g, (_, a, b) => a + escaped(b)))],
    ['escaped twice', () => post(escaped(escaped(mine)))],
    ['in JSON with every character escaped', () => post(`{"a":"${unicode(mine)}"}`)],
    [
      'in JSON within JSON, escaped',
      () => post(JSON.stringify({ a: JSON.stringify({ b: 'X' }) }).replace('X', unicode(mine))),
    ],
    ['in base64, escaped', () => post(escaped(base64(`x${mine}`)))],
    ['base64 in lines, as in mail', () => post(base64(`x${mine}`).replace(/.{20}/g, '$&\r\n'))],
    [
      'a part of a form in base64',
      () => post(multipart('base64', base64(`{"a":"${mine}"}`).replace(/.{19}/g, '$&\r\n'))),
    ],
    [
      'a part of a form, quoted-printable',
      () => post(multipart('quoted-printable', escaped(mine).replaceAll('%', '=').replace(/.{30}/g, '$&=\r\n'))),
    ],
    ['hex in groups', () => post(Buffer.from(mine).toString('hex').replace(/../g, '$& '))],
    ['in XML, by numbers', () => post(`<a>${mine.replace(/./g, (c) => `&#${c.charCodeAt(0)};`)}</a>`)],
    ['in UTF-16', () => post(Buffer.from(mine, 'utf16le').toString('latin1'))],
    ['escaped, a byte a chunk', () => chunked([...escaped(mine)])],
    ['at the very end of much', () => post('x'.repeat(5000) + mine)],
    ['over two chunks', () => chunked([mine.slice(0, 9), mine.slice(9)])],
    ['a byte a chunk', () => chunked([...mine])],
    ['over two chunks, in base64', () => chunked([base64(mine).slice(0, 30), base64(mine).slice(30)])],
    ['another run’s', () => post(others)],
  ])('%s', async (_name, attack) => {
    await refused(await scene.send(attack()));
    expect(scene.seen.filter(({ body }) => body !== '')).toEqual([]);
    expect(bytesOutside()).not.toContain(mine.slice(-12));
  });

  const compressed = (coding: string, bytes: Buffer) => {
    const body = bytes.toString('latin1');
    const head = `POST http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\nContent-Encoding: ${coding}`;
    return Buffer.from(`${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`, 'latin1');
  };
  const packed = (text: string): [string, Buffer][] => [
    ['gzip', gzipSync(text)],
    ['GZip', Buffer.concat([gzipSync('x'.repeat(1000)), gzipSync(text)])],
    ['x-gzip', gzipSync(text)],
    ['deflate', deflateSync(text)],
    ['deflate', deflateRawSync(text)],
    ['br', brotliCompressSync(text)],
    ['identity, zstd', zstdCompressSync(text)],
  ];

  test.each([0, 1, 2, 3, 4, 5, 6])('compressed, and said to be (%i)', async (i) => {
    const [coding, bytes] = packed(`{"a":"${escaped(mine)}"}`)[i] as [string, Buffer];
    await refused(await scene.send(compressed(coding, bytes)));
    expect(scene.seen.filter(({ body }) => body !== '')).toEqual([]);
    await scene.reset();
    const [, harmless] = packed(`{"a":"${'nothing '.repeat(20_000)}"}`)[i] as [string, Buffer];
    expect(await scene.send(compressed(coding, harmless))).toMatch(/ 200 OK/);
    expect(scene.seen[0]?.body).toBe(harmless.toString('latin1'));
  });

  test.each<[string, () => Buffer]>([
    ['is not what its head says', () => compressed('gzip', Buffer.from(`not gzip ${'x'.repeat(50)}`))],
    ['ends too soon', () => compressed('br', brotliCompressSync('x'.repeat(100_000)).subarray(0, -3))],
    ['becomes too much', () => compressed('gzip', gzipSync(Buffer.alloc(70 * 1024 * 1024)))],
    ['is compressed twice', () => compressed('gzip, br', brotliCompressSync(gzipSync(mine)))],
  ])('a compressed body that %s is not passed on whole', async (_name, attack) => {
    const answer = await scene.send(attack());
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    await scene.until(() => scene.closed.length > 0);
    expect(scene.closed[0]?.result).toBe('malformed');
    expect(alarms()).toEqual([]);
  });

  const parts = (text: string): [string, string, Buffer][] => [
    ['zstd', 'two frames', Buffer.concat([zstdCompressSync('harmless'), zstdCompressSync(text)])],
    ['gzip', 'two members with padding between', Buffer.concat([gzipSync('a'), Buffer.alloc(4), gzipSync(text)])],
    ['br', 'two streams', Buffer.concat([brotliCompressSync('harmless'), brotliCompressSync(text)])],
    ['deflate', 'two streams', Buffer.concat([deflateSync('harmless'), deflateSync(text)])],
  ];
  test.each([0, 1, 2, 3])('a second part behind the first, which some hosts read too (%i)', async (i) => {
    const [coding, , bytes] = parts(mine)[i] as [string, string, Buffer];
    expect(await scene.send(compressed(coding, bytes))).toMatch(/^HTTP\/1\.1 40[03] /);
    expect(scene.seen.filter(({ body }) => body !== '')).toEqual([]);
  });

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ])('what does not compress, in many pieces, passes (%s)', async (coding, pack) => {
    const bytes = pack(randomBytes(600_000));
    expect(await scene.send(compressed(coding, bytes))).toMatch(/ 200 OK/);
    expect(scene.seen[0]?.body.length).toBe(bytes.length);
  });

  test('bytes behind the end of what is compressed go no further', async () => {
    const pieces = [gzipSync('harmless').toString('latin1'), 'behind', mine.slice(0, 9), mine.slice(9)];
    const head = `POST http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\nContent-Encoding: gzip\r\n`;
    const length = `Content-Length: ${pieces.join('').length}\r\n\r\n`;
    const socket = await scene.open();
    const answer = received(socket);
    socket.write(head + length);
    for (const piece of pieces) {
      socket.write(piece, 'latin1');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await answer).toMatch(/^HTTP\/1\.1 40[03] /);
    expect(bytesOutside()).not.toContain(mine.slice(9));
  });

  test('a few bytes that stand for much, on many connections, take no more memory than a few bodies', async () => {
    const much = Buffer.alloc(48 * 1024 * 1024);
    const { ZSTD_c_windowLog, ZSTD_c_compressionLevel, ZSTD_c_contentSizeFlag } = constants;
    const params = { [ZSTD_c_windowLog]: 27, [ZSTD_c_compressionLevel]: 1, [ZSTD_c_contentSizeFlag]: 0 };
    const head = (coding: string, length: number) =>
      `POST http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nContent-Encoding: ${coding}\r\nContent-Length: ${length}\r\n\r\n`;
    const begin = async (coding: string, body: Buffer) => {
      const socket = await scene.open();
      const answer = received(socket, /\r\n\r\n/);
      socket.write(Buffer.concat([Buffer.from(head(coding, body.length)), body.subarray(0, -1)]));
      return { socket, answer };
    };
    const wide = await begin('zstd', zstdCompressSync(much, { params }));
    expect(await wide.answer).toMatch(/^HTTP\/1\.1 400 /);
    const small = gzipSync('x');
    const held = await Promise.all(Array.from({ length: 16 }, () => begin('gzip', small)));
    await scene.until(() => scene.dialled.length >= 17);
    const more = await Promise.race([
      begin('gzip', small).then(({ answer }) => answer),
      ...held.map(({ answer }) => answer),
    ]);
    expect(more).toMatch(/^HTTP\/1\.1 429 /);
    for (const { socket } of held) socket.resetAndDestroy();
    await scene.until(() => scene.closed.length >= 17);
    const last = await begin('gzip', small);
    last.socket.write(small.subarray(-1));
    expect(await last.answer).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('inside TLS', async () => {
    const own = scene.egress.caBundle.slice(scene.egress.caBundle.lastIndexOf('-----BEGIN'));
    const tls = await scene.tunnel(`${HOST}:443`, { ca: own });
    const answer = received(tls);
    tls.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${mine.length}\r\n\r\n${mine}`);
    expect(await answer).toContain('secret_refused');
    expect(scene.seen).toEqual([]);
    expect(alarms()).toHaveLength(1);
  });

  test('packet by packet, after much has gone: the request breaks off, and is never whole', async () => {
    let heard = '';
    let ended = false;
    scene.raw = (socket) => {
      socket.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')));
      socket.on('end', () => (ended = true));
    };
    const socket = await scene.open();
    const answer = received(socket);
    const before = 'x'.repeat(3000);
    socket.write(
      `PUT http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${before.length + mine.length + 3000}\r\n\r\n${before}`,
    );
    await scene.until(() => heard.endsWith('xxx'));
    for (const byte of mine) {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.write('x'.repeat(3000));
    await refused(await answer);
    await scene.until(() => ended);
    expect(heard).not.toContain(mine);
    expect(heard.length).toBeLessThan(before.length + mine.length + 300);
  });

  test('in a trailer or a chunk extension, which go nowhere', async () => {
    const answer = await scene.send(chunked(['abc'], `X-Trailer: ${mine}\r\n`));
    expect(answer).toMatch(/ 200 OK/);
    await scene.send(
      `POST http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;a=${mine}\r\nabc\r\n0\r\n\r\n`,
    );
    expect(scene.seen.map(({ body }) => body)).toEqual(['abc', 'abc']);
    expect(bytesOutside()).not.toContain(mine);
  });

  test('behind an expectation: before the host says go on, and after', async () => {
    const head = `PUT http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nExpect: 100-continue\r\nContent-Length: ${mine.length}\r\n\r\n`;
    await scene.send(head + mine);
    await scene.until(() => scene.closed.length === 1);
    const socket = await scene.open();
    const goOn = received(socket, /100 Continue\r\n\r\n/);
    socket.write(head);
    await goOn;
    socket.write(mine);
    await received(socket);
    await scene.until(() => scene.closed.length === 2);
    expect(scene.closed.map(({ result }) => result)).toEqual(['secret_refused', 'secret_refused']);
    expect(bytesOutside()).not.toContain(mine);
  });

  test('while the host answers early: its answer is cut too', async () => {
    let heard = '';
    scene.raw = (socket) => {
      socket.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')));
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc');
    };
    const socket = await scene.open();
    const early = received(socket, /abc$/);
    socket.write(`PUT http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 1000\r\n\r\nx`);
    await early;
    const rest = received(socket);
    socket.write(mine);
    expect(await rest).toBe('');
    expect(heard).not.toContain(mine);
    await scene.until(() => scene.closed.length > 0);
    expect(scene.closed[0]?.result).toBe('secret_refused');
  });

  test('an alarm that cannot be recorded ends the gateway', async () => {
    const own = await openScene({
      policyText: POLICY,
      secrets: {
        wants: () => false,
        apply: async () => ({ set: [] }),
        watchAnswer: () => null,
        watchBody: (_host, onFailure) => () => {
          onFailure(new Error('disk full'));
          return true;
        },
      },
    });
    try {
      await own.send(post('abc'));
      const gone = own.open().then(
        (socket) => received(socket),
        () => '',
      );
      expect(await gone).toBe('');
      expect(own.seen).toEqual([]);
    } finally {
      await own.close();
    }
  });
});

describe('in the frames of a WebSocket', () => {
  const mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
  const frame = (first: number, text: string, masked = true) => {
    const payload = Buffer.from(text);
    const length = payload.length < 126 ? [payload.length] : [126, payload.length >> 8, payload.length & 255];
    length[0] = (length[0] ?? 0) | (masked ? 128 : 0);
    if (masked) for (let i = 0; i < payload.length; i++) payload[i] = (payload[i] ?? 0) ^ (mask[i & 3] ?? 0);
    return Buffer.concat([Buffer.from([first, ...length]), masked ? mask : Buffer.alloc(0), payload]);
  };
  let heard: Buffer[];
  const upgraded = async (): Promise<Socket> => {
    heard = [];
    scene.raw = (socket) => {
      socket.once('data', (head: Buffer) => {
        heard.push(head);
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
        socket.on('data', (chunk: Buffer) => {
          heard.push(chunk);
          socket.write('+');
        });
      });
    };
    const socket = await scene.open();
    const answer = received(socket, /\r\n\r\n/);
    socket.write(
      'GET http://live.example/ HTTP/1.1\r\nHost: live.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n',
    );
    expect(await answer).toMatch(/ 101 /);
    return socket;
  };

  test('what holds none passes, and no extension is offered', async () => {
    const socket = await upgraded();
    for (const text of ['hello', 'x'.repeat(70_00)]) {
      const echo = received(socket, /\+$/);
      socket.write(frame(0x81, text));
      await echo;
    }
    expect(heard[0]?.toString()).not.toMatch(/extensions/i);
    expect(alarms()).toEqual([]);
    socket.destroy();
  });

  test.each<[string, () => Buffer[]]>([
    ['in a message', () => [frame(0x81, `{"a":"${mine}"}`)]],
    ['in a binary message, in base64', () => [frame(0x82, base64(`x${mine}`))]],
    [
      'over three frames',
      () => [frame(0x01, mine.slice(0, 5)), frame(0, mine.slice(5, 9)), frame(0x80, mine.slice(9))],
    ],
    ['around a ping', () => [frame(0x01, mine.slice(0, 9)), frame(0x89, 'x'), frame(0x80, mine.slice(9))]],
    ['in a ping', () => [frame(0x89, mine)]],
    ['in a close', () => [frame(0x88, `..${mine}`)]],
    ['a byte a packet', () => [...frame(0x81, mine)].map((byte) => Buffer.from([byte]))],
  ])('%s', async (_name, frames) => {
    const socket = await upgraded();
    const rest = received(socket);
    for (const each of frames()) {
      socket.write(each);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await rest;
    await scene.until(() => scene.closed.length > 0);
    expect(scene.closed[0]?.result).toBe('secret_refused');
    expect(alarms()).toHaveLength(1);
    const out = Buffer.concat(heard.slice(1));
    expect(out.length).toBeLessThan(Buffer.concat(frames()).length);
  });

  test.each<[string, Buffer]>([
    ['without a mask', frame(0x81, 'hello', false)],
    ['compressed', frame(0xc1, 'hello')],
    ['of an unknown type', frame(0x83, 'hello')],
    ['a control frame in pieces', frame(0x09, 'hello')],
    ['a ping that is too long', frame(0x89, 'x'.repeat(200))],
    ['longer than there are bytes', Buffer.from([0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3, 4, 5])],
    ['no frame at all', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('what could mean something else to the host is refused: %s', async (_name, bytes) => {
    const socket = await upgraded();
    const rest = received(socket);
    socket.write(bytes);
    await rest;
    await scene.until(() => scene.closed.length > 0);
    expect(scene.closed[0]?.result).toBe('malformed');
    expect(heard).toHaveLength(1);
  });
});
