import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openScene, received, type Scene } from '../fakes/egress-scene.ts';

/** Slow, dead and endless: hosts and guests that hold on to things; and the ways in for programs that know no proxy. */
let scene: Scene;
/** Its times are short, for those who let them run out; nobody else is to depend on how fast this machine is. */
let hasty: Scene;
const short = { headTime: 500, idleTime: 1000, connectTime: 500 };
const ADDRESSES = '127.98.0.0';

beforeAll(async () => {
  scene = await openScene({ limits: { connections: 8 }, namesFrom: ADDRESSES });
  hasty = await openScene({ limits: short, namesFrom: ADDRESSES });
});
afterAll(() => Promise.all([scene.close(), hasty.close()]));
beforeEach(() => Promise.all([scene.reset(), hasty.reset()]));

const get = (host: string, path = '/') =>
  `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
const outcome = async (of = scene) => {
  await of.until(() => of.closed.length > 0);
  return of.closed[0]?.result;
};

describe('slow and hostile guests', () => {
  test('a head that drips is given up, however busy it drips', async () => {
    const socket = await hasty.open();
    const drip = setInterval(() => socket.write('X-A: b\r\n'), 20);
    // Whichever way it ends: what was still on its way to a closed socket is answered with a reset.
    const end = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {}).resume();
    socket.write('GET http://allowed.example/ HTTP/1.1\r\n');
    await end;
    clearInterval(drip);
    expect(hasty.dialled).toEqual([]);
  });

  test('a body that stops half-way ends its crossing', async () => {
    const socket = await hasty.open();
    socket.resume();
    socket.write('POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 100\r\n\r\nabc');
    expect(['guest_ended', 'timeout']).toContain(await outcome(hasty));
  });

  test('a chunk that is longer than it says does not become a request', async () => {
    const socket = await scene.open();
    socket.resume();
    socket.write(
      'POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcGET http://evil.example/ HTTP/1.1\r\n\r\n',
    );
    expect(await outcome()).toBe('malformed');
    expect(scene.seen.every((request) => !request.body.includes('evil'))).toBe(true);
  });

  test.each([
    ['a bare LF after the size', '3\nabc\r\n0\r\n\r\n'],
    ['a signed size', '+3\r\nabc\r\n0\r\n\r\n'],
    ['a size of seventeen digits', '00000000000000003\r\nabc\r\n0\r\n\r\n'],
    ['no size', '\r\nabc\r\n0\r\n\r\n'],
    ['a size with 0x', '0x3\r\nabc\r\n0\r\n\r\n'],
    ['an endless extension', `3;${'a'.repeat(5000)}\r\nabc\r\n0\r\n\r\n`],
    ['a bare CR in an extension', '3;a\rb\r\nabc\r\n0\r\n\r\n'],
    ['trailers that are a request', '0\r\nGET http://evil.example/ HTTP/1.1\r\n\r\n'],
  ])('chunks: %s', async (_name, body) => {
    const answer = await scene.send(
      `POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${body}`,
    );
    expect(answer).not.toMatch(/HTTP\/1\.1 200/);
    expect(await outcome()).toBe('malformed');
  });

  test('chunks come out as they were read, extensions and trailers gone', async () => {
    await scene.send(
      'POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;x=y\r\nabc\r\n02\r\nde\r\n0\r\nX-Evil: 1\r\n\r\n',
    );
    expect(scene.seen).toMatchObject([{ body: 'abcde' }]);
  });

  test('more connections than permitted are closed, the others go on', async () => {
    const sockets = await Promise.all(Array.from({ length: 12 }, () => scene.open()));
    await scene.until(() => scene.unjudged.length === 4);
    const first = sockets[0];
    if (first === undefined) throw new Error('no socket');
    const answer = received(first);
    first.write(get('allowed.example'));
    expect(await answer).toContain('200 OK');
  });

  test('what a guest sends stops at the budget of the host, over all its connections', async () => {
    const post = (size: number) =>
      `POST http://small.example/ HTTP/1.1\r\nHost: small.example\r\nContent-Length: ${size}\r\nConnection: close\r\n\r\n${'x'.repeat(size)}`;
    expect(await scene.send(post(300))).toMatch(/ 200 /);
    expect(await scene.send(post(300))).toMatch(/ 200 /);
    expect(await scene.send(post(600))).toMatch(/ 403 /);
    expect(scene.closed.map((event) => event.result)).toEqual(['completed', 'completed', 'budget']);
    expect(scene.seen.map((request) => request.body.length).reduce((a, b) => a + b)).toBeLessThan(1024);
  });
});

