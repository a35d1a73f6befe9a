/** Thoughts, and programs in place of calls: exact where caller and provider speak the same protocol, left out or said otherwise elsewhere. */
import { afterEach, describe, expect, test } from 'vitest';
import { type ModelScene, modelScene } from '../../../../test/fakes/model-scene.ts';
import { ModelServer, type Script } from '../../../../test/fakes/models/server.ts';
import { SIGNATURE, type Turn } from '../../../../test/fakes/models/turn.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function scene(script: Script): Promise<ModelScene> {
  const open = await modelScene(script);
  closing.push(() => open.close());
  return open;
}

const user = { role: 'user', content: 'hello' };
const asks = {
  chat: ['/v1/chat/completions', { messages: [user], stream_options: { include_usage: true } }],
  responses: ['/v1/responses', { input: 'hello' }],
  messages: ['/v1/messages', { max_tokens: 50, messages: [user] }],
  gemini: ['', { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] }],
} as const;
type WireName = keyof typeof asks;
const names = Object.keys(asks) as WireName[];
const models = { chat: 'm-chat', responses: 'm-responses', messages: 'm-claude', gemini: 'm-google' } as const;
const thinking: Turn = {
  thoughts: 'the user greets me',
  text: 'good day',
  tools: [
    { id: 'c1', name: 'ls', arguments: { at: '/' } },
    { id: 'c2', name: 'ls', arguments: { at: '/etc' } },
  ],
  usage: { input: 30, output: 9, cached: 20 },
};

function ask({ post }: Pick<ModelScene, 'post'>, from: WireName, to: WireName, stream: boolean, more: object = {}) {
  const [path, body] = asks[from];
  const model = models[to];
  if (from === 'gemini')
    return post(`/v1beta/models/${model}:${stream ? 'streamGenerateContent?alt=sse' : 'generateContent'}`, {
      ...body,
      ...more,
    });
  const { stream_options: options, ...rest } = body as { stream_options?: object };
  return post(path, {
    model,
    ...rest,
    ...(stream ? { stream, ...(options && { stream_options: options }) } : {}),
    ...more,
  });
}

describe('of an answer', () => {
  test.each(names.flatMap((wire) => [true, false].map((stream) => [wire, stream] as const)))(
    '%s pass as they are to callers that speak it; stream: %s',
    async (wire, stream) => {
      const open = await scene(() => thinking);
      const direct = await new ModelServer(() => thinking).start();
      closing.push(() => direct.close());
      const through = await (await ask(open, wire, wire, stream)).text();
      const post = (path: string, body: unknown) =>
        fetch(direct.url + path, { method: 'POST', body: JSON.stringify(body) });
      expect(through).toBe(await (await ask({ post }, wire, wire, stream)).text());
      expect(through).toContain('the user greets me');
      expect(open.answered).toMatchObject([{ usage: { input: 30, output: 9, cached: 20 }, estimated: false }]);
    },
  );

  const pairs = names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to] as const));
  test.each(pairs.flatMap(([from, to]) => [true, false].map((stream) => [from, to, stream] as const)))(
    '%s does not hear those of %s, and hears all else; stream: %s',
    async (from, to, stream) => {
      const open = await scene(() => thinking);
      const response = await ask(open, from, to, stream);
      const text = await response.text();
      expect(response.status, text).toBe(200);
      expect(text).not.toMatch(/greets me/);
      expect(text).not.toContain(SIGNATURE);
      expect(text).toContain('good day');
      expect(text).toContain('/etc');
      expect(open.answered).toMatchObject([{ result: 'completed', usage: { input: 30, output: 9, cached: 20 } }]);
    },
  );
});

