/** Requests to models that say one thing to the gateway and another to the provider, and what is known of those that are refused. */
import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { modelScenes } from '../fakes/model-scene.ts';
import { raw, request } from './raw-http.ts';

const { closing, scene } = modelScenes();

const asks = {
  chat: ['/v1/chat/completions', { model: 'm-chat', messages: [{ role: 'user', content: 'hello' }] }],
  responses: ['/v1/responses', { model: 'm-responses', input: 'hello' }],
  messages: ['/v1/messages', { model: 'm-claude', max_tokens: 50, messages: [{ role: 'user', content: 'hello' }] }],
  gemini: ['/v1beta/models/m-google:generateContent', { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] }],
} as const;
type WireName = keyof typeof asks;
const names = Object.keys(asks) as WireName[];
const FAR = 'https://evil.example/?q=1';

describe('what wants more than it shows', () => {
  const nested = (content: object) => ({ messages: [{ role: 'user', content: [content] }] });
  const deep = (levels: number, inner: object): object =>
    levels === 0 ? inner : { type: 'tool_result', tool_use_id: 't', content: [deep(levels - 1, inner)] };
  const picture = { type: 'image', source: { type: 'url', url: FAR } };
  const mcp = { type: 'mcp', server_url: FAR, server_label: 'x' };

  test.each([
    ['a picture by address in a result in a result', 'messages', nested(deep(6, picture)), 'image_urls'],
    [
      'a picture by address in a document',
      'messages',
      nested({ type: 'document', source: { type: 'content', content: [picture] } }),
      'image_urls',
    ],
    [
      'a document of a search',
      'messages',
      nested({
        type: 'web_fetch_tool_result',
        content: { type: 'x', content: { type: 'document', source: { type: 'url' } } },
      }),
      'file_urls',
    ],
    [
      'a picture of no known kind',
      'messages',
      nested({ type: 'image', source: { type: 's3', uri: 's3://x' } }),
      'image_urls',
    ],
    ['a picture without a source', 'messages', nested({ type: 'image', url: FAR }), 'image_urls'],
    ['servers that are no list', 'messages', { mcp_servers: { url: FAR } }, 'remote_mcp'],
    ['a tool whose type is no text', 'messages', { tools: [{ type: { toString: 1 }, name: 'x' }] }, 'other_tools'],
    ['the fast service', 'messages', { speed: 'fast' }, 'priority_service'],
    ['an edit of memory in a container', 'messages', { container: 'container_1' }, 'code_execution'],
    [
      'a hosted tool in a group',
      'responses',
      { tools: [{ type: 'namespace', name: 'n', tools: [mcp] }] },
      'remote_mcp',
    ],
    [
      'a hosted tool in the result of a search',
      'responses',
      { input: [{ type: 'tool_search_output', call_id: 'c', tools: [mcp] }] },
      'remote_mcp',
    ],
    [
      'a screenshot by address',
      'responses',
      {
        input: [
          { type: 'computer_call_output', call_id: 'c', output: { type: 'computer_screenshot', image_url: FAR } },
        ],
      },
      'image_urls',
    ],
    [
      'a picture by address in a result',
      'responses',
      { input: [{ type: 'function_call_output', call_id: 'c', output: [{ type: 'input_image', image_url: FAR }] }] },
      'image_urls',
    ],
    [
      'a picture that calls itself text',
      'responses',
      { input: [{ role: 'user', content: [{ type: 'input_text', text: 'x', image_url: FAR }] }] },
      'image_urls',
    ],
    [
      'a file beside a picture',
      'responses',
      {
        input: [
          { role: 'user', content: [{ type: 'input_image', image_url: 'data:image/png;base64,AA', file_id: 'f' }] },
        ],
      },
      'stored_state',
    ],
    ['a bare id', 'responses', { input: [{ id: 'msg_of_somebody_else' }] }, 'stored_state'],
    ['an id without a type', 'responses', { input: [{ id: 'msg_of_somebody_else', type: null }] }, 'stored_state'],
    ['the dear service', 'responses', { service_tier: 'priority' }, 'priority_service'],
    ['the dear service', 'chat', { service_tier: 'priority' }, 'priority_service'],
    ['sound', 'chat', { modalities: ['text', 'audio'] }, 'audio'],
    ['what was said before', 'chat', { messages: [{ role: 'assistant', audio: { id: 'audio_1' } }] }, 'audio'],
    [
      'a picture in a result',
      'gemini',
      { contents: [{ parts: [{ functionResponse: { name: 'f', parts: [{ fileData: { fileUri: FAR } }] } }] }] },
      'file_urls',
    ],
    [
      'pictures as answers',
      'gemini',
      { generationConfig: { responseModalities: ['TEXT', 'IMAGE'] } },
      'image_generation',
    ],
    [
      'pictures as answers, in no list',
      'gemini',
      { generationConfig: { responseModalities: 'IMAGE' } },
      'image_generation',
    ],
    ['sound, in no list', 'chat', { modalities: 'audio' }, 'audio'],
    [
      'a picture in a text',
      'chat',
      { messages: [{ role: 'user', content: [{ type: 'text', text: 'x', image_url: { url: FAR } }] }] },
      'other_tools',
    ],
    ['a picture beside the messages', 'responses', { input: [{ type: 'input_image', image_url: FAR }] }, 'image_urls'],
    [
      'a tool that begins like one of the caller’s',
      'messages',
      { tools: [{ type: 'bash_code_execution_20250825', name: 'x' }] },
      'other_tools',
    ],
    ['a tool in the other spelling', 'gemini', { tools: [{ url_context: {} }] }, 'web_fetch'],
  ] as const)('%s in %s', async (_, wire, more, feature) => {
    const { post, upstream, unjudged } = await scene([], { llm: 'features: [files]' });
    const [path, body] = asks[wire];
    const response = await post(path, { ...body, ...more });
    expect([response.status, await response.text()]).toEqual([403, expect.stringContaining(`features: [${feature}]`)]);
    expect(unjudged).toMatchObject([{ what: feature }]);
    expect(upstream.heard).toEqual([]);
  });

  test.each([
    ['chat', { messages: [['x']] }],
    ['chat', { messages: [{ role: 'user', content: { type: 'image_url', image_url: { url: FAR } } }] }],
    ['chat', { messages: [{ role: 'user', content: [[{ type: 'image_url', image_url: { url: FAR } }]] }] }],
    ['chat', { tools: { type: 'mcp' } }],
    ['chat', { store: 'true' }],
    ['responses', { input: [[{ type: 'item_reference', id: 'x' }]] }],
    ['responses', { tools: { 0: { type: 'mcp' } } }],
    ['responses', { background: 'true' }],
    ['messages', { messages: [[picture]] }],
    ['messages', { tools: [['web_search_20250305']] }],
    ['gemini', { contents: [[{ parts: [{ fileData: { fileUri: FAR } }] }]] }],
    ['gemini', { systemInstruction: {}, system_instruction: { parts: [{ fileData: { fileUri: FAR } }] } }],
    [
      'gemini',
      { contents: [{ parts: [{ inlineData: { mimeType: 'text/x' }, inline_data: { mime_type: 'image/png' } }] }] },
    ],
    ['gemini', { contents: [{ parts: [{ functionResponse: [{ parts: [{ fileData: { fileUri: FAR } }] }] }] }] }],
    ['gemini', { contents: [{ parts: [{ inlineData: [{ mimeType: 'image/png', data: 'AA==' }] }] }] }],
    ['gemini', { generationConfig: {}, generation_config: { maxOutputTokens: 1_000_000 } }],
    ['gemini', { generationConfig: { maxOutputTokens: 1, max_output_tokens: '999' } }],
  ] as const)('%s of a shape that could be read in two ways: %j', async (wire, more) => {
    const { post, upstream, unjudged } = await scene();
    const [path, body] = asks[wire];
    expect((await post(path, { ...body, ...more })).status).toBe(400);
    expect(upstream.heard).toEqual([]);
    expect(unjudged).toMatchObject([{ what: 'invalid_request' }]);
  });

  test('answers and prompts are not left with the provider', async () => {
    const { post, upstream } = await scene();
    await post(asks.responses[0], { ...asks.responses[1], store: true, prompt_cache_retention: '24h' });
    await post(asks.chat[0], { ...asks.chat[1], extra_body: { store: true }, prediction: { type: 'content' } });
    expect(upstream.heard[0]?.body).toMatchObject({ store: false });
    expect(upstream.heard[0]?.body).not.toHaveProperty('prompt_cache_retention');
    expect(Object.keys(upstream.heard[1]?.body).sort()).toEqual(['messages', 'model']);
  });
});

