/** A guest has a host repeat the secret that the gateway sends it: in whatever form, the value does not come back into the sandbox. */
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as soon } from 'node:timers/promises';
import { brotliCompressSync, gzipSync } from 'node:zlib';
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

const VALUE = 'the-token/itself+1';
const PASSWORD = 'pass-word-of-ci';
const NAME = 'token-for-a-name';
const POLICY = `version: 1
security:
  allowed_network_hosts:
    - allowed.example:443
    - allowed.example:80
    - small.example:80
    - named.example:80
    - rolling.example:80
    - {host: live.example, port: 80, websocket: true}
`;
const facts = { id: '0123456789abcdef', repository: 'r', agent: 'a', workflow: null, environment: null };

let dir: string;
let broker: Broker;
let scene: Scene;
let events: SecretEvent[] = [];
/** Nothing is in the record before it resolves. */
let durable = Promise.resolve();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cordon-attack-'));
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const env = { T: VALUE, B: base64(`ci:${PASSWORD}`), N: base64(`${NAME}:x-oauth-basic`) };
  const secrets = { TOKEN: { variable: 'T' }, BASIC: { variable: 'B' }, NAMED: { variable: 'N' } };
  const drivers = [openSecrets('env', { env, secrets })];
  const record = async (event: SecretEvent) => {
    events.push(event);
    await durable;
  };
  broker = openBroker({ drivers, dir, redactor: new Redactor(), record });
  const run = new RunSecrets(broker, facts);
  await run.grant('TOKEN', parseUse({ host: 'allowed.example' }));
  await run.grant('TOKEN', parseUse({ host: 'live.example' }));
  await run.grant('BASIC', parseUse({ host: 'small.example', header: 'Authorization: Basic {}' }));
  await run.grant('NAMED', parseUse({ host: 'named.example', header: 'Authorization: Basic {}' }));
  await run.grant('TOKEN', parseUse({ host: 'rolling.example', header: 'Cookie: session={}' }));
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

type Answer = (sent: string, response: ServerResponse, request: IncomingMessage) => unknown;