describe('in the history', () => {
  const history: Readonly<Record<'responses' | 'messages' | 'gemini', object>> = {
    messages: {
      system: [{ type: 'text', text: 'be kind', cache_control: { type: 'ephemeral', ttl: '1h' } }],
      thinking: { type: 'enabled', budget_tokens: 1024 },
      max_tokens: 2000,
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'hello', cache_control: { type: 'ephemeral' } }] },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'hm', signature: SIGNATURE },
            { type: 'redacted_thinking', data: SIGNATURE },
            { type: 'tool_use', id: 'c1', name: 'ls', input: {} },
            { type: 'tool_use', id: 'c2', name: 'ls', input: {} },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'c1', content: 'a', cache_control: { type: 'ephemeral' } },
            { type: 'tool_result', tool_use_id: 'c2', content: [{ type: 'text', text: 'b' }], is_error: true },
          ],
        },
      ],
    },
    responses: {
      store: false,
      include: ['reasoning.encrypted_content'],
      input: [
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hello' }] },
        { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: SIGNATURE },
        {
          type: 'custom_tool_call',
          id: 'ctc_1',
          call_id: 'c1',
          name: 'exec',
          namespace: 'functions',
          input: 'text(1)',
        },
        { type: 'custom_tool_call_output', call_id: 'c1', output: [{ type: 'input_text', text: '1' }] },
      ],
    },
    gemini: {
      contents: [
        { role: 'user', parts: [{ text: 'hello' }] },
        {
          role: 'model',
          parts: [
            { text: 'hm', thought: true },
            { functionCall: { name: 'ls', args: {} }, thoughtSignature: SIGNATURE },
          ],
        },
        { role: 'user', parts: [{ functionResponse: { name: 'ls', response: { output: 'a' } } }] },
      ],
    },
  };

  test.each(Object.keys(history) as (keyof typeof history)[])('%s: reach the provider as they are', async (wire) => {
    const open = await scene(() => ({ text: 'ok' }));
    expect((await ask(open, wire, wire, false, history[wire])).status).toBe(200);
    expect(open.upstream.heard[0]?.body).toMatchObject(history[wire]);
  });

  const pairs = (Object.keys(history) as (keyof typeof history)[]).flatMap((from) =>
    names.filter((to) => to !== from).map((to) => [from, to] as const),
  );
  test.each(pairs)('those of %s do not go to %s, and the calls do', async (from, to) => {
    const open = await scene(() => ({ text: 'ok' }));
    const response = await ask(open, from, to, false, history[from]);
    expect(response.status, await response.text()).toBe(200);
    const sent = JSON.stringify(open.upstream.heard[0]?.body);
    expect(sent).not.toContain(SIGNATURE);
    expect(sent).not.toContain('"hm"');
    expect(sent).toMatch(/"ls"|functions__exec/);
  });
});

describe('programs in place of calls', () => {
  const exec = { type: 'custom', name: 'exec', description: 'runs a program' };
  const input = [
    { type: 'additional_tools', role: 'developer', tools: [{ type: 'namespace', name: 'functions', tools: [exec] }] },
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hello' }] },
  ];
  const tools = [{ type: 'tool_search', execution: 'client', description: 'finds tools', parameters: {} }];

  test('go to a provider of the same protocol and come back as they are', async () => {
    const call = { id: 'c1', name: 'exec', namespace: 'functions', arguments: {}, input: 'text(1 + 1)' };
    const open = await scene(() => ({ tools: [call] }));
    const response = await ask(open, 'responses', 'responses', false, { input, tools });
    expect(open.upstream.heard[0]?.body).toMatchObject({ input, tools });
    expect(await response.json()).toMatchObject({
      output: [{ type: 'custom_tool_call', namespace: 'functions', name: 'exec', input: 'text(1 + 1)' }],
    });
  });

  test.each(['chat', 'messages', 'gemini'] as const)('are a tool like others for %s', async (to) => {
    const call = { id: 'c1', name: 'functions__exec', arguments: { input: 'text(1 + 1)' } };
    const open = await scene(() => ({ tools: [call] }));
    const response = await ask(open, 'responses', to, false, { input, tools });
    expect(JSON.stringify(open.upstream.heard[0]?.body.tools)).toContain('"functions__exec"');
    expect(await response.json()).toMatchObject({
      output: [{ type: 'custom_tool_call', namespace: 'functions', name: 'exec', input: 'text(1 + 1)' }],
    });
  });
});
