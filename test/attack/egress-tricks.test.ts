/** Odd turns of TLS and DNS that a guest can take with its gateway; judged by what hosts saw and by the gateway going on. */
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openScene, received, type Scene } from '../fakes/egress-scene.ts';

let scene: Scene;
/** Its times are short, for those who go away without a word; nobody else is to depend on how fast this machine is. */
let hasty: Scene;
let dnsPort: number;

beforeAll(async () => {
  scene = await openScene({ limits: { names: 8 } });
  hasty = await openScene({ limits: { headTime: 1_000 } });
  dnsPort = await scene.egress.attach({ port: 0 }, 'dns-tcp');
});
afterAll(() => Promise.all([scene.close(), hasty.close()]));
beforeEach(() => Promise.all([scene.reset(), hasty.reset()]));

const caOf = ({ egress }: Scene) => egress.caBundle.slice(egress.caBundle.lastIndexOf('-----BEGIN'));

/** TLS inside a CONNECT, by a client with its own options. */
async function opened(options: object, of = scene): Promise<TLSSocket> {
  const socket = await of.open();
  socket.write('CONNECT inspected.example:443 HTTP/1.1\r\nHost: inspected.example:443\r\n\r\n');
  await received(socket, /\r\n\r\n/);
  const tls = connectTls({ socket, servername: 'inspected.example', ca: caOf(of), ...options });
  tls.on('error', () => {});
  await new Promise<void>((resolve) => {
    for (const event of ['secureConnect', 'error', 'close']) tls.once(event, () => resolve());
  });
  return tls;
}

const GET = 'GET /open/a HTTP/1.1\r\nHost: inspected.example\r\nConnection: close\r\n\r\n';

describe('TLS that the gateway ends', () => {
  test('renegotiated: refused, at the first attempt', async () => {
    const tls = await opened({ maxVersion: 'TLSv1.2' });
    const refusal = new Promise<string>((resolve) => {
      tls.once('error', ({ message }) => resolve(message));
      tls.renegotiate({ rejectUnauthorized: false }, (error) => resolve(error === null ? 'done' : error.message));
    });
    expect(await refusal).toMatch(/no renegotiation/);
    const calm = await opened({});
    const answer = received(calm);
    calm.write(GET);
    expect(await answer).toMatch(/ 200 OK/);
  });

  test('a session of one host is none of another, nor of another authority', async () => {
    const first = await opened({ maxVersion: 'TLSv1.2' }, hasty);
    const session = first.getSession();
    const again = await opened({ maxVersion: 'TLSv1.2', session }, hasty);
    const reused = again.isSessionReused();
    again.destroy();
    const elsewhere = await opened({ maxVersion: 'TLSv1.2', session, servername: 'allowed.example' }, hasty);
    expect(elsewhere.destroyed || elsewhere.authorized === false).toBe(true);
    expect(reused).toBe(true); // what follows would be said of nothing otherwise
    first.destroy();
    const other = await openScene();
    try {
      const ca = other.egress.caBundle.slice(other.egress.caBundle.lastIndexOf('-----BEGIN'));
      const socket = await other.open();
      socket.write('CONNECT inspected.example:443 HTTP/1.1\r\nHost: inspected.example:443\r\n\r\n');
      await received(socket, /\r\n\r\n/);
      const tls = connectTls({ socket, servername: 'inspected.example', ca, session, maxVersion: 'TLSv1.2' });
      await once(tls, 'secureConnect');
      expect(tls.isSessionReused()).toBe(false);
      tls.destroy();
    } finally {
      await other.close();
    }
  });

  test.each<[string, (tls: TLSSocket, socket: Socket) => void]>([
    ['garbage in place of a record', (_tls, socket) => socket.write(Buffer.alloc(4096, 0xff))],
    ['a fatal alert', (_tls, socket) => socket.write(Buffer.from([21, 3, 3, 0, 2, 2, 40]))],
    ['a second plain hello', (_tls, socket) => socket.write(Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 0]))],
    [
      'a reset in the middle of a request',
      (tls, socket) => tls.write(GET.slice(0, 20), () => socket.resetAndDestroy()),
    ],
    ['half of it closed before the answer', (tls) => tls.end(GET)],
  ])('%s does not disturb the next one', async (_name, attack) => {
    const socket = await hasty.open();
    socket.write('CONNECT inspected.example:443 HTTP/1.1\r\nHost: inspected.example:443\r\n\r\n');
    await received(socket, /\r\n\r\n/);
    const tls = connectTls({ socket, servername: 'inspected.example', ca: caOf(hasty) });
    tls.on('error', () => {});
    await once(tls, 'secureConnect');
    const ended = new Promise<void>((resolve) => {
      for (const event of ['end', 'close']) tls.resume().once(event, () => resolve());
    });
    attack(tls, socket);
    await ended;
    const calm = await opened({}, hasty);
    const answer = received(calm);
    calm.write(GET);
    expect(await answer).toMatch(/ 200 OK/);
  });
});

