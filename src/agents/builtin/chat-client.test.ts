/** The client against the run's real gateway, with a scripted model behind it. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type ModelScene, modelScene, type SceneOptions } from '../../../test/fakes/model-scene.ts';
import type { Script } from '../../../test/fakes/models/server.ts';
import type { Turn } from '../../../test/fakes/models/turn.ts';
import { ChatModel } from './chat-client.ts';
import { encode, type Message } from './conversation.ts';
import { faultOf } from './model.ts';
import { tools } from './tools/index.ts';
import { describe as described } from './tools/tool.ts';

const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

async function open(
  script: Script,
  options: SceneOptions & { token?: string; name?: string } = {},
): Promise<ModelScene & { model: ChatModel; path: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'cordon-chat-'));
  opened.push(() => rmSync(dir, { recursive: true, force: true }));
  const scene = await modelScene(script, options);
  opened.push(() => scene.close());
  const path = join(dir, 'models.sock');
  await scene.models.attach({ path });
  const model = new ChatModel({
    socketPath: path,
    token: options.token ?? scene.models.token,
    model: options.name ?? 'm-chat',
  });
  return { ...scene, model, path };
}

const talk: readonly Message[] = [
  { kind: 'user', text: 'do it' },
  { kind: 'assistant', text: 'I look', calls: [{ id: 'c0', name: 'shell', arguments: '{"command":"ls"}' }] },
  { kind: 'result', call: 'c0', tool: 'shell', text: 'a.txt' },
];
const request = encode('be good', talk, tools.map(described), 'native');
const signal = new AbortController().signal;
const turn: Turn = {
  text: 'once upon a time',
  pieces: 4,
  tools: [
    { id: 'c1', name: 'shell', arguments: { command: 'ls' } },
    { id: 'c2', name: 'read', arguments: { path: 'a.txt' } },
  ],
  usage: { input: 1234, output: 56 },
};

test.each(['m-chat', 'm-claude', 'm-google'])('a streamed answer is put together: %s', async (name) => {
  const { model, upstream } = await open([turn], { name });
  const answer = await model.ask(request, signal);
  expect(answer.text).toBe('once upon a time');
  expect(answer.calls.map(({ name, arguments: text }) => [name, JSON.parse(text)])).toEqual([
    ['shell', { command: 'ls' }],
    ['read', { path: 'a.txt' }],
  ]);
  expect(answer.used).toEqual({ input: 1234, output: 56 });
  const sent = upstream.heard[0]?.bytes.toString() ?? '';
  for (const text of ['be good', 'do it', 'I look', 'a.txt', 'search']) expect(sent).toContain(text);
});

test('the socket is of this user alone where its folder is', async () => {
  const { path } = await open([]);
  expect(statSync(join(path, '..')).mode & 0o077).toBe(0);
});

test('another token is refused', async () => {
  const { model, upstream } = await open([turn], { token: 'cordon-run-other' });
  await expect(model.ask(request, signal)).rejects.toMatchObject({ fault: 'denied' });
  expect(upstream.heard).toEqual([]);
});

test('a budget that is spent is told from a provider that is busy', async () => {
  const { model } = await open(
    [{ error: { status: 429, message: 'slow down', headers: { 'retry-after': '7' } } }, turn],
    {
      llm: 'budget: {requests: 1}',
    },
  );
  await expect(model.ask(request, signal)).rejects.toMatchObject({ fault: 'busy', after: 7000 });
  await expect(model.ask(request, signal)).rejects.toMatchObject({
    fault: 'budget',
    message: expect.stringContaining('1 requests'),
  });
});

test.each([
  ['beyond all', 1e308, 1_000_000_000],
  ['below nothing', -5, 0],
])('tokens that a provider says are %s are a number that can be recorded', async (_, told, used) => {
  const { model } = await open([{ ...turn, usage: { input: told, output: told } }]);
  expect((await model.ask(request, signal)).used).toEqual({ input: used, output: used });
});

test('a time to wait that is none is no time', async () => {
  const { model } = await open([{ error: { status: 429, message: 'slow down', headers: { 'retry-after': '-7' } } }]);
  await expect(model.ask(request, signal)).rejects.toMatchObject({ fault: 'busy', after: 0 });
});

test('a model that the policy does not name is a denial', async () => {
  const { model } = await open([turn], { name: 'other' });
  await expect(model.ask(request, signal)).rejects.toMatchObject({ fault: 'denied' });
});

test.each([
  ['broken off at once', { ...turn, drip: 10, cutAfter: 2 }, 'busy'],
  ['broken off in a call', { tools: turn.tools, drip: 10, cutAfter: 3 }, 'busy'],
  [
    'no JSON',
    {
      raw: { status: 200, headers: { 'content-type': 'text/event-stream' }, body: Buffer.from('data: {nonsense\n\n') },
    },
    'broken',
  ],
  [
    'other JSON',
    {
      raw: {
        status: 200,
        headers: { 'content-type': 'text/event-stream' },
        body: Buffer.from('data: {"choices": 3}\n\n'),
      },
    },
    'broken',
  ],
  ['too long', { error: { status: 400, message: "This model's maximum context length is 8192 tokens" } }, 'context'],
  ['no tools', { error: { status: 400, message: 'registry/llama2 does not support tools' } }, 'tools'],
  ['down', { error: { status: 503, message: 'overloaded' } }, 'busy'],
  ['wrong key', { error: { status: 401, message: 'bad key' } }, 'failed'],
] as const)('%s', async (_what, said, fault) => {
  const { model } = await open(() => said as Turn);
  await expect(model.ask(request, signal)).rejects.toMatchObject({ fault });
});

test('an answer without end is ended', async () => {
  const chunk = `data: ${JSON.stringify({ choices: [{ delta: { content: 'x'.repeat(60_000) } }] })}\n\n`;
  const body = Buffer.from(chunk.repeat(40));
  const { model } = await open([{ raw: { status: 200, headers: { 'content-type': 'text/event-stream' }, body } }]);
  await expect(model.ask(request, signal)).rejects.toMatchObject({ fault: 'broken', message: 'the answer had no end' });
});

test('an interruption leaves nothing open', async () => {
  const { model, upstream } = await open([{ ...turn, drip: 50 }]);
  const stop = new AbortController();
  const asked = model.ask(request, stop.signal);
  await expect.poll(() => upstream.heard.length).toBe(1);
  stop.abort(new Error('enough'));
  await expect(asked).rejects.toThrow('enough');
  await expect.poll(() => upstream.gone).toBe(1);
});

test.each([
  [400, '', 'prompt is too long: 210000 tokens > 200000 maximum', 'context'],
  [400, '', 'Input tokens exceed the configured limit', 'context'],
  [413, '', 'payload', 'context'],
  [400, '', 'tools is not supported in this model', 'tools'],
  [400, '', 'temperature must be 1', 'failed'],
  [404, 'model_not_found', 'x', 'denied'],
  [502, 'provider_key', 'x', 'failed'],
  [502, 'unreachable', 'x', 'busy'],
] as const)('%i %s "%s" is %s', (status, code, message, fault) => {
  expect(faultOf(status, code, message)).toBe(fault);
});