describe('budgets that are talked down', () => {
  const price = { input: 10, output: 10, cached: 1, cacheWrite: 12.5 };

  test.each([
    ['the smaller of two limits', 'chat', { max_completion_tokens: 1, max_tokens: 60_000 }],
    ['many answers', 'chat', { max_tokens: 1000, n: 60 }],
    [
      'a summing-up before the answer',
      'messages',
      { max_tokens: 40_000, context_management: { edits: [{ type: 'compact_20260112' }] } },
    ],
    [
      'a usage report that is turned off',
      'chat',
      { max_tokens: 60_000, stream: true, stream_options: { include_usage: false } },
    ],
    ['a number as text', 'gemini', { generationConfig: { maxOutputTokens: '60000' } }],
  ] as const)('by %s', async (_, wire, more) => {
    const { post, upstream } = await scene([], { llm: 'budget: {tokens: 50000}', model: { maxOutput: 60_000 } });
    const [path, body] = asks[wire];
    expect([400, 429]).toContain((await post(path, { ...body, ...more })).status);
    expect(upstream.heard).toEqual([]);
  });

  test('what is kept for an hour costs more, and is told apart', async () => {
    const usage = {
      input_tokens: 0,
      cache_read_input_tokens: 0,
      cache_creation_input_tokens: 1000,
      cache_creation: { ephemeral_5m_input_tokens: 400, ephemeral_1h_input_tokens: 600 },
      output_tokens: 10,
    };
    const whole = { type: 'message', role: 'assistant', model: 'm', content: [], stop_reason: 'end_turn', usage };
    const body = Buffer.from(JSON.stringify(whole));
    const raw = { status: 200, headers: { 'content-type': 'application/json' }, body };
    const { post, answered } = await scene([{ raw }], { model: { price } });
    await post(...asks.messages);
    // 400 at 12.5, 600 at 20, 10 at 10, in nano-dollars a token times a thousand.
    expect(answered).toMatchObject([{ usage: { cacheWrite: 1000, cacheWriteLong: 600 }, nanoUsd: 17_100_000 }]);
  });

  test('at four fifths there is one warning, for the person and the record', async () => {
    const { post, warned, notices } = await scene([], { llm: 'budget: {requests: 10}' });
    for (let i = 0; i < 11; i++) await (await post(...asks.chat)).text();
    expect(warned).toEqual([{ budget: 'this run', percent: 80 }]);
    expect(notices).toEqual(['80 % of the budget of this run for language models is used']);
  });
});

