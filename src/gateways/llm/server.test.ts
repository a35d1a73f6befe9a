import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ModelScene, modelScene, type SceneOptions } from '../../../test/fakes/model-scene.ts';
import { ModelServer, type Script } from '../../../test/fakes/models/server.ts';

const price = { input: 1, output: 2, cached: 0.1, cacheWrite: 1.25 };

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

async function scene(script: Script, more?: SceneOptions): Promise<ModelScene> {
  const open = await modelScene(script, more);
  opened.push(() => open.close());
  return open;
}

const asks = {
  chat: ['/v1/chat/completions', { model: 'm-chat', messages: [{ role: 'user', content: 'hello' }] }],
  responses: ['/v1/responses', { model: 'm-responses', input: 'hello' }],
  messages: ['/v1/messages', { model: 'm-claude', max_tokens: 50, messages: [{ role: 'user', content: 'hello' }] }],
  gemini: ['/v1beta/models/m-google:generateContent', { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] }],
} as const;

describe('what passes', () => {
  test.each(Object.keys(asks) as (keyof typeof asks)[])(
    '%s: whole answers, with the upstream’s key in place of the run’s',
    async (wire) => {
      const { post, upstream, requested, answered, models } = await scene([
        { text: 'hi', usage: { input: 20, output: 3, cached: 4 } },
      ]);
      const [path, body] = asks[wire];
      const response = await post(path, body);
      expect(response.status).toBe(200);
      expect(await response.text()).toContain('hi');
      expect(upstream.heard).toHaveLength(1);
      expect(JSON.stringify(upstream.heard[0]?.headers)).toContain('real-key-of-');
      expect(JSON.stringify(upstream.heard[0])).not.toContain(models.token);
      expect(requested).toMatchObject([{ wire, operation: 'generate', stream: false, decision: { effect: 'permit' } }]);
      expect(answered).toMatchObject([
        {
          result: 'completed',
          status: 200,
          usage: { input: 20, output: 3, cached: 4 },
          estimated: false,
          upstreamId: 'upstream-1',
        },
      ]);
    },
  );

  test.each(Object.keys(asks) as (keyof typeof asks)[])('%s: streams, byte for byte', async (wire) => {
    const turn = {
      text: 'once upon a time',
      pieces: 4,
      tools: [{ id: 'c1', name: 'shell', arguments: { cmd: 'ls' } }],
    };
    const { post, upstream, answered } = await scene([turn, turn]);
    const [path, body] = asks[wire];
    const streaming =
      wire === 'gemini'
        ? body
        : { ...body, stream: true, ...(wire === 'chat' ? { stream_options: { include_usage: true } } : {}) };
    const target = wire === 'gemini' ? '/v1beta/models/m-google:streamGenerateContent?alt=sse' : path;
    const response = await post(target, streaming);
    const through = await response.text();
    const direct = await fetch(upstream.url + target, { method: 'POST', body: JSON.stringify(streaming) });
    expect(through).toBe(await direct.text());
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    expect(answered).toMatchObject([{ result: 'completed', usage: { input: 10, output: 5 }, estimated: false }]);
  });

  test('a stream’s usage is asked for, and left out again for a caller that did not', async () => {
    const { post, upstream, answered } = await scene([{ text: 'hi' }]);
    const text = await (await post(asks.chat[0], { ...asks.chat[1], stream: true })).text();
    expect(upstream.heard[0]?.body.stream_options).toEqual({ include_usage: true });
    expect(text).not.toContain('prompt_tokens');
    expect(text).toContain('[DONE]');
    expect(answered).toMatchObject([{ usage: { input: 10, output: 5 } }]);
  });

  test('an alias reaches its model; the lists name what may be used', async () => {
    const { post, upstream, url, models } = await scene([{ text: 'hi' }]);
    await post('/v1/messages', { ...asks.messages[1], model: 'fast' });
    expect(upstream.heard[0]?.model).toBe('m-claude');
    const response = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${models.token}` } });
    const list = (await response.json()) as { data: { id: string }[] };
    expect(list.data.map((one) => one.id).sort()).toEqual(['m-chat', 'm-claude', 'm-google', 'm-responses']);
  });

  test('a connection outlasts the minutes that an agent builds and tests between two questions', async () => {
    const { url, models } = await scene([]);
    const listed = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${models.token}` } });
    expect([listed.status, listed.headers.get('keep-alive')]).toEqual([200, 'timeout=1800']);
  });

  test('tokens are counted by the upstream, and judged', async () => {
    const { post, requested } = await scene([]);
    expect(await (await post('/v1/messages/count_tokens', asks.messages[1])).json()).toEqual({ input_tokens: 7 });
    expect(requested).toMatchObject([{ operation: 'count' }]);
  });
});