const alarms = () => events.filter(({ type }) => type === 'secret.alarm');
const ask = (lines = '', host = 'allowed.example') =>
  scene.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${lines}Connection: close\r\n\r\n`);
const answers = (how: Answer) => {
  scene.answer = (request, response) => void how(request.headers.authorization ?? '', response, request);
};
const escaped = (text: string) => text.replace(/[^A-Za-z0-9]/g, encodeURIComponent);

test('what repeats nothing passes as it is, also where it begins like a value, and is asked for as it is', async () => {
  const body = `the-token, the-token/itself, the-tok${'x'.repeat(70_000)}the-token/itself`;
  answers((_sent, response) => response.end(body));
  expect((await ask('Accept-Encoding: gzip\r\n')).split('\r\n\r\n')[1]).toBe(body);
  answers((_sent, response) => {
    for (const piece of body.match(/.{1,999}/g) ?? []) response.write(piece);
    response.end();
  });
  const chunked = await ask();
  expect(chunked).toMatch(/^HTTP\/1\.1 200 /);
  expect(chunked.replace(/\r\n[0-9a-f]*\r\n/g, '')).toContain(body);
  answers((_sent, response, request) => response.end(gzipSync(String(request.headers['accept-encoding']))));
  expect(await ask('Accept-Encoding: gzip\r\n')).toMatch(/^HTTP\/1\.1 200 /);
  expect(scene.seen.map(({ headers }) => headers['accept-encoding'])).toEqual(Array(3).fill('identity'));
  expect(alarms()).toEqual([]);
});

test('an answer goes on as it comes: only what may be a value waits', async () => {
  let more = () => {};
  answers((_sent, response) => {
    response.write('data: 1\n\n');
    more = () => response.end();
  });
  const socket = await scene.open();
  const first = received(socket, /data: 1\n\n/);
  socket.write('GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n');
  expect(await first).toMatch(/ 200 OK/);
  more();
  socket.destroy();
});

test.each([
  ['data: t', /\r\ndata: \r\n1\r\nt\r\n$/],
  ['a the-tok', /\r\na \r\n7\r\nthe-tok\r\n$/],
])('a piece that ends as a value begins does not wait for the next: %j', async (piece, whole) => {
  let end = () => {};
  answers((_sent, response) => {
    response.write(piece);
    end = () => response.end();
  });
  const socket = await scene.open();
  const first = received(socket, whole);
  socket.write('GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n');
  expect(await first).toMatch(whole);
  end();
  socket.destroy();
});

const UPGRADE =
  'GET http://live.example/ HTTP/1.1\r\nHost: live.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
const UPGRADED = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';

test('nor does a WebSocket message, and what follows it is once what follows', async () => {
  scene.raw = (host) => {
    host.once('data', () => {
      host.write(UPGRADED);
      host.write(Buffer.from([0x81, 8]));
      host.write('ends in t');
      // The guest's answer to the whole message.
      host.once('data', () => host.end('he end, the-toxin'));
    });
  };
  const socket = await scene.open();
  const message = received(socket, /ends in t$/);
  socket.write(UPGRADE);
  expect(await message).toMatch(/ends in t$/);
  const rest = received(socket);
  socket.write(Buffer.from([0x82, 0x80, 1, 2, 3, 4]));
  expect((await rest).endsWith('he end, the-toxin')).toBe(true);
  expect(alarms()).toEqual([]);
});

test('a host that waits after each few bytes of a value gets seven of them through, and no more', async () => {
  scene.raw = (host) =>
    host.once('data', () => {
      host.write(UPGRADED);
      host.write(VALUE.slice(0, 3));
      host.once('data', () => {
        host.write(VALUE.slice(3, 7));
        host.once('data', () => host.write(VALUE.slice(7)));
      });
    });
  const socket = await scene.open();
  const ping = Buffer.from([0x82, 0x80, 1, 2, 3, 4]);
  const three = received(socket, /\n\r\nthe$/);
  socket.write(UPGRADE);
  await three;
  const seven = received(socket, /-tok$/);
  socket.write(ping);
  await seven;
  const rest = received(socket);
  socket.write(ping);
  expect((await rest).endsWith(VALUE.slice(7, 9))).toBe(false);
  await scene.until(() => scene.closed.length === 1);
  expect(scene.closed[0]?.result).toBe('secret_refused');
  expect(alarms()).toHaveLength(1);
});

test('a host that ends the tunnel before its alarm is in the record does not make it an orderly one', async () => {
  let recorded = () => {};
  scene.raw = (host) =>
    host.once('data', () => {
      host.write(UPGRADED);
      durable = new Promise((resolve) => {
        recorded = resolve;
      });
      host.end(VALUE);
    });
  const answer = scene.send(UPGRADE);
  await scene.until(() => alarms().length === 1);
  for (let turn = 0; turn < 200; turn++) await soon();
  recorded();
  durable = Promise.resolve();
  expect(await answer).not.toContain('the-token');
  await scene.until(() => scene.closed.length === 1);
  expect(scene.closed[0]?.result).toBe('secret_refused');
});

test('a cookie that the gateway sends is not set in the sandbox, and the rest of the answer passes', async () => {
  const cookies = [`session=${VALUE}; Path=/`, 'theme=dark', `session=${escaped(VALUE)}`];
  answers((_sent, response) => response.setHeader('Set-Cookie', cookies).end('hello'));
  const answer = await ask('', 'rolling.example');
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  expect(answer).toContain('theme=dark');
  expect(answer).toContain('hello');
  expect(answer).not.toContain('session=');
  expect(alarms()).toEqual([]);
  answers((_sent, response) => response.setHeader('Set-Cookie', cookies).setHeader('X-Session', VALUE).end());
  expect(await ask('', 'rolling.example')).toMatch(/^HTTP\/1\.1 403 /);
  expect(alarms()).toHaveLength(1);
});

test('a token in the name of basic authentication does not come back; a password that is the same for all may', async () => {
  answers((_sent, response) => response.end('use x-oauth-basic'));
  expect(await ask('', 'named.example')).toContain('use x-oauth-basic');
  answers((_sent, response) => response.end(`no such user: ${NAME}`));
  expect(await ask('', 'named.example')).not.toContain(NAME);
  expect(alarms()).toHaveLength(1);
});

describe('a value', () => {
  const where: readonly [string, Answer][] = [
    ['in the body', (sent, response) => response.end(`you sent ${sent}`)],
    ['in a header', (sent, response) => response.setHeader('X-You-Sent', sent).end()],
    ['in a redirect', (sent, response) => response.writeHead(302, { Location: `/?t=${escaped(sent)}` }).end()],
    ['in a cookie', (sent, response) => response.setHeader('Set-Cookie', `a=${escaped(sent)}`).end()],
    ['in the reason', (sent, response) => response.writeHead(401, `no ${sent}`).end()],
    ['in an interim answer', (sent, response) => response.writeEarlyHints({ link: `<${sent}>` }, () => response.end())],
    ['in base64', (sent, response) => response.end(Buffer.from(`x${sent}`).toString('base64'))],
    ['in hex', (sent, response) => response.end(Buffer.from(sent).toString('hex'))],
    ['in JSON', (sent, response) => response.end(JSON.stringify({ sent }).replaceAll('/', '\\/'))],
    ['at the very end', (sent, response) => response.end(`${'x'.repeat(200_000)}${sent}`)],
    ['compressed all the same', (sent, response) => response.setHeader('Content-Encoding', 'gzip').end(gzipSync(sent))],
    ['in brotli', (sent, response) => response.setHeader('Content-Encoding', 'br').end(brotliCompressSync(sent))],
    [
      'a byte a chunk',
      async (sent, response) => {
        for (const letter of sent) {
          response.write(letter);
          await soon();
        }
        response.end();
      },
    ],
  ];
  test.each(where)('%s does not come back', async (_name, how) => {
    answers(how);
    const answer = await ask();
    // Not half of it either, but what it may have in common with anything.
    expect(answer).not.toContain(VALUE.slice(0, 9));
    expect(answer).not.toContain(Buffer.from(VALUE).toString('base64').slice(4, 16));
    await scene.until(() => scene.closed.length === 1);
    expect(scene.closed[0]?.result).toBe('secret_refused');
    expect(alarms()).toMatchObject([{ resource: { secret: 'TOKEN', host: 'allowed.example' } }]);
    expect(JSON.stringify(alarms())).not.toContain(VALUE);
  });

  test('in a short answer is refused with the reason, as none of it has gone', async () => {
    answers((sent, response) => response.end(`you sent ${sent}`));
    const answer = await ask();
    expect(answer).toMatch(/^HTTP\/1\.1 403 /);
    expect(answer).toContain('allowed.example repeats the value of TOKEN in the body of its answer');
    expect(alarms()).toHaveLength(1);
  });

  test('inside TLS neither', async () => {
    answers((sent, response) => response.end(sent));
    const ca = scene.egress.caBundle.slice(scene.egress.caBundle.lastIndexOf('-----BEGIN'));
    const tls = await scene.tunnel('allowed.example:443', { ca });
    const answer = received(tls);
    tls.write('GET / HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n');
    expect(await answer).not.toContain(VALUE);
    expect(alarms()).toHaveLength(1);
  });

  test.each([
    ['as it was sent', (sent: string) => sent],
    ['decoded', (sent: string) => Buffer.from(sent.slice(6), 'base64').toString()],
    ['the password alone', () => PASSWORD],
  ])('for basic authentication, %s', async (_name, form) => {
    answers((sent, response) => response.end(`no such user: ${form(sent)}`));
    expect(await ask('', 'small.example')).not.toContain(PASSWORD);
    expect(alarms()).toHaveLength(1);
  });

  test('in a WebSocket, over two packets', async () => {
    scene.raw = (socket) =>
      socket.once('data', () => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
        socket.write(Buffer.from([0x81, VALUE.length + 2]));
        socket.write(`a ${VALUE.slice(0, 12)}`, () => setImmediate(() => socket.write(VALUE.slice(12))));
      });
    const answer = await scene.send(
      'GET http://live.example/ HTTP/1.1\r\nHost: live.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
    expect(answer).toContain('101');
    expect(answer).not.toContain('the-token');
    expect(alarms()).toHaveLength(1);
  });
});