describe('no refusal without an event', () => {
  const SECRET = 'hunter2-correct-horse';
  test.each([
    ['no JSON', 'chat', '{', {}, 'invalid_request', /no JSON|not JSON/],
    ['no messages', 'chat', { model: 'm-chat' }, {}, 'invalid_request', /messages/],
    ['too large', 'chat', 'x'.repeat(5000), { llm: 'max_request: 4kb' }, 'invalid_request', /4096/],
    ['a model nobody has', 'chat', { model: 'nope', messages: [] }, {}, 'model_not_found', /nope/],
    [
      'what the provider has no words for',
      'chat',
      { model: 'm-claude', messages: [], n: 3 },
      {},
      'invalid_request',
      /n /,
    ],
    [
      'a secret in a name',
      'chat',
      { model: 'm-chat', messages: [], metadata: { [SECRET]: 'x' } },
      {},
      'secret_in_prompt',
      /cannot be taken out/,
    ],
    [
      'a secret, where the policy refuses',
      'chat',
      { model: 'm-chat', messages: [{ role: 'user', content: SECRET }] },
      { llm: 'secrets: refuse' },
      'secret_in_prompt',
      /secrets: refuse/,
    ],
  ] as const)('%s', async (_, wire, body, more, what, detail) => {
    const { post, unjudged, redactor, upstream } = await scene([], more);
    redactor.add('A_TOKEN', SECRET);
    expect((await post(asks[wire][0], body)).status).toBeGreaterThanOrEqual(400);
    expect(unjudged).toEqual([{ what, detail: expect.stringMatching(detail) }]);
    expect(upstream.heard).toEqual([]);
  });

  test('one that is refused after its decision has its outcome, and nothing besides', async () => {
    const { post, unjudged, answered } = await scene([], { llm: 'budget: {requests: 0}' });
    expect((await post(...asks.chat)).status).toBe(429);
    expect([unjudged, answered.length]).toEqual([[], 1]);
  });

  test('a program that asks for nothing but refusals is slowed down, and stays in the record', async () => {
    const { post, unjudged } = await scene([], { limits: { refusals: 3, brake: 60_000 } });
    for (let i = 0; i < 3; i++) expect((await post('/v1/files', {})).status).toBe(404);
    let answered = false;
    const fourth = post('/v1/files', {}).then(
      () => (answered = true),
      () => {},
    );
    await expect.poll(() => unjudged.length).toBe(4);
    expect(answered).toBe(false);
    for (const close of closing.splice(0).reverse()) await close();
    await fourth;
  });

  test('of a crowd the first is for the record, and one of each thousand', async () => {
    const open = await scene(() => ({ text: 'slow', drip: 50 }), { limits: { concurrent: 4 } });
    const statuses = await Promise.all(
      Array.from({ length: 60 }, async () => {
        const response = await open.post(...asks.chat);
        await response.text();
        return response.status;
      }),
    );
    expect(new Set(statuses)).toEqual(new Set([200, 429]));
    expect(open.unjudged).toMatchObject([{ what: 'too_many_requests' }]);
  });
});