describe('what does not', () => {
  test.each([
    ['no token', {}],
    ['another run’s', { authorization: 'Bearer cordon-run-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' }],
    ['a personal key', { 'x-api-key': 'sk-ant-api03-xyz' }],
  ])('%s', async (_, headers) => {
    const { post, upstream, unjudged } = await scene([]);
    const response = await post(...asks.messages, headers as Record<string, string>);
    expect(response.status).toBe(401);
    expect(upstream.heard).toEqual([]);
    expect(unjudged).toMatchObject([{ what: 'token' }]);
  });

  test.each([
    ['/v1/files', {}],
    ['/v1/batches', {}],
    ['/v1/fine_tuning/jobs', {}],
    ['/v1/messages/batches', {}],
    ['/v1/chat/completions/../files', {}],
    ['/v1beta/cachedContents', {}],
    ['/v1beta/models/m-google:streamGenerateContent', { contents: [] }],
  ])('endpoint %s', async (path, body) => {
    const { post, upstream } = await scene([]);
    expect((await post(path, body)).status).toBe(404);
    expect(upstream.heard).toEqual([]);
  });

  test.each([
    ['web search', 'messages', { tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, 'web_search'],
    [
      'a remote MCP server',
      'messages',
      { mcp_servers: [{ type: 'url', url: 'https://evil.example', name: 'x' }] },
      'remote_mcp',
    ],
    [
      'a picture by URL',
      'messages',
      {
        messages: [
          { role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'https://evil.example/?q=1' } }] },
        ],
      },
      'image_urls',
    ],
    ['code execution', 'responses', { tools: [{ type: 'code_interpreter', container: {} }] }, 'code_execution'],
    ['MCP', 'responses', { tools: [{ type: 'mcp', server_url: 'https://evil.example' }] }, 'remote_mcp'],
    ['stored answers', 'responses', { previous_response_id: 'resp_9' }, 'stored_state'],
    ['a tool nobody knows', 'responses', { tools: [{ type: 'teleport' }] }, 'other_tools'],
    [
      'a picture by URL',
      'chat',
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://evil.example/' } }] }] },
      'image_urls',
    ],
    ['a search', 'gemini', { tools: [{ google_search: {} }] }, 'web_search'],
    [
      'a file by URL',
      'gemini',
      { contents: [{ parts: [{ fileData: { fileUri: 'https://evil.example' } }] }] },
      'file_urls',
    ],
  ] as const)('%s in %s, unless it is named', async (_, wire, more, feature) => {
    const without = await scene([]);
    const [path, body] = asks[wire];
    const response = await without.post(path, { ...body, ...more });
    expect(response.status).toBe(403);
    expect(await response.text()).toContain(`features: [${feature}]`);
    expect(without.upstream.heard).toEqual([]);
    const named = await scene([{ text: 'ok' }], { llm: `features: [${feature}]` });
    expect((await named.post(path, { ...body, ...more })).status).toBe(200);
    expect(named.requested).toMatchObject([{ features: [feature] }]);
  });

  test('fields that nobody knows are not passed on, and recorded', async () => {
    const { post, upstream, requested } = await scene([{ text: 'hi' }]);
    await post(asks.chat[0], { ...asks.chat[1], plugins: [{ id: 'web' }] });
    expect(upstream.heard[0]?.body).not.toHaveProperty('plugins');
    expect(requested).toMatchObject([{ dropped: ['plugins'] }]);
  });

  test('a model the policy does not name is recorded and refused in the caller’s words', async () => {
    const { post, requested, answered, upstream } = await scene([], { model: { name: 'x-large' } });
    const response = await post('/v1/messages', { ...asks.messages[1], model: 'claude/x-large' });
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ type: 'error', error: { type: 'permission_error' } });
    expect(requested).toMatchObject([{ decision: { effect: 'deny' } }]);
    expect(answered).toMatchObject([{ result: 'denied' }]);
    expect(upstream.heard).toEqual([]);
  });

  test.each([
    ['no JSON', 'hello', 400],
    ['no object', '[1]', 400],
    ['nested without end', `${'[{"a":'.repeat(300)}1${'}]'.repeat(300)}`, 400],
    ['too large', JSON.stringify({ model: 'm-chat', messages: [{ role: 'user', content: 'x'.repeat(5000) }] }), 413],
    ['no messages', '{"model":"m-chat"}', 400],
    ['a model that is none', '{"model":7,"messages":[]}', 400],
  ])('%s', async (_, body, status) => {
    const { post, upstream } = await scene([], { llm: 'max_request: 4kb' });
    expect((await post('/v1/chat/completions', body)).status).toBe(status);
    expect(upstream.heard).toEqual([]);
  });
});

