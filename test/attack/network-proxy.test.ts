/** A proxy of the network that is hostile, or broken: what it does to git's fetches and to questions to models, which go through it by CONNECT. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openForge } from '../../src/forge/index.ts';
import { defaultModelLimits } from '../../src/gateways/llm/limits.ts';
import { Transport } from '../../src/gateways/llm/upstream.ts';
import { parseRemote } from '../../src/policy/remotes.ts';
import { type FakeForge, forgeRepository, startForge } from '../fakes/forge.ts';
import { userRepository } from '../fakes/push-scene.ts';

let root: string;
let host: FakeForge;
let proxy: Server;
/** What the proxy does with a connection once it has heard something. */
let behave: (socket: Socket, heard: string) => void;
const sockets: Socket[] = [];
let heard: string;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'cordon-proxy-'));
  mkdirSync(join(root, 'served'));
  forgeRepository(join(root, 'served'), 'app.git', userRepository(join(root, 'user')));
  host = await startForge(join(root, 'served'));
  proxy = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.once('data', (chunk) => {
      heard += chunk.toString('latin1');
      behave(socket, chunk.toString('latin1'));
    });
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
});
afterAll(async () => {
  await host.close();
  proxy.close();
  rmSync(root, { recursive: true, force: true });
});
beforeEach(() => {
  heard = '';
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

const place = () => ({ host: '127.0.0.1', port: (proxy.address() as AddressInfo).port });

/** `patience`: milliseconds that the proxy has. */
function forge(patience: number, signal?: AbortSignal) {
  const parsed = parseRemote(host.url('app.git'));
  if (!parsed.ok) throw new Error(parsed.message);
  return openForge('git', {
    repository: parsed.value,
    scheme: 'basic',
    user: 'robot',
    token: async () => Buffer.from(host.token),
    ca: [host.ca],
    proxy: place(),
    limits: { idle: patience },
    ...(signal === undefined ? {} : { signal }),
  });
}

const LONG = 60_000;
const ways: readonly [string, (patience: number) => Promise<unknown>][] = [
  [
    'a fetch',
    async (patience) => {
      const one = forge(patience);
      return one.listRefs(['refs/heads/']).finally(() => one.close());
    },
  ],
  [
    'a question to a model',
    async (patience) => {
      const one = new Transport({ limits: { ...defaultModelLimits, connectTime: patience }, proxy: place() });
      const request = { url: new URL('https://model.example/v1'), headers: {}, body: Buffer.from('secret') };
      return one.send(request, new AbortController().signal).finally(() => one.close());
    },
  ],
];

/** Writes without end, as fast as it is read. */
function flood(socket: Socket): void {
  const line = `X-A: ${'a'.repeat(60_000)}\r\n`;
  const more = () => {
    while (!socket.destroyed && socket.write(line));
  };
  socket.on('drain', more);
  more();
}

const gone = async () => {
  for (const socket of sockets) if (!socket.closed) await once(socket, 'close').catch(() => {});
};

const LATE = /in time|cannot be reached/;

describe.each(ways)('%s', (_, ask) => {
  test.each<[string, RegExp, (socket: Socket) => void]>([
    ['says nothing', LATE, () => {}],
    [
      'drips its answer',
      LATE,
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\n');
        const drip = setInterval(() => socket.write('x'), 5);
        socket.once('close', () => clearInterval(drip));
      },
    ],
    [
      'has no end to its answer',
      /more than 16384 bytes/,
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\n');
        flood(socket);
      },
    ],
    [
      'answers in the name of the host',
      /bytes of its own/,
      (socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n\x16\x03'),
    ],
    ['asks for a password', /answered 407/, (socket) => socket.write('HTTP/1.1 407 \x1b[2J\r\nA: b\r\n\r\n')],
    ['leads elsewhere', /answered 302/, (socket) => socket.write('HTTP/1.1 302 No\r\nLocation: http://a/\r\n\r\n')],
    ['speaks no HTTP', /no HTTP/, (socket) => socket.write('SSH-2.0-x\r\n\r\n')],
    ['ends the connection', /ended the connection/, (socket) => socket.end()],
    ['takes the tunnel and says nothing in it', LATE, (socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n')],
  ])('through one that %s', async (_name, why, act) => {
    behave = act;
    const error = await ask(why === LATE ? 300 : LONG).then(
      () => null,
      (cause: Error) => cause,
    );
    expect(error?.message).toMatch(why);
    expect(error?.message).not.toContain('\x1b');
    await gone();
    // It heard a name and no more, and nothing where this process came too late to say it; what it can make it take in is bounded.
    if (why !== LATE || heard !== '')
      expect(heard).toMatch(/^CONNECT [a-z.]+:\d+ HTTP\/1\.1\r\nHost: [a-z.]+:\d+\r\n\r\n$/);
    for (const socket of sockets) expect(socket.bytesWritten - socket.writableLength).toBeLessThan(16 * 1024 * 1024);
  });
});

test('one that leads there is of use, for every request on one connection', async () => {
  behave = (socket, said) => {
    const port = Number(/^CONNECT localhost:(\d+) /.exec(said)?.[1]);
    const onward = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    socket.once('close', () => onward.destroy());
    onward.on('error', () => socket.destroy());
  };
  const one = forge(LONG);
  expect((await one.listRefs(['refs/heads/'])).refs).toHaveLength(1);
  expect((await one.listRefs(['refs/heads/'])).refs).toHaveLength(1);
  one.close();
  expect(sockets).toHaveLength(1);
  await gone();
});

test('a fetch that is cancelled while the proxy says nothing ends', async () => {
  const stop = new AbortController();
  behave = () => stop.abort();
  const one = forge(LONG, stop.signal);
  await expect(one.listRefs([])).rejects.toMatchObject({ fault: 'cancelled' });
  one.close();
  await gone();
});