describe('a provider that fails in the middle of its answer', () => {
  const turn = { text: 'once upon a time', pieces: 4, failAfter: { events: 3, message: 'the furnace is cold' } };
  const isError = (data: string) => {
    const event = JSON.parse(data);
    return event.type === 'error' || event.type === 'response.failed' || (event.error ?? null) !== null;
  };

  test.each(names.flatMap((from) => names.map((to) => [from, to] as const)))(
    '%s from %s: is told once, in words of the caller’s, and the stream ends',
    async (from, to) => {
      const { post, answered } = await scene(() => turn);
      const model = { chat: 'm-chat', responses: 'm-responses', messages: 'm-claude', gemini: 'm-google' }[to];
      const [path, body] = asks[from];
      const response =
        from === 'gemini'
          ? await post(`/v1beta/models/${model}:streamGenerateContent?alt=sse`, body)
          : await post(path, { ...body, model, stream: true });
      const text = await response.text();
      const events = [...text.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => data as string);
      expect(events.filter(isError)).toHaveLength(1);
      expect(isError(events.at(-1) as string)).toBe(true);
      expect(text.match(/the furnace is cold/g)).toHaveLength(1);
      expect(text).not.toMatch(/\[DONE\]|message_stop|response\.completed|finishReason/);
      expect(answered).toMatchObject([{ result: 'failed', estimated: true }]);
      expect(answered[0]?.reason).not.toContain('furnace');
    },
  );
});