describe('a CONNECT to an address that stands for a name', () => {
  test.each(['198.18.0.1:443', '198.18.0.1:80', '[::ffff:198.18.0.1]:443', '[::ffff:c612:1]:443'])(
    '%s leads nowhere',
    async (authority) => {
      const answer = await scene.send(
        `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`,
      );
      expect(answer).toMatch(/^HTTP\/1\.1 403 /);
      expect([...scene.dialled, ...scene.resolved]).toEqual([]);
    },
  );
});

describe('DNS', () => {
  const label = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'latin1')]);
  const nameOf = (name: string) => Buffer.concat([...name.split('.').map(label), Buffer.from([0])]);
  const query = (name: Buffer, type = 1, klass = 1, counts = [1, 0, 0, 0], flags = 0x0100, rest = Buffer.alloc(0)) => {
    const head = Buffer.alloc(12);
    head.writeUInt16BE(0x1234, 0);
    head.writeUInt16BE(flags, 2);
    for (const [i, count] of counts.entries()) head.writeUInt16BE(count, 4 + i * 2);
    const tail = Buffer.alloc(4);
    tail.writeUInt16BE(type, 0);
    tail.writeUInt16BE(klass, 2);
    return Buffer.concat([head, name, tail, rest]);
  };
  const framed = (message: Buffer) => {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(message.length);
    return Buffer.concat([length, message]);
  };
  /** What came back, over a connection of its own; empty when it was closed. */
  async function asked(message: Buffer, pieces = 1): Promise<Buffer> {
    const socket = connectTcp({ host: '127.0.0.1', port: dnsPort });
    socket.on('error', () => {});
    const answer = received(socket);
    const bytes = framed(message);
    for (let i = 0; i < pieces; i++) {
      socket.write(
        bytes.subarray(Math.floor((i * bytes.length) / pieces), Math.floor(((i + 1) * bytes.length) / pieces)),
      );
      await new Promise((resolve) => setImmediate(resolve));
    }
    setTimeout(() => socket.end(), 30);
    return Buffer.from((await answer).slice(2), 'latin1');
  }
  const code = (answer: Buffer) => (answer.length < 4 ? null : answer.readUInt16BE(2) & 15);
  const answers = (answer: Buffer) => (answer.length < 8 ? 0 : answer.readUInt16BE(6));
  const MINE = nameOf('allowed.example');

  test('control: a permitted name has an address, however the question is cut', async () => {
    for (const pieces of [1, 3, MINE.length + 18]) expect(answers(await asked(query(MINE), pieces))).toBe(1);
  });

  test.each<[string, Buffer]>([
    ['CNAME', query(MINE, 5)],
    ['NS', query(MINE, 2)],
    ['TXT', query(MINE, 16)],
    ['ANY', query(MINE, 255)],
    ['AAAA', query(MINE, 28)],
    ['HTTPS, where keys for encrypted names are', query(MINE, 65)],
    ['a whole zone', query(MINE, 252)],
    ['another class', query(MINE, 1, 3)],
    ['any class', query(MINE, 1, 255)],
    ['an update', query(MINE, 6, 1, [1, 0, 0, 0], 0x2800)],
    [
      'two questions',
      query(MINE, 1, 1, [2, 0, 0, 0], 0x0100, Buffer.concat([nameOf('evil.example'), Buffer.from([0, 1, 0, 1])])),
    ],
    ['no question', query(MINE, 1, 1, [0, 0, 0, 0])],
    ['a pointer to itself', query(Buffer.from([0xc0, 12]))],
    ['a name that does not end', query(Buffer.alloc(300, 1))],
    ['a label with a dot in it', query(Buffer.concat([label('allowed.example'), Buffer.from([0])]))],
    ['a label with a NUL in it', query(Buffer.concat([label('allowed'), label('example\0x'), Buffer.from([0])]))],
    ['data as a name', query(nameOf(`${'a'.repeat(60)}.${'b'.repeat(60)}.evil.example`))],
    ['data below a permitted name', query(nameOf(`${'a'.repeat(60)}.allowed.example`))],
    ['the root', query(Buffer.from([0]))],
    ['an answer', query(MINE, 1, 1, [1, 0, 0, 0], 0x8180)],
  ])('%s: no address, and nobody is asked', async (_name, message) => {
    const answer = await asked(message);
    expect(answers(answer)).toBe(0);
    expect([...scene.resolved, ...scene.dialled]).toEqual([]);
    expect(answers(await asked(query(MINE)))).toBe(1);
  });

  test('names below a wildcard are as many as permitted, and those that are listed stay', async () => {
    const codes: (number | null)[] = [];
    for (let i = 0; i < 20; i++) codes.push(code(await asked(query(nameOf(`n${i}.wild.example`)))));
    expect(codes.at(-1)).toBe(3);
    expect(answers(await asked(query(MINE)))).toBe(1);
  });
});
