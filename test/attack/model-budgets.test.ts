/** Ways to use more of a model than is counted: answers nobody waits for, prompts that are longer than their bytes, numbers beyond reason. */
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import type { Spent } from '../../src/gateways/llm/amounts.ts';
import type { ModelRefusal } from '../../src/gateways/llm/refusal.ts';
import { sharedBudgets } from '../../src/runs/shared-budget.ts';
import { openStore } from '../../src/store/index.ts';
import { type ModelScene, modelScenes } from '../fakes/model-scene.ts';

const { closing, scene } = modelScenes();

const CHAT = '/v1/chat/completions';
const hello = { model: 'm-chat', messages: [{ role: 'user', content: 'hello' }] };

describe('answers that nobody waits for', () => {
  /** Asks, and goes away as soon as the provider has the request. */
  async function leave({ url, models, upstream, answered }: ModelScene, body: object): Promise<void> {
    const gone = new AbortController();
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${models.token}` };
    const request = { method: 'POST', headers, body: JSON.stringify(body), signal: gone.signal };
    const asked = fetch(url + CHAT, request).catch(() => null);
    await expect.poll(() => upstream.heard.length).toBe(1);
    gone.abort();
    await asked;
    await expect.poll(() => answered.length).toBe(1);
  }
  const thinking = () => ({ thinks: 600_000 });

  test('count in full: the provider writes on, and is paid for it', async () => {
    const open = await scene(thinking, { llm: 'budget: {tokens: 5000}' });
    await leave(open, { ...hello, max_tokens: 4000 });
    expect(open.answered).toMatchObject([{ result: 'cancelled', estimated: true, usage: { output: 4000 } }]);
    expect((await open.post(CHAT, { ...hello, max_tokens: 4000 })).status).toBe(429);
    expect(open.upstream.heard).toHaveLength(1);
  });

  test('so do those that end with the run, also in the budgets that outlive it', async () => {
    const settled: Spent[] = [];
    const settle = async (actual: Spent) => {
      settled.push(actual);
      return actual;
    };
    const limits = { usd: null, tokens: 1_000_000, requests: null };
    const shared = { name: 'ours', limits, remedy: 'wait', reserve: async () => ({ reservation: { settle } }) };
    const open = await scene(thinking, { budgets: [shared] });
    const asked = open.post(CHAT, { ...hello, max_tokens: 4000 }).catch(() => null);
    await expect.poll(() => open.upstream.heard.length).toBe(1);
    await open.models.close();
    await asked;
    expect(settled).toHaveLength(1);
    expect(settled[0]?.tokens).toBeGreaterThan(4000);
  });

  test('a stream is counted by its time, and never beyond its bound', async () => {
    const open = await scene(thinking, { llm: 'budget: {tokens: 1000000}' });
    await leave(open, { ...hello, stream: true, max_tokens: 900_000 });
    const { usage } = open.answered[0] ?? {};
    expect(usage?.output).toBeGreaterThan(0);
    expect(usage?.output).toBeLessThan(900_000);
  });

  test('no time counts before the provider had the request: an approval may take an hour', async () => {
    let later = 0;
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + later };
    const settle = async (actual: Spent) => actual;
    const reserve = async () => {
      later += 3_600_000;
      return { reservation: { settle } };
    };
    const limits = { usd: null, tokens: 1_000_000, requests: null };
    const open = await scene(thinking, { clock, budgets: [{ name: 'ours', limits, remedy: 'wait', reserve }] });
    await leave(open, { ...hello, stream: true, max_tokens: 900_000 });
    expect(open.answered).toMatchObject([{ result: 'cancelled', usage: { output: expect.any(Number) } }]);
    expect(open.answered[0]?.usage?.output).toBeLessThan(900_000);
  });

  test.each([
    ['http', 'is refused'],
    ['https', 'is never made'],
  ])('those of a provider whose connection (%s) %s cost nothing: it heard no word', async (scheme, _) => {
    // Where nothing is answered to a connection it stays without TLS.
    const mute = createServer();
    const connections: Socket[] = [];
    mute.on('connection', (socket) => connections.push(socket.on('error', () => undefined)));
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const { port } = mute.address() as AddressInfo;
    const close = () => {
      for (const one of connections) one.destroy();
      return new Promise((resolve) => mute.close(resolve));
    };
    if (scheme === 'http') await close();
    else closing.push(close);
    const open = await scene([], {
      base: `${scheme}://127.0.0.1:${port}`,
      llm: 'budget: {tokens: 5000}',
      limits: { pause: 600_000, patience: 1_800_000, maxPause: 600_000 },
    });
    const gone = new AbortController();
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${open.models.token}` };
    const body = JSON.stringify({ ...hello, max_tokens: 4000 });
    const asked = fetch(open.url + CHAT, { method: 'POST', headers, body, signal: gone.signal }).catch(() => null);
    await expect.poll(() => (scheme === 'http' ? open.notices : connections).length).toBe(1);
    gone.abort();
    await asked;
    await expect.poll(() => open.answered).toMatchObject([{ result: 'cancelled', usage: null, attempts: 1 }]);
  });

  test('one that the provider refused, or never got, costs nothing', async () => {
    const open = await scene([{ error: { status: 400, message: 'no' } }], { llm: 'budget: {tokens: 5000}' });
    await open.post(CHAT, { ...hello, max_tokens: 4000 });
    expect(open.answered).toMatchObject([{ result: 'failed', usage: null }]);
  });
});

describe('prompts that are longer than their bytes', () => {
  const png = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } };
  test.each([
    ['one picture', [png], 200],
    ['twenty of them', Array.from({ length: 20 }, () => png), 429],
    ['a packed document', [{ type: 'file', file: { file_data: 'data:application/pdf;base64,AA==' } }], 429],
    ['sound', [{ type: 'input_audio', input_audio: { data: 'AA==', format: 'opus' } }], 429],
  ])('%s', async (_, content, status) => {
    const llm = 'features: [images, files, audio], budget: {tokens: 50000}';
    const { post, upstream } = await scene([], { llm, model: { context: 200_000 } });
    const asked = { ...hello, max_tokens: 10, messages: [{ role: 'user', content }] };
    expect((await post(CHAT, asked)).status).toBe(status);
    expect(upstream.heard).toHaveLength(status === 200 ? 1 : 0);
  });

  test.each([
    [null, 429],
    [200_000, 200],
  ])(
    'where the settings state a context of %s: a search of the web in a budget that has room for that',
    async (context, status) => {
      const refusals: ModelRefusal[] = [];
      const llm = 'features: [web_search], budget: {tokens: 500000}';
      const onSpent = (refusal: ModelRefusal) => refusals.push(refusal) < 0;
      const { post } = await scene([], { llm, model: { context }, onSpent });
      const tools = [{ type: 'web_search_20250305', name: 'web_search' }];
      const body = { model: 'm-claude', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }], tools };
      expect((await post('/v1/messages', body)).status).toBe(status);
      const remedy = expect.stringContaining('state `context` of the model m-claude in providers.yaml');
      expect(refusals).toMatchObject(status === 200 ? [] : [{ never: true, remedy }]);
    },
  );

  test.each([
    [200_000, 'effort-2025-11-24'],
    [1_000_000, 'context-1m-2025-08-07,effort-2025-11-24'],
  ])('of a context of %i more is not asked for', async (context, sent) => {
    const { post, upstream, models } = await scene([], { model: { context } });
    const body = { model: 'm-claude', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }] };
    const headers = { 'x-api-key': models.token, 'anthropic-beta': 'context-1m-2025-08-07,effort-2025-11-24' };
    expect((await post('/v1/messages', body, headers)).status).toBe(200);
    expect(upstream.heard[0]?.headers['anthropic-beta']).toBe(sent);
  });
});

test.each([9e15, 1e308, -5])('a provider that says it used %d tokens spoils no budget of others', async (tokens) => {
  const folder = await mkdtemp(join(tmpdir(), 'cordon-budget-'));
  const store = await openStore('sqlite', { path: join(folder, 'cordon.db') });
  closing.push(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const shared = { scope: 'organisation', period: 'day', usd: null, tokens: null, requests: 30 };
  const run = {
    system: { store, clock: { now: () => 1_700_000_000_000 } },
    loaded: { policy: { llm: { budgets: [shared] } } },
    request: { requester: { id: 'user:alice' } },
    repository: { name: 'acme' },
    run: { id: 'run-1' },
  };
  const budgets = sharedBudgets(run as unknown as Parameters<typeof sharedBudgets>[0]);
  const price = { input: 10, output: 10, cached: 1, cacheWrite: 12.5 };
  const usage = { input: tokens, output: tokens, cached: tokens };
  const open = await scene([{ text: 'a lie', usage }], { budgets, model: { price } });
  for (let i = 0; i < 3; i++) expect((await open.post(CHAT, hello)).status).toBe(200);
  expect(open.answered.map(({ result }) => result)).toEqual(['completed', 'completed', 'completed']);
});
