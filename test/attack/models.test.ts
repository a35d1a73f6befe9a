/** What hostile programs in a run, and broken or hostile providers, try at the model gateway; judged by what the provider was sent. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, constants, gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { sharedBudgets } from '../../src/runs/shared-budget.ts';
import { openStore } from '../../src/store/index.ts';
import { type ModelScene, modelScenes, type SceneOptions } from '../fakes/model-scene.ts';
import { chat } from '../fakes/models/chat.ts';
import { gemini } from '../fakes/models/gemini.ts';
import { messages } from '../fakes/models/messages.ts';
import { responses } from '../fakes/models/responses.ts';
import type { Turn } from '../fakes/models/turn.ts';
import { raw, request } from './raw-http.ts';

const { closing, scene } = modelScenes();

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

type Answerer = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A provider that answers in a way no library would. */
async function hostileProvider(answer: Answerer, more: SceneOptions = {}) {
  const server: Server = createServer((request, response) => {
    request.resume().once('end', () => void answer(request, response));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return scene([], { ...more, base: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

const CHAT = '/v1/chat/completions';
const hello = { model: 'm-chat', messages: [{ role: 'user', content: 'hello' }] };
const wires = { chat, responses, messages, gemini } as const;
type WireName = keyof typeof wires;
const paths = {
  chat: CHAT,
  responses: '/v1/responses',
  messages: '/v1/messages',
  gemini: '/v1beta/models/m-google:streamGenerateContent?alt=sse',
} as const;
/** Each protocol's way to say this. */
const saying = (wire: WireName, text: string, model = `m-${wire === 'messages' ? 'claude' : wire}`): object => {
  if (wire === 'responses') return { model, input: text };
  if (wire === 'gemini') return { contents: [{ role: 'user', parts: [{ text }] }] };
  return { model, max_tokens: 50, messages: [{ role: 'user', content: text }] };
};
const names = Object.keys(wires) as WireName[];

describe('providers that break', () => {
  const turn: Turn = { text: 'once upon', pieces: 2, tools: [{ id: 'c1', name: 'sh', arguments: { cmd: 'ls' } }] };
  const ends: Readonly<Record<WireName, RegExp>> = {
    chat: /\[DONE\]/,
    responses: /event: response\.completed/,
    messages: /event: message_stop/,
    gemini: /finishReason/,
  };

  test.each(names.flatMap((from) => names.map((to) => [from, to] as const)))(
    '%s from %s: cut behind any event, an answer is never passed off as whole',
    async (from, to) => {
      const count = wires[to].events(turn, 'm').length;
      const { post, answered } = await scene((_, index) => ({ ...turn, drip: 1, cutAfter: index + 1 }), {
        limits: { patience: 0 },
      });
      const model = `m-${to === 'messages' ? 'claude' : to === 'gemini' ? 'google' : to}`;
      const path = from === 'gemini' ? `/v1beta/models/${model}:streamGenerateContent?alt=sse` : paths[from];
      for (let cut = 1; cut < count - 1; cut++) {
        const response = await post(path, {
          ...saying(from, 'hi', model),
          ...(from === 'gemini' ? {} : { stream: true }),
        });
        expect(await response.text().catch(() => 'broken')).not.toMatch(ends[from]);
        expect(answered.at(-1)).toMatchObject({ result: 'cut', estimated: true });
      }
    },
  );

  const streaming = { ...hello, stream: true };
  const head = { 'content-type': 'text/event-stream' };

  test('events without meaning, in its own protocol, pass; into another they end the answer', async () => {
    const body = Buffer.from('data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {{{\n\ndata: [DONE]\n\n');
    const { post, answered } = await scene(() => ({ raw: { status: 200, headers: head, body } }));
    expect(await (await post(CHAT, streaming)).text()).toBe(body.toString());
    const text = await (await post('/v1/messages', { ...saying('messages', 'hi', 'm-chat'), stream: true })).text();
    expect(text).toContain('no JSON object');
    expect(text).not.toContain('message_stop');
    expect(answered.map(({ result }) => result)).toEqual(['completed', 'cut']);
  });

  test('an event without end', async () => {
    const { post, answered } = await hostileProvider(async (_, response) => {
      response.writeHead(200, head).write('data: ');
      while (!response.destroyed) if (!response.write(Buffer.alloc(1 << 20, 'x'))) await drained(response);
    });
    const response = await post(CHAT, streaming);
    expect(response.status).toBe(502);
    expect(answered).toMatchObject([{ result: 'cut' }]);
    expect(answered[0]?.bytesIn).toBeLessThan(24 << 20);
  });

  test('a gigabyte of small events, and one of JSON, in bounded memory', async () => {
    const event = Buffer.from(`data: {"choices":[{"delta":{"content":"${'x'.repeat(65_000)}"}}]}\n\n`);
    let sent = 0;
    const { post, answered } = await hostileProvider(
      async (_, response) => {
        response.writeHead(200, head);
        for (sent = 0; sent < 1 << 30 && !response.destroyed; sent += event.length)
          if (!response.write(event)) await drained(response);
        response.end();
      },
      { limits: { maxAnswer: 48 << 20 } },
    );
    const before = process.memoryUsage().rss;
    const response = await post(CHAT, streaming);
    let got = 0;
    try {
      for await (const piece of response.body ?? []) got += (piece as Uint8Array).length;
    } catch {
      // It breaks off.
    }
    await expect.poll(() => answered).toMatchObject([{ result: 'cut' }]);
    expect(got).toBeLessThan(49 << 20);
    expect(sent).toBeLessThan(128 << 20);
    expect(process.memoryUsage().rss - before).toBeLessThan(400 << 20);
  });

  test('JSON that does not end', async () => {
    const { post, answered } = await hostileProvider(async (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).write('{"a":"');
      while (!response.destroyed) if (!response.write(Buffer.alloc(1 << 20, 'x'))) await drained(response);
    });
    expect((await post(CHAT, hello)).status).toBe(502);
    expect(answered).toMatchObject([{ result: 'cut', reason: expect.stringContaining('bytes') }]);
  });

  test('one that falls silent, and one that drips', async () => {
    const silent = await hostileProvider(
      (_, response) => void response.writeHead(200, head).write('data: {"choices":[]}\n\n'),
      {
        limits: { idleTime: 60 },
      },
    );
    const text = await (await silent.post(CHAT, streaming)).text();
    expect(text).toContain('nothing came for');
    expect(silent.answered).toMatchObject([{ result: 'timeout' }]);
    const drips = await scene([{ text: 'slow but sure', pieces: 4, drip: 20 }], { limits: { idleTime: 5000 } });
    expect(await (await drips.post(CHAT, streaming)).text()).toContain('[DONE]');
  });

  test.each([
    ['gzip', gzipSync(Buffer.alloc(64 << 20))],
    ['zstd', zstdCompressSync(Buffer.alloc(64 << 20))],
  ])('a bomb in %s is not opened', async (encoding, body) => {
    const headers = { 'content-type': 'application/json', 'content-encoding': encoding };
    const { post, answered } = await scene([{ raw: { status: 200, headers, body } }]);
    expect((await post(CHAT, hello)).status).toBe(502);
    expect(answered).toMatchObject([{ result: 'cut', bytesIn: 0 }]);
  });

  test('a redirect is not followed, and a provider’s other headers stay with it', async () => {
    const evil: string[] = [];
    const { post } = await hostileProvider((incoming, response) => {
      evil.push(incoming.url ?? '');
      response.writeHead(307, { location: '/elsewhere', 'set-cookie': 'a=b' }).end('{}');
    });
    const response = await post(CHAT, hello);
    expect(response.status).toBe(502);
    expect(evil).toEqual([CHAT]);
    expect([response.headers.get('set-cookie'), response.headers.get('location')]).toEqual([null, null]);
  });

  test('one that is down for a while is waited for, and then used', async () => {
    let up = false;
    const { post, notices, answered } = await hostileProvider(
      (_, response) => {
        if (!up) response.socket?.destroy();
        else
          response
            .writeHead(200, { 'content-type': 'application/json' })
            .end(JSON.stringify(chat.whole({ text: 'back' }, 'm')));
      },
      { limits: { pause: 20, patience: 20_000 } },
    );
    const waiting = post(CHAT, hello);
    await expect.poll(() => notices.length).toBeGreaterThan(1);
    up = true;
    expect(await (await waiting).text()).toContain('back');
    expect(answered[0]?.attempts).toBeGreaterThan(2);
  });
});

describe('requests that are too much', () => {
  test('a gigabyte that is announced, and one that is not', async () => {
    const { url, models, upstream, post } = await scene([], { llm: 'max_request: 1mb' });
    const announced = `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${models.token}\r\nContent-Length: ${1 << 30}\r\n\r\n`;
    expect(await raw(url, [announced])).toMatch(/^HTTP\/1\.1 413 /);
    const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536, 'x'), Buffer.from('\r\n')]);
    const open = `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${models.token}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    expect(await raw(url, [open, ...Array.from({ length: 40 }, () => chunk)])).toMatch(/^HTTP\/1\.1 413 /);
    expect((await post(CHAT, hello)).status).toBe(200);
    expect(upstream.heard).toHaveLength(1);
  });

  test.each([
    ['gzip', gzipSync(Buffer.alloc(64 << 20, ' '))],
    ['br', brotliCompressSync(Buffer.alloc(64 << 20, ' '), { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } })],
    ['zstd', zstdCompressSync(Buffer.alloc(64 << 20, ' '))],
  ])('a bomb in %s', async (encoding, bomb) => {
    const { url, models, upstream } = await scene([], { llm: 'max_request: 1mb' });
    const response = await fetch(url + CHAT, {
      method: 'POST',
      headers: { authorization: `Bearer ${models.token}`, 'content-encoding': encoding },
      body: new Uint8Array(bomb),
    });
    expect(response.status).toBe(413);
    expect(upstream.heard).toEqual([]);
  });

  test('a head of a megabyte, and a body nested without end', async () => {
    const { url, models, upstream, post } = await scene();
    const long = request(models.token, CHAT, JSON.stringify(hello), `X-Long: ${'x'.repeat(1 << 20)}\r\n`);
    expect(await raw(url, [long])).toMatch(/^HTTP\/1\.1 431 /);
    const nested = `{"model":"m-chat","messages":[],"metadata":${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
    expect((await post(CHAT, nested)).status).toBe(400);
    expect(upstream.heard).toEqual([]);
  });

  test('a body that breaks off leaves nothing behind', async () => {
    const { url, models, upstream } = await scene();
    const half = request(models.token, CHAT, JSON.stringify(hello)).slice(0, -10);
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.end(half);
    await once(socket.resume(), 'close');
    await models.close();
    expect(upstream.heard).toEqual([]);
  });
});

describe('ways around', () => {
  test.each([
    ['another model by its path', 'm-chat/../m-secret'],
    ['a header in a name', 'm-chat\r\nX-Evil: 1'],
    ['a header in a name, encoded', 'm-chat%0d%0aX-Evil:1'],
    ['a provider that is not there', 'evil/m-chat'],
    ['an address', 'http://evil.example/m-chat'],
    ['a name of the language', '__proto__'],
    ['nothing', ' '],
  ])('a model that is %s', async (_, model) => {
    const { post, upstream } = await scene();
    expect((await post(CHAT, { ...hello, model })).status).toBe(404);
    expect(upstream.heard).toEqual([]);
  });

  test.each([
    ['/v1/../v1/files'],
    ['/v1/chat/completions/../../files'],
    ['/v1/%2e%2e/files'],
    ['/v1/chat%2fcompletions'],
    ['/v1/chat/completions%00'],
    ['/v1/chat/completions;x=1'],
    ['http://evil.example/v1/chat/completions'],
    ['//evil.example/v1/chat/completions'],
    ['/v1beta/models/..%2f..%2fupload:generateContent'],
    ['/v1beta/models/m-google:generateContent/../../files'],
    ['/v1beta/models/m-google:batchGenerateContent'],
    ['/v1/responses/resp_1'],
    ['/v1/messages/../../admin'],
  ])('the path %s', async (target) => {
    const { url, models, upstream, unjudged } = await scene();
    expect(await raw(url, [request(models.token, target, JSON.stringify(hello))])).toMatch(/^HTTP\/1\.1 40[04] /);
    expect(upstream.heard).toEqual([]);
    expect(unjudged).toMatchObject([{ what: 'endpoint' }]);
  });

  test('another host in the head changes nothing', async () => {
    const { url, models, upstream } = await scene([{ text: 'hi' }]);
    const spoofed = request(models.token, CHAT, JSON.stringify(hello), 'X-Forwarded-Host: evil.example\r\n').replace(
      'Host: x',
      'Host: evil.example',
    );
    expect(await raw(url, [spoofed])).toMatch(/^HTTP\/1\.1 200 /);
    expect(upstream.heard[0]?.headers.host).toBe(new URL(upstream.url).host);
    expect(JSON.stringify(upstream.heard[0]?.headers)).not.toContain('evil');
  });

  test('two lengths for one body', async () => {
    const { url, models, upstream } = await scene();
    const body = JSON.stringify(hello);
    const smuggled = request(models.token, CHAT, body, 'Transfer-Encoding: chunked\r\n');
    expect(await raw(url, [smuggled])).toMatch(/^HTTP\/1\.1 400 /);
    expect(upstream.heard).toEqual([]);
  });

  test('of requests in one piece each is judged', async () => {
    const { url, models, upstream } = await scene();
    const body = JSON.stringify(hello);
    const denied = JSON.stringify({ ...hello, tools: [{ type: 'mcp' }] });
    const text = await raw(
      url,
      [
        request(models.token, CHAT, body) +
          request('cordon-run-other', CHAT, body) +
          request(models.token, CHAT, denied),
      ],
      (all) => (all.match(/HTTP\/1\.1 /g) ?? []).length === 3,
    );
    expect([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['200', '401', '403']);
    expect(upstream.heard).toHaveLength(1);
  });

  test('the token of another run, of a run that ended, and one in the address', async () => {
    const [one, two] = [await scene(), await scene()];
    const bearer = { authorization: `Bearer ${one.models.token}` };
    expect((await two.post(CHAT, hello, bearer)).status).toBe(401);
    await one.models.close();
    await expect(one.post(CHAT, hello)).rejects.toThrow();
    const google = `/v1beta/models/m-google:generateContent?key=${two.models.token}`;
    expect((await two.post(google, saying('gemini', 'hi'), {})).status).toBe(200);
    expect((await two.post(`/v1/files?key=${two.models.token}`, {}, {})).status).toBe(404);
    expect(JSON.stringify([two.upstream.heard, two.requested, two.unjudged])).not.toContain(two.models.token);
  });

  test('a name that stands twice: what is judged is what is sent', async () => {
    const { post, upstream } = await scene();
    const body = (first: string, last: string) =>
      `{"model":"${first}","messages":[{"role":"user","content":"hi"}],"tools":[{"type":"mcp"}],"tools":[],"model":"${last}"}`;
    expect((await post(CHAT, body('m-chat', 'm-none'))).status).toBe(404);
    expect((await post(CHAT, body('m-none', 'm-chat'))).status).toBe(200);
    const sent = upstream.heard[0]?.bytes.toString() ?? '';
    expect(sent.match(/"model"/g)).toHaveLength(1);
    expect(sent).not.toMatch(/m-none|mcp/);
  });

  test.each(names)('names of the language’s own in %s change nothing, and are not sent', async (wire) => {
    const { post, upstream } = await scene();
    const body = JSON.stringify(saying(wire, 'hi')).replace(
      /^\{/,
      '{"__proto__":{"model":"m-chat","polluted":1},"constructor":{"prototype":{"polluted":1}},',
    );
    const path = wire === 'gemini' ? '/v1beta/models/m-google:generateContent' : paths[wire];
    expect((await post(path, body)).status).toBe(200);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    expect(upstream.heard[0]?.bytes.toString()).not.toMatch(/__proto__|constructor|polluted/);
    const strange = { ...saying(wire, 'hi'), tools: [{ type: '__proto__', constructor: {} }] };
    expect((await post(path, strange)).status).toBe(403);
  });

  test.each([{ max_tokens: -1 }, { max_tokens: 1e308 }, { n: 1e9 }, { stream: 'yes' }, { model: ['m-chat'] }])(
    'a number beyond reason: %o',
    async (more) => {
      const { post, upstream } = await scene([], { llm: 'budget: {tokens: 100000}' });
      expect((await post(CHAT, { ...hello, ...more })).status).toBe(400);
      expect(upstream.heard).toEqual([]);
    },
  );
});

describe('secrets', () => {
  const SECRET = 'hunter2/+correct horse=battery"staple';
  const forms = {
    plain: SECRET,
    base64: Buffer.from(SECRET).toString('base64'),
    'base64 inside of something': Buffer.from(`x${SECRET}yz`).toString('base64'),
    base64url: Buffer.from(SECRET).toString('base64url'),
    hex: Buffer.from(SECRET).toString('hex'),
    'a URL’s': encodeURIComponent(SECRET),
    'JSON in JSON': JSON.stringify({ a: SECRET }),
  } as const;

  /** Everything that the provider was sent, in every reading of it. */
  const readings = (heard: ModelScene['upstream']['heard']) => {
    const all = heard.map(({ url, headers, bytes }) => `${url}${JSON.stringify(headers)}${bytes}`).join('\n');
    const inBase64 = [...all.matchAll(/[A-Za-z0-9+/_-]{12,}/g)].flatMap(([text]) =>
      [0, 1, 2, 3].map((from) => Buffer.from(text.slice(from), 'base64').toString('latin1')),
    );
    const inHex = [...all.matchAll(/[0-9a-f]{12,}/gi)].map(([text]) => Buffer.from(text, 'hex').toString('latin1'));
    const plain = all.replace(/\\+u([0-9a-f]{4})/gi, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));
    return [
      all,
      plain.replaceAll('\\', ''),
      decodeURIComponent(plain.replace(/%(?![0-9a-f]{2})/gi, '')),
      ...inBase64,
      ...inHex,
    ];
  };
  const expectNone = ({ upstream }: ModelScene) => {
    for (const text of readings(upstream.heard)) {
      expect(text).not.toContain(SECRET);
      expect(text).not.toContain('correct horse');
    }
  };

  const cases = names.flatMap((wire) => Object.keys(forms).map((form) => [wire, form as keyof typeof forms] as const));
  test.each(cases)('in %s, %s: never leaves', async (wire, form) => {
    const open = await scene();
    open.redactor.add('A_TOKEN', SECRET);
    const path = wire === 'gemini' ? '/v1beta/models/m-google:generateContent' : paths[wire];
    const response = await open.post(path, saying(wire, `before ${forms[form]} after`));
    expect(response.status).toBe(200);
    expect(open.upstream.heard).toHaveLength(1);
    expect(open.upstream.heard[0]?.bytes.toString()).toMatch(/before .*A_TOKEN.* after/);
    expectNone(open);
  });

  test('written with escapes in JSON, compressed, and cut over pieces of TCP', async () => {
    const open = await scene();
    open.redactor.add('A_TOKEN', SECRET);
    const escaped = [...SECRET].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
    const body = JSON.stringify(hello).replace('hello', escaped);
    expect((await open.post(CHAT, body)).status).toBe(200);
    const packed = gzipSync(JSON.stringify({ ...hello, messages: [{ role: 'user', content: SECRET }] }));
    expect(gunzipSync(packed).toString()).toContain('correct horse');
    const headers = { authorization: `Bearer ${open.models.token}`, 'content-encoding': 'gzip' };
    const zipped = await fetch(open.url + CHAT, { method: 'POST', headers, body: new Uint8Array(packed) });
    expect(zipped.status).toBe(200);
    const plain = JSON.stringify({ ...hello, messages: [{ role: 'user', content: SECRET }] });
    const pieces = [...request(open.models.token, CHAT, plain)];
    expect(await raw(open.url, pieces)).toMatch(/^HTTP\/1\.1 200 /);
    expect(open.upstream.heard).toHaveLength(3);
    expectNone(open);
  });

  test('in arguments, results, schemas, pictures, and across a translation', async () => {
    const open = await scene([], { llm: 'features: [images]' });
    open.redactor.add('A_TOKEN', SECRET);
    const call = {
      id: 'c1',
      type: 'function',
      function: { name: 'sh', arguments: JSON.stringify({ cmd: `echo '${SECRET}'` }) },
    };
    const picture = `data:image/png;base64,${Buffer.from(`\x89PNG..${SECRET}..`, 'latin1').toString('base64')}`;
    const body = {
      messages: [
        { role: 'user', content: [{ type: 'image_url', image_url: { url: picture } }] },
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'c1', content: SECRET },
      ],
      tools: [
        {
          type: 'function',
          function: { name: 'sh', description: SECRET, parameters: { type: 'object', description: SECRET } },
        },
      ],
      user: SECRET,
    };
    for (const model of ['m-chat', 'm-responses', 'm-claude', 'm-google'])
      expect((await open.post(CHAT, { model, ...body })).status).toBe(200);
    expect(open.upstream.heard).toHaveLength(4);
    expectNone(open);
  });

  test('in a name of a field: the request is refused', async () => {
    const open = await scene();
    open.redactor.add('A_TOKEN', SECRET);
    const parameters = { type: 'object', properties: { [SECRET]: { type: 'string' } } };
    const tools = [{ type: 'function', function: { name: 'sh', parameters } }];
    const response = await open.post(CHAT, { ...hello, tools });
    expect(response.status).toBe(403);
    expect(await response.text()).not.toContain(SECRET);
    expect(open.upstream.heard).toEqual([]);
  });

  test('in the address, in headers, in the model’s name', async () => {
    const open = await scene();
    const secret = 'hunter2-hunter2-2025-01-01';
    open.redactor.add('A_TOKEN', secret);
    const headers = {
      authorization: `Bearer ${open.models.token}`,
      'anthropic-beta': `${secret},context-1m-2025-08-07`,
      'anthropic-version': secret,
      'x-request-id': secret,
      'user-agent': secret,
    };
    await open.post(`/v1/messages?beta=${secret}`, saying('messages', 'hi'), headers);
    await open.post(CHAT, { ...hello, model: secret });
    expect(open.upstream.heard).toHaveLength(1);
    const { url, headers: sent } = open.upstream.heard[0] ?? {};
    expect(`${url}${JSON.stringify(sent)}`).not.toContain('hunter2');
  });
});

describe('budgets', () => {
  test('200 calls at once through two gateways of one store never spend more than there is', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cordon-budget-'));
    const path = join(folder, 'cordon.db');
    const stores = [await openStore('sqlite', { path }), await openStore('sqlite', { path })];
    closing.push(async () => {
      for (const store of stores) await store.close();
      await rm(folder, { recursive: true });
    });
    const shared = { scope: 'organisation', period: 'day', usd: null, tokens: null, requests: 30 };
    const scenes = await Promise.all(
      stores.map((store, i) => {
        const run = {
          system: { store, clock: { now: () => 1_700_000_000_000 } },
          loaded: { policy: { llm: { budgets: [shared] } } },
          request: { requester: { id: 'user:alice' } },
          repository: { name: 'acme' },
          run: { id: `run-${i}` },
        };
        const budgets = sharedBudgets(run as unknown as Parameters<typeof sharedBudgets>[0]);
        return scene([], { budgets, limits: { concurrent: 500 } });
      }),
    );
    const statuses = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const response = await (scenes[i % 2] as ModelScene).post(CHAT, hello);
        await response.text();
        return response.status;
      }),
    );
    expect(statuses.filter((status) => status === 200)).toHaveLength(30);
    expect(statuses.filter((status) => status === 429)).toHaveLength(170);
    expect(scenes.flatMap(({ upstream }) => upstream.heard)).toHaveLength(30);
  });
});