describe('slow and hostile hosts', () => {
  const host = async (behave: NonNullable<Scene['raw']>, to = scene) => {
    to.raw = behave;
    return to.send(get('allowed.example'));
  };
  const reply = (text: string) => host((socket) => socket.once('data', () => socket.end(Buffer.from(text, 'latin1'))));

  test.each<[string, string]>([
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok'],
    ['both lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'],
    ['a folded header', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok'],
    ['bare LFs', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
    ['no HTTP', 'SSH-2.0-OpenSSH\r\n\r\n'],
    ['HTTP/2', 'HTTP/2 200\r\n\r\n'],
    ['an upgrade nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: Upgrade\r\n\r\n'],
    ['interim responses without end', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(50)],
    ['a head of a megabyte', `HTTP/1.1 200 OK\r\nA: ${'b'.repeat(1_000_000)}\r\n\r\n`],
  ])('%s: refused', async (_name, text) => {
    expect(await reply(text)).toMatch(/HTTP\/1\.1 502 /);
    expect(await outcome()).toBe('upstream_malformed');
  });

  test('nothing at all', async () => {
    expect(await host((socket) => socket.end())).toMatch(/^HTTP\/1\.1 502 /);
    expect(await outcome()).toBe('upstream_ended');
  });

  test('silence', async () => {
    expect(await host(() => {}, hasty)).toMatch(/^HTTP\/1\.1 504 /);
    expect(await outcome(hasty)).toBe('timeout');
  });

  test('a head that drips', async () => {
    const answer = await host((socket) => {
      const drip = setInterval(() => socket.write('H'), 20);
      socket.on('close', () => clearInterval(drip));
    }, hasty);
    expect(answer).toMatch(/^HTTP\/1\.1 50[24] /);
  });

  test('a body that ends too soon is not passed on as whole', async () => {
    const answer = await reply('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n');
    expect(answer).not.toContain('0\r\n\r\n');
    expect(await outcome()).toBe('upstream_ended');
  });

  test('an endless body stops at the budget', async () => {
    scene.raw = (socket) => {
      const pour = setInterval(() => socket.write('x'.repeat(4096)), 2);
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
      socket.on('close', () => clearInterval(pour));
      socket.on('error', () => {});
    };
    const answer = await scene.send(get('small.example'));
    expect(answer.length).toBeLessThan(4096);
    await scene.until(() => scene.closed.length > 0);
    expect(scene.closed[0]?.result).not.toBe('completed');
  });

  test('a name that is never answered, and a name that does not exist', async () => {
    hasty.resolve = () => new Promise(() => {});
    expect(await hasty.send(get('allowed.example'))).toMatch(/^HTTP\/1\.1 502 /);
    hasty.resolve = async () => [];
    expect(await hasty.send(get('allowed.example'))).toMatch(/^HTTP\/1\.1 502 /);
    expect(hasty.closed.map((event) => event.result)).toEqual(['resolve_failed', 'resolve_failed']);
  });

  test('WebSockets by rule pass both ways, and are counted', async () => {
    scene.raw = (socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nframe');
        socket.on('data', (chunk: Buffer) => socket.end(`echo ${chunk.toString()}`));
      });
    };
    const socket = await scene.open();
    const first = received(socket, /frame/);
    socket.write(
      'GET http://live.example/ HTTP/1.1\r\nHost: live.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
    expect(await first).toMatch(/^HTTP\/1\.1 101 /);
    const second = received(socket);
    socket.write('ping');
    expect(await second).toContain('echo ping');
  });
});

describe('the log', () => {
  test('what cannot be recorded does not happen', async () => {
    const silent = await openScene({
      log: {
        decided: () => Promise.reject(new Error('disk full')),
        closed: () => {},
        unjudged: () => {},
        dependency: () => {},
      },
    });
    try {
      expect(await silent.send(get('allowed.example'))).toMatch(/^HTTP\/1\.1 503 /);
      expect(silent.resolved).toEqual([]);
    } finally {
      await silent.close();
    }
  });

  test('nothing is resolved before the record is durable', async () => {
    const order: string[] = [];
    const slow = await openScene({
      log: {
        decided: async () => {
          await new Promise((resolve) => setImmediate(resolve));
          order.push('durable');
        },
        closed: () => {},
        unjudged: () => {},
        dependency: () => {},
      },
      resolver: async () => {
        order.push('resolved');
        return ['93.184.216.34'];
      },
    });
    try {
      await slow.send(get('allowed.example'));
      expect(order).toEqual(['durable', 'resolved']);
    } finally {
      await slow.close();
    }
  });

  test('an outcome that cannot be recorded ends the gateway, and its run is told', async () => {
    let told = 0;
    const broken = await openScene({
      onBroken: () => (told += 1),
      log: {
        decided: async () => 1,
        closed: () => Promise.reject(new Error('disk full')),
        unjudged: () => {},
        dependency: () => {},
      },
    });
    try {
      await broken.send(get('allowed.example'));
      await broken.until(() => told === 1);
      const socket = connect({ host: '127.0.0.1', port: broken.port });
      const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
      expect(error.code).toBe('ECONNREFUSED');
      expect(told).toBe(1);
    } finally {
      await broken.close();
    }
  });
});

describe('programs that know no proxy', () => {
  const addressOf = (name: string) => scene.egress.names.get(name) ?? '';

  test('plain HTTP to the address of a name', async () => {
    const port = await scene.egress.attach({ port: 0, host: '0.0.0.0' }, 'http');
    const socket = connect({ host: addressOf('allowed.example'), port, allowHalfOpen: true });
    const answer = received(socket);
    socket.write(`GET / HTTP/1.1\r\nHost: allowed.example:${port}\r\nConnection: close\r\n\r\n`);
    // The port is the one it came to: not 80 here, so the verdict is a denial for that port.
    expect(await answer).toContain(`allowed.example:${port}`);
    expect(scene.decided).toMatchObject([{ host: 'allowed.example', port, decision: { effect: 'deny' } }]);
  });

  test('TLS: another name than the address stands for, and an address that stands for none', async () => {
    const port = await scene.egress.attach({ port: 0, host: '0.0.0.0' }, 'tls');
    const tls = connectTls({ host: addressOf('allowed.example'), port, servername: 'evil.example' });
    await once(tls, 'error');
    expect(scene.unjudged).toMatchObject([{ via: 'tls', host: 'allowed.example' }]);
    const socket = connect({ host: '127.98.77.77', port });
    expect([...Buffer.from(await received(socket), 'latin1')]).toEqual([21, 3, 3, 0, 2, 2, 49]); // access_denied
    expect(scene.unjudged).toHaveLength(2);
    expect(scene.resolved).toEqual([]);
  });

  test('plain HTTP to an address that stands for no name, and to the port of TLS, is told why not', async () => {
    const port = await scene.egress.attach({ port: 0, host: '0.0.0.0' }, 'http');
    const tlsPort = await scene.egress.attach({ port: 0, host: '0.0.0.0' }, 'tls');
    const ask = async (host: string, to: number) => {
      const socket = connect({ host, port: to });
      socket.on('error', () => {});
      const answer = received(socket);
      socket.write('GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n');
      return answer;
    };
    const nameless = await ask('127.98.77.77', port);
    expect(nameless).toMatch(
      /^HTTP\/1\.1 403 [\s\S]*application\/problem\+json[\s\S]*127\.98\.77\.77 stands for no host/,
    );
    expect(await ask(addressOf('allowed.example'), tlsPort)).toMatch(/^HTTP\/1\.1 400 [\s\S]*plain HTTP on port/);
    expect(scene.unjudged).toHaveLength(2);
    expect(scene.dialled).toEqual([]);
  });

  test('what says nothing to an address that stands for no name does not hold the line', async () => {
    const port = await hasty.egress.attach({ port: 0, host: '0.0.0.0' }, 'http');
    const socket = connect({ host: '127.98.77.77', port });
    socket.on('error', () => {});
    await once(socket.resume(), 'close');
    await hasty.until(() => hasty.egress.connections === 0);
  });

  test('TLS to a permitted name on a permitted port', async () => {
    // A free port is put into the policy, as 443 would be there. It is held until it is needed: the servers of the scene take free ones too.
    const probe = createServer().listen(0, '0.0.0.0');
    await once(probe, 'listening');
    const address = probe.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const own = await openScene({
      policyText: `version: 1\nsecurity: {allowed_network_hosts: ["allowed.example:${port}"]}\n`,
      namesFrom: ADDRESSES,
    });
    try {
      let heard = '';
      own.raw = (socket) => socket.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')));
      await new Promise((resolve) => probe.close(resolve));
      await own.egress.attach({ port, host: '0.0.0.0' }, 'tls');
      const tls = connectTls({
        host: own.egress.names.get('allowed.example') ?? '',
        port,
        servername: 'allowed.example',
      });
      tls.on('error', () => {});
      await own.until(() => heard.includes('allowed.example'));
      tls.destroy();
      expect(own.dialled).toEqual([`93.184.216.34:${port}`]);
    } finally {
      await own.close();
    }
  });

  test('DNS: permitted names have an address, no other exists, and nobody outside is asked', async () => {
    const port = await scene.egress.attach({ port: 0 }, 'dns');
    const client = createSocket('udp4');
    const ask = async (name: string, type = 1) => {
      client.send(dnsQuery(name, type), port, '127.0.0.1');
      const [answer] = (await once(client, 'message')) as [Buffer];
      return {
        code: answer.readUInt16BE(2) & 15,
        address: answer.readUInt16BE(6) === 1 ? answer.subarray(-4).join('.') : null,
      };
    };
    expect(await ask('Allowed.Example')).toEqual({ code: 0, address: addressOf('allowed.example') });
    expect(await ask('allowed.example', 28)).toEqual({ code: 0, address: null });
    expect(await ask('any.wild.example')).toMatchObject({ code: 0, address: expect.stringMatching(/^127\.98\./) });
    expect(await ask('evil.example')).toEqual({ code: 3, address: null });
    expect(await ask('c2VjcmV0.evil.example', 16)).toEqual({ code: 3, address: null });
    expect(scene.unjudged.map((event) => event.host)).toEqual(['evil.example', 'c2vjcmv0.evil.example']);
    expect(scene.resolved).toEqual([]);
    client.close();
  });
});

describe('DNS over TCP', () => {
  const asked = async (of: Scene, ...bytes: Buffer[]) => {
    const port = await of.egress.attach({ port: 0 }, 'dns-tcp');
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    socket.on('error', () => {});
    const answer = received(socket);
    for (const each of bytes) socket.write(each);
    if (of === scene) socket.end();
    return Buffer.from(await answer, 'latin1');
  };
  const framed = (query: Buffer, length = query.length) =>
    Buffer.concat([Buffer.from([length >> 8, length & 255]), query]);

  test('is answered as over UDP, question after question, however they are cut', async () => {
    const both = Buffer.concat([framed(dnsQuery('allowed.example', 1)), framed(dnsQuery('over-tcp.example', 1))]);
    const answers = await asked(scene, ...[...both].map((byte) => Buffer.from([byte])));
    const first = answers.readUInt16BE(0);
    expect([...answers.subarray(first - 2, first + 2)].join('.')).toBe(scene.egress.names.get('allowed.example'));
    expect((answers[first + 2 + 2 + 3] ?? 0) & 15).toBe(3);
    expect(scene.unjudged).toHaveLength(1);
    expect(scene.resolved).toEqual([]);
  });

  test.each<[string, Buffer]>([
    ['a message that is too long', framed(Buffer.alloc(60_000))],
    ['a message that does not come', framed(Buffer.alloc(4), 500)],
    ['an empty message', Buffer.from([0, 0])],
    [
      'an answer',
      framed(Buffer.concat([dnsQuery('a.example', 1).subarray(0, 2), Buffer.from([0x80]), Buffer.alloc(20)])),
    ],
  ])('%s ends the connection', async (_name, bytes) => {
    expect(await asked(hasty, bytes)).toHaveLength(0);
    await hasty.until(() => hasty.egress.connections === 0);
  });
});

describe('behind a proxy of the network', () => {
  const through = (answer: string, limits = {}) => {
    const asked: string[] = [];
    const opened = openScene({ limits, upstreamProxy: { host: '192.168.0.1', port: 3128 } }).then((own) => {
      own.raw = (socket) =>
        socket.on('data', (chunk: Buffer) => {
          asked.push(chunk.toString('latin1'));
          socket.write(asked.length === 1 ? answer : 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        });
      return own;
    });
    return { asked, opened };
  };

  test('the judged name goes to it, and nothing is resolved here', async () => {
    const { asked, opened } = through('HTTP/1.1 200 Connection established\r\n\r\n');
    const own = await opened;
    try {
      expect(await own.send(get('allowed.example'))).toMatch(/ 200 OK/);
      expect(own.dialled).toEqual(['192.168.0.1:3128']);
      expect(own.resolved).toEqual([]);
      expect(asked[0]).toBe('CONNECT allowed.example:80 HTTP/1.1\r\nHost: allowed.example:80\r\n\r\n');
      expect(await own.send(get('evil.example'))).toMatch(/ 403 /);
      expect(own.dialled).toHaveLength(1);
    } finally {
      await own.close();
    }
  });

  test.each([
    ['refuses', 'HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n'],
    ['answers in the name of the host', 'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'],
    ['speaks no HTTP', 'SSH-2.0-x\r\n\r\n'],
    ['says nothing', ''],
  ])('one that %s', async (_name, answer) => {
    const own = await through(answer, { connectTime: 500 }).opened;
    try {
      expect(await own.send(get('allowed.example'))).toMatch(/^HTTP\/1\.1 502 /);
    } finally {
      await own.close();
    }
  });
});

function dnsQuery(name: string, type: number): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([Buffer.from([1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ...labels, Buffer.from([0, 0, type, 0, 1])]);
}

test('connections without meaning and without end fill neither the log nor the memory: the last record says so', async () => {
  const own = await openScene({ limits: { unjudged: 5 } });
  try {
    for (let i = 0; i < 12; i++) {
      const socket = await own.open();
      const answer = received(socket);
      socket.write('no request\r\n\r\n');
      expect(await answer).toMatch(/^HTTP\/1\.1 400 /);
    }
    expect(own.unjudged).toHaveLength(6);
    expect(own.unjudged.slice(0, 5).every(({ detail }) => detail.includes('no request'))).toBe(true);
    expect(own.unjudged[5]?.detail).toBe('more than 5 of these in one run: the rest is not recorded');
  } finally {
    await own.close();
  }
});