describe('secrets', () => {
  const secret = 'tr0ub4dor-and-3-more';
  const forms = {
    plain: secret,
    base64: Buffer.from(`x${secret}`).toString('base64'),
    hex: Buffer.from(secret).toString('hex'),
    'JSON escapes': secret,
  };

  test.each(Object.keys(forms) as (keyof typeof forms)[])('%s: replaced before anything leaves', async (form) => {
    const { post, upstream, redactor, requested } = await scene([{ text: 'hi' }]);
    redactor.add('DB_PASSWORD', secret);
    let body = JSON.stringify({ ...asks.chat[1], messages: [{ role: 'user', content: `it is ${forms[form]}.` }] });
    if (form === 'JSON escapes')
      body = body.replace(secret, [...secret].map((c) => `\\u00${c.charCodeAt(0).toString(16)}`).join(''));
    expect((await post('/v1/chat/completions', body)).status).toBe(200);
    expect(upstream.heard[0]?.bytes.toString()).not.toContain(forms[form]);
    expect(upstream.heard[0]?.bytes.toString()).toContain('[secret:DB_PASSWORD]');
    expect(requested).toMatchObject([{ redacted: { DB_PASSWORD: 1 } }]);
  });

  test('or refused, where the policy says so; and always where it cannot be taken out', async () => {
    const refusing = await scene([], { llm: 'secrets: refuse' });
    const token = `ghp_${'a1B2'.repeat(9)}`;
    const body = { ...asks.chat[1], messages: [{ role: 'user', content: token }] };
    expect((await refusing.post('/v1/chat/completions', body)).status).toBe(403);
    expect(refusing.upstream.heard).toEqual([]);
    const { post, upstream, redactor } = await scene([]);
    redactor.add('DB_PASSWORD', secret);
    expect((await post('/v1/chat/completions', { ...asks.chat[1], metadata: { [secret]: 1 } })).status).toBe(403);
    expect(upstream.heard).toEqual([]);
  });
});

describe('budgets', () => {
  test('200 at once never go beyond it', async () => {
    const llm = 'budget: {requests: 20, tokens: 100000}';
    const { post, upstream } = await scene(() => ({ text: 'hi', drip: 20 }), { llm, limits: { concurrent: 500 } });
    const statuses = await Promise.all(Array.from({ length: 200 }, async () => (await post(...asks.chat)).status));
    expect(statuses.filter((status) => status === 200)).toHaveLength(20);
    expect(statuses.filter((status) => status === 429)).toHaveLength(180);
    expect(upstream.heard).toHaveLength(20);
  });

  test('money: reserved at the most, settled at what was used, warned of at 80 %', async () => {
    const llm = 'budget: {usd: 0.01}';
    const turn = { text: 'x', usage: { input: 2000, output: 3000 } };
    const { post, answered, notices, upstream } = await scene(() => turn, { llm, model: { price, maxOutput: 100 } });
    expect((await post(...asks.chat)).status).toBe(200);
    expect(upstream.heard[0]?.body.max_completion_tokens).toBe(100);
    expect(answered).toMatchObject([{ nanoUsd: 8_000_000 }]);
    expect(notices).toEqual([expect.stringContaining('80 %')]);
    expect((await post(...asks.chat)).status).toBe(200);
    const third = await post(...asks.chat);
    expect(third.status).toBe(429);
    expect(third.headers.get('x-should-retry')).toBe('false');
    expect(await third.text()).toContain('the budget of this run is $0.01');
  });

  test('a model without a price, where money counts', async () => {
    const { post, upstream } = await scene([], { llm: 'budget: {usd: 1}' });
    expect((await post(...asks.chat)).status).toBe(403);
    expect(upstream.heard).toEqual([]);
  });

  test('an answer that breaks off is estimated, and marked so', async () => {
    const { post, answered } = await scene([{ text: 'word '.repeat(100), pieces: 50, cutAfter: 20, drip: 1 }]);
    const response = await post(asks.messages[0], { ...asks.messages[1], stream: true });
    await response.text().catch(() => '');
    await expect.poll(() => answered).toMatchObject([{ result: 'cut', usage: { input: 10 }, estimated: true }]);
    const chat = await scene([{ text: 'word '.repeat(100), pieces: 50, cutAfter: 20, drip: 1 }]);
    await (await chat.post(asks.chat[0], { ...asks.chat[1], stream: true })).text().catch(() => '');
    await expect.poll(() => chat.answered).toMatchObject([{ result: 'cut', estimated: true }]);
  });
});

