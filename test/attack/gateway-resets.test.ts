/** Connections to the gateways that end at the worst moment: an error that nobody hears ends Cordon's process, and every run in it. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { defaultForgeLimits, type ForgeOptions } from '../../src/forge/forge.ts';
import { Transport } from '../../src/forge/smart-http/transport.ts';
import { parseRemote } from '../../src/policy/remotes.ts';
import { McpScene } from '../fakes/mcp/scene.ts';
import { modelScene } from '../fakes/model-scene.ts';

const errors: unknown[] = [];
const hear = (error: unknown) => void errors.push(error);
beforeEach(() => {
  errors.length = 0;
  process.on('uncaughtException', hear);
});
afterEach(() => void process.off('uncaughtException', hear));

interface Open {
  readonly port: number;
  readonly head: string;
  readonly body: string;
  /** Resolves with the status of an honest request. */
  ask(): Promise<number>;
  close(): Promise<unknown>;
}

const scenes: Readonly<Record<'models' | 'mcp', () => Promise<Open>>> = {
  async models() {
    const { url, models, post, close } = await modelScene(() => ({ text: 'once upon a time', pieces: 4, drip: 1 }));
    const body = { model: 'm-chat', messages: [{ role: 'user', content: 'hi' }], stream: true };
    return {
      port: Number(new URL(url).port),
      head: `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${models.token}\r\nContent-Type: application/json\r\n`,
      body: JSON.stringify(body),
      ask: async () => (await post('/v1/chat/completions', body)).status,
      close,
    };
  },
  async mcp() {
    const one = await McpScene.open();
    const list = { method: 'tools/list', params: {} };
    return {
      port: one.port,
      head: `POST /docs HTTP/1.1\r\nHost: 127.0.0.1:${one.port}\r\nAuthorization: Bearer ${one.token}\r\nContent-Type: application/json\r\n`,
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...list }),
      ask: async () => (await one.post(list)).status,
      close: () => one.close(),
    };
  },
};

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
const openings = (head: string, body: string): string[] => {
  const sized = `${head}Content-Length: ${Buffer.byteLength(body)}\r\n`;
  const get = head.replace(/^POST/, 'GET');
  return [
    `${get}${UPGRADE}\r\n`,
    `${sized}${UPGRADE}\r\n${body}`,
    `${head.replace(/^POST \S+/, 'CONNECT x:1')}\r\n`,
    `${sized}Expect: 100-continue\r\n\r\n`,
    `${sized}\r\n${body}`,
    `${sized}\r\n${body.slice(0, 9)}`,
    `${sized}\r\n${body}`.repeat(20),
    `${head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n`,
    `${head}Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"`,
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00',
    `${get}X: ${'y'.repeat(40_000)}`,
  ];
};

/** `reset`: with an error for whoever still writes; `half`: no more is sent, and all that comes is awaited. */
function touch(port: number, bytes: string, how: 'reset' | 'half'): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {}).on('close', () => resolve());
    socket.resume();
    socket.write(bytes, 'latin1', () => {
      if (how === 'reset') socket.resetAndDestroy();
      else socket.end().on('end', () => socket.destroy());
    });
  });
}

test.each(['models', 'mcp'] as const)(
  '%s: none of them ends the process',
  async (name) => {
    const { port, head, body, ask, close } = await scenes[name]();
    for (const bytes of openings(head, body)) {
      await Promise.all(Array.from({ length: 25 }, () => touch(port, bytes, 'reset')));
      await touch(port, bytes, 'half');
      expect(await ask()).toBe(200);
      expect([bytes.slice(0, 300), ...errors]).toHaveLength(1);
    }
    await close();
    expect(errors).toEqual([]);
  },
  60_000,
);

const OK = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n';
const EVENT = 'data: {"choices":[]}\n\n';
test.each([
  ['nothing', ''],
  ['garbage', '\x00\xff'.repeat(1000)],
  ['half a head', 'HTTP/1.1 200'],
  ['a head without end', `${OK}X: ${'y'.repeat(200_000)}`],
  [
    'another protocol',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x01x',
  ],
  ['news without end', 'HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n'.repeat(5000)],
  ['a status that is none', 'HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n'],
  ['a status beyond all', 'HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n'],
  ['two lengths', `${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`],
  ['less than it said', `${OK}Content-Length: 5000\r\n\r\n${EVENT}`],
  ['more than it said', `${OK}Content-Length: 5\r\n\r\nhello${OK}\r\n`],
  ['no chunk', `${OK}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n`],
  ['half a chunk', `${OK}Transfer-Encoding: chunked\r\n\r\n50\r\n${EVENT}`],
  ['compressed', `${OK}Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n`],
  ['an error without end', 'HTTP/1.1 400 No\r\nContent-Length: 9000\r\n\r\n{"error":'],
])(
  'a provider that answers with %s, and breaks off, ends no process',
  async (_, bytes) => {
    const broken = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.write(bytes, 'latin1', () => socket.resetAndDestroy()));
    });
    broken.listen(0, '127.0.0.1');
    await once(broken, 'listening');
    const base = `http://127.0.0.1:${(broken.address() as AddressInfo).port}`;
    const { post, close, answered } = await modelScene([], { base, limits: { patience: 20 } });
    const body = { messages: [{ role: 'user', content: 'hi' }], stream: true, max_tokens: 9 };
    for (const model of ['m-chat', 'm-claude', 'm-google']) {
      const answer = await post('/v1/chat/completions', { ...body, model }).catch(() => null);
      await answer?.text().catch(() => null);
    }
    await expect.poll(() => answered.length).toBe(3);
    for (const { result } of answered) expect(['failed', 'cut', 'unreachable']).toContain(result);
    await close();
    broken.close();
    expect(errors).toEqual([]);
  },
  30_000,
);

test('a connection that asked for another protocol, and stays, does not hold up the end', async () => {
  const { port, head, close } = await scenes.models();
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  const answered = new Promise((resolve) => socket.once('data', resolve));
  socket.write(`${head.replace(/^POST/, 'GET')}${UPGRADE}\r\n`);
  await answered;
  await close();
  socket.destroy();
}, 20_000);

test('a forge that changes the protocol unasked is one that does not answer', async () => {
  const forge = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end('HTTP/1.1 101 Other\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'));
  });
  forge.listen(0, '127.0.0.1');
  await once(forge, 'listening');
  const parsed = parseRemote(`http://127.0.0.1:${(forge.address() as AddressInfo).port}/app.git`);
  if (!parsed.ok) throw new Error(parsed.message);
  const transport = new Transport({ repository: parsed.value } as ForgeOptions, defaultForgeLimits);
  const call = { method: 'GET', path: '/info/refs', accept: 'x/y', maxBytes: 100, credential: null } as const;
  await expect(transport.call(call)).rejects.toMatchObject({ fault: 'unreachable' });
  transport.close();
  forge.close();
}, 20_000);