describe('requests that cost the gateway more than their sender', () => {
  test('a million empty lists', async () => {
    const { post, upstream } = await scene();
    const body = `{"model":"m-chat","messages":[],"metadata":[${'[],'.repeat(1_500_000)}[]]}`;
    expect((await post(asks.chat[0], body)).status).toBe(413);
    const text = JSON.stringify({ ...asks.chat[1], messages: [{ role: 'user', content: '\\",[{'.repeat(400_000) }] });
    expect((await post(asks.chat[0], text)).status).toBe(200);
    expect(upstream.heard).toHaveLength(1);
  });

  test('bodies that are each permitted, and together too much', async () => {
    const { url, models, post } = await scene([], { llm: 'max_request: 1mb', limits: { bodies: 1 << 20 } });
    const head = `POST ${asks.chat[0]} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${models.token}\r\nContent-Length: 1000000\r\n\r\n`;
    const sockets: Socket[] = [];
    for (let i = 0; i < 3; i++) {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      sockets.push(socket);
      socket.on('error', () => {});
      socket.write(head + 'x'.repeat(900_000));
    }
    const answers = await Promise.race(sockets.map((socket) => new Promise((resolve) => socket.once('data', resolve))));
    expect(String(answers)).toMatch(/^HTTP\/1\.1 429 [\s\S]*too_many_bytes|insufficient_quota/);
    for (const socket of sockets) socket.destroy();
    await expect.poll(async () => (await post(...asks.chat)).status).toBe(200);
  });

  test('small ones that grow when they are unpacked', async () => {
    const { url, models } = await scene(() => ({ text: 'slow', drip: 1000 }), {
      llm: 'max_request: 8mb',
      limits: { bodies: 1 << 20 },
    });
    const headers = { authorization: `Bearer ${models.token}`, 'content-encoding': 'gzip' };
    const bodies = Array.from({ length: 8 }, () => gzipSync(`${JSON.stringify(asks.chat[1])}${' '.repeat(7 << 20)}`));
    const statuses = await Promise.all(
      bodies.map(
        async (body) =>
          (await fetch(url + asks.chat[0], { method: 'POST', headers, body: new Uint8Array(body) })).status,
      ),
    );
    expect(new Set(statuses)).toEqual(new Set([200, 429]));
  });

  test('a header of blanks', async () => {
    const { url, models } = await scene();
    const body = JSON.stringify(asks.messages[1]);
    const blanks = `anthropic-beta: a${' '.repeat(15_000)}b\r\nanthropic-version: a${'\t '.repeat(7000)}b\r\n`;
    expect(await raw(url, [request(models.token, asks.messages[0], body, blanks)])).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('a thousand connections that never finish their head leave room for one that does', async () => {
    const { url, models, upstream } = await scene([], { limits: { requestHeadTime: 1000 } });
    const closed: Promise<unknown>[] = [];
    await Promise.all(
      Array.from({ length: 1000 }, () => {
        const socket = connect(Number(new URL(url).port), '127.0.0.1');
        // The first of them may be over before the last is connected.
        closed.push(new Promise((resolve) => socket.resume().on('close', resolve)));
        socket.write(`POST ${asks.chat[0]} HTTP/1.1\r\nHost: x\r\nX-Slow: `);
        return new Promise<void>((resolve, reject) => socket.on('connect', resolve).on('error', reject));
      }),
    );
    const honest = request(models.token, asks.chat[0], JSON.stringify(asks.chat[1]));
    expect(await raw(url, [honest])).toMatch(/^HTTP\/1\.1 200 /);
    expect(upstream.heard).toHaveLength(1);
    await Promise.all(closed);
  });

  test.each([
    ['HTTP/1.0', 'POST /v1/chat/completions HTTP/1.0', ''],
    ['a method in small letters', 'post /v1/chat/completions HTTP/1.1', ''],
    ['TRACE', 'TRACE /v1/chat/completions HTTP/1.1', ''],
    ['CONNECT', 'CONNECT evil.example:443 HTTP/1.1', ''],
    ['another path in capitals', 'POST /V1/FILES HTTP/1.1', ''],
    ['another method in a header', 'GET /v1/files HTTP/1.1', 'X-HTTP-Method-Override: POST\r\n'],
    ['a path in a header', 'POST /v1/nothing HTTP/1.1', 'X-Original-URL: /v1/chat/completions\r\n'],
    ['an upgrade', 'GET /v1/responses HTTP/1.1', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'],
    [
      'an upgrade to HTTP/2',
      'POST /v1/chat/completions HTTP/1.1',
      'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n',
    ],
    ['a length twice', 'POST /v1/chat/completions HTTP/1.1', 'Content-Length: 1\r\n'],
    ['chunks in two codings', 'POST /v1/chat/completions HTTP/1.1', 'Transfer-Encoding: chunked, identity\r\n'],
  ])('%s gets no further than its words', async (what, line, headers) => {
    const { url, models, upstream } = await scene();
    const body = JSON.stringify(asks.chat[1]);
    const text = request(models.token, '/', body, headers).replace(/^.*\r\n/, `${line}\r\n`);
    const answer = await raw(url, [text]);
    if (what === 'HTTP/1.0') expect(answer).toMatch(/^HTTP\/1\.[01] 200 /);
    else {
      expect(answer).not.toMatch(/ 200 /);
      expect(upstream.heard).toEqual([]);
    }
  });

  test('a token that stands twice: one that is right is enough, two that are wrong are not', async () => {
    const { url, models, upstream } = await scene();
    const body = JSON.stringify(asks.chat[1]);
    const twice = (first: string, second: string) => request(first, asks.chat[0], body, `X-Api-Key: ${second}\r\n`);
    expect(await raw(url, [twice('wrong', `${models.token}x`)])).toMatch(/^HTTP\/1\.1 401 /);
    expect(await raw(url, [twice('wrong', models.token)])).toMatch(/^HTTP\/1\.1 200 /);
    expect(JSON.stringify(upstream.heard.map(({ headers }) => headers))).not.toContain(models.token);
  });

  test.each([
    'm‑chat',
    'м-chat',
    'm-chat\u0000',
    'm-chat\u200b',
    'M-CHAT',
    ' m-chat',
    'm-chat\n',
    'chat//m-chat',
    'x'.repeat(300),
  ])('the name %j is no other name of a model', async (model) => {
    const { post, upstream } = await scene();
    expect([400, 404]).toContain((await post(asks.chat[0], { ...asks.chat[1], model })).status);
    expect(upstream.heard).toEqual([]);
  });
});