describe('providers that fail', () => {
  let unused: ModelServer;
  beforeEach(async () => {
    unused = await new ModelServer([]).start();
    await unused.close();
  });

  test.each([500, 503, 529])('%i: asked again, visibly, until it answers', async (status) => {
    const error = { status, message: 'overloaded' };
    const { post, answered, notices, upstream } = await scene([{ error }, { error }, { text: 'hi' }]);
    expect((await post(...asks.messages)).status).toBe(200);
    expect(upstream.heard).toHaveLength(3);
    expect(answered).toMatchObject([{ result: 'completed', attempts: 3 }]);
    expect(notices).toHaveLength(2);
  });

  test('patience ends, and the caller hears of it in its own words', async () => {
    const { post, answered } = await scene(() => ({ error: { status: 529, message: 'overloaded' } }));
    const response = await post(...asks.messages);
    expect(response.status).toBe(529);
    expect(await response.json()).toMatchObject({ error: { type: 'overloaded_error', message: 'overloaded' } });
    expect(answered).toMatchObject([{ result: 'failed', status: 529 }]);
  });

  test('429 goes to the caller at once, with the time to wait', async () => {
    const error = { status: 429, message: 'slow down', headers: { 'retry-after': '7' } };
    const { post, upstream } = await scene([{ error }]);
    const response = await post(...asks.chat);
    expect(response.status).toBe(429);
    expect(response.headers.get('retry-after')).toBe('7');
    expect(upstream.heard).toHaveLength(1);
  });

  test('a refused key shows nothing of it', async () => {
    const { post } = await scene([{ error: { status: 401, message: 'Incorrect API key provided: real-key-of-chat' } }]);
    const response = await post(...asks.chat);
    expect(response.status).toBe(502);
    expect(await response.text()).not.toContain('real-key');
  });

  test.each([
    ['compressed', { 'content-type': 'application/json', 'content-encoding': 'gzip' }, 'xxxx'],
    ['no JSON', { 'content-type': 'application/json' }, '<html>'],
    ['a redirect’s page', { 'content-type': 'text/html' }, '"text"'],
  ])('an answer that is none: %s', async (_, headers, body) => {
    const { post, answered } = await scene([{ raw: { status: 200, headers, body: Buffer.from(body) } }]);
    expect((await post(...asks.chat)).status).toBe(502);
    expect(answered).toMatchObject([{ result: 'cut' }]);
  });

  test('JSON where a stream was asked for', async () => {
    const { post } = await scene([
      { raw: { status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from('{}') } },
    ]);
    expect((await post(asks.chat[0], { ...asks.chat[1], stream: true })).status).toBe(502);
  });

  test('a caller that goes away takes the request with it', async () => {
    const { url, models, upstream, answered } = await scene([{ text: 'a '.repeat(1000), pieces: 1000, drip: 5 }]);
    const going = new AbortController();
    const response = await fetch(`${url}${asks.chat[0]}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${models.token}` },
      body: JSON.stringify({ ...asks.chat[1], stream: true }),
      signal: going.signal,
    });
    await response.body?.getReader().read();
    going.abort();
    await expect.poll(() => answered).toMatchObject([{ result: 'cancelled', estimated: true }]);
    await expect.poll(() => upstream.gone).toBe(1);
  });

  test('the end of the run ends what is open, and its token', async () => {
    const { post, models, answered, upstream } = await scene([{ text: 'a '.repeat(1000), pieces: 1000, drip: 5 }]);
    const response = await post(asks.chat[0], { ...asks.chat[1], stream: true });
    const rest = response.text().catch(() => 'broken');
    await models.close();
    expect(answered).toMatchObject([{ result: 'cancelled' }]);
    await rest;
    await expect.poll(() => upstream.gone).toBe(1);
    await expect(post(...asks.chat)).rejects.toThrow();
  });
});
