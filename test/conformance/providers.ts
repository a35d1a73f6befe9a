import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { UsageError } from '../../src/base/errors.ts';
import { Redactor } from '../../src/base/redact/index.ts';
import { SseReader } from '../../src/base/sse.ts';
import type { ModelAnswered } from '../../src/gateways/llm/ledger.ts';
import { postOnce } from '../../src/gateways/llm/post-once.ts';
import type { Provider, ProviderOptions } from '../../src/gateways/llm/providers/provider.ts';
import { openModels } from '../../src/gateways/llm/server.ts';
import { translate } from '../../src/gateways/llm/translate/index.ts';
import { compilePolicy, decide } from '../../src/policy/index.ts';
import { chat } from '../fakes/models/chat.ts';
import { Cloud, type CloudShape } from '../fakes/models/clouds.ts';
import { gemini } from '../fakes/models/gemini.ts';
import { messages } from '../fakes/models/messages.ts';
import { responses } from '../fakes/models/responses.ts';
import type { Turn } from '../fakes/models/turn.ts';

export interface ProviderSubject {
  readonly shape: CloudShape;
  /** As the cloud names the model; agents call it `m`. */
  readonly upstream: string;
  /** The key, once the cloud's address is known. */
  key(url: string): string;
  /** Texts that nobody outside may see. */
  readonly secrets: readonly string[];
  /** Tokens that are asked for, for any number of requests. */
  readonly tokens?: number;
  open(options: ProviderOptions): Provider;
}

const encoders = { chat, responses, messages, gemini } as const;
const PROMPT = 'what-the-agent-wrote';
const asks = {
  chat: { path: '/v1/chat/completions', body: { messages: [{ role: 'user', content: PROMPT }] } },
  responses: { path: '/v1/responses', body: { input: PROMPT } },
  messages: { path: '/v1/messages', body: { max_tokens: 50, messages: [{ role: 'user', content: PROMPT }] } },
  gemini: { path: '/v1beta/models/m', body: { contents: [{ role: 'user', parts: [{ text: PROMPT }] }] } },
} as const;
const turn: Turn = {
  text: 'once upon a time',
  pieces: 3,
  tools: [{ id: 'c1', name: 'shell', arguments: { cmd: 'ls' } }],
  usage: { input: 20, output: 6, cached: 2 },
};

/** What every driver must do, from the gateway to its upstream and back, judged by the upstream's own checks. */
export function providerConformance(name: string, subject: ProviderSubject): void {
  const { wire } = subject.shape;
  const opened: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of opened.splice(0).reverse()) await close();
  });

  async function scene(more: { key?: () => Promise<string> } = {}) {
    const cloud = await new Cloud(subject.shape).start();
    opened.push(() => cloud.close());
    const provider = subject.open({
      name: 'p',
      baseUrl: new URL(cloud.url),
      region: 'eu-central-1',
      key: more.key ?? (async () => subject.key(cloud.url)),
      models: [{ name: 'm', upstream: subject.upstream, context: null, maxOutput: 100, price: null, reasoning: null }],
      headers: { 'X-Team': 'billing' },
      settings: {},
      now: () => Date.now(),
      post: postOnce(),
    });
    const text = 'version: 1\nllm_policy: {allowed_providers: [p], models: [m]}\n';
    const policy = await compilePolicy({ repository: { file: 'policy.yaml', text } });
    const answered: ModelAnswered[] = [];
    const notices: string[] = [];
    const redactor = new Redactor();
    const models = openModels({
      policy,
      providers: [provider],
      aliases: new Map(),
      chosen: null,
      decide: (action) => decide(policy, action),
      log: {
        requested: async () => 0,
        answered: async (_, event) => void answered.push(event),
        budget: () => {},
        unjudged: () => {},
      },
      redactor,
      translate,
      clock: systemClock,
      limits: { pause: 5, patience: 50 },
      onNotice: (notice) => void notices.push(notice),
    });
    opened.push(() => models.close());
    const url = `http://127.0.0.1:${await models.attach({ port: 0 })}`;
    const post = (stream: boolean, change: { body?: object; signal?: AbortSignal; headers?: object } = {}) => {
      const { path, body } = asks[wire];
      const verb = wire !== 'gemini' ? '' : stream ? ':streamGenerateContent?alt=sse' : ':generateContent';
      const streaming = wire === 'gemini' ? {} : { model: 'm', stream };
      const usage = wire === 'chat' && stream ? { stream_options: { include_usage: true } } : {};
      return fetch(`${url}${path}${verb}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${models.token}`, 'content-type': 'application/json', ...change.headers },
        body: JSON.stringify({ ...body, ...streaming, ...usage, ...change.body }),
        signal: change.signal ?? null,
      });
    };
    return { cloud, provider, models, answered, notices, redactor, post };
  }

  describe(`the provider ${name}`, () => {
    test('a whole answer', async () => {
      const { cloud, post, answered } = await scene();
      cloud.turns = [turn];
      const response = await post(false);
      expect(await response.json()).toEqual(encoders[wire].whole(turn, 'm'));
      expect(cloud.wrong).toEqual([]);
      expect(cloud.heard).toHaveLength(1);
      expect(cloud.heard[0]?.headers['x-team']).toBe('billing');
      expect(answered).toMatchObject([{ result: 'completed', usage: { input: 20, output: 6, cached: 2 } }]);
    });

    test('a stream', async () => {
      const { cloud, post, answered } = await scene();
      cloud.turns = [turn];
      const response = await post(true);
      expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
      expect(await response.text()).toBe(encoders[wire].events(turn, 'm').join(''));
      expect(cloud.wrong).toEqual([]);
      expect(answered).toMatchObject([{ result: 'completed', usage: { input: 20, output: 6, cached: 2 } }]);
    });

    test('nothing of the prompt in address and headers, and nothing of the caller’s', async () => {
      const { cloud, models, post } = await scene();
      const headers = {
        'x-custom': PROMPT,
        'anthropic-beta': `${PROMPT}, context-1m-2025-08-07`,
        'openai-organization': PROMPT,
        cookie: PROMPT,
      };
      await (await post(false, { headers })).text();
      const { url = '', headers: sent = {}, bytes } = cloud.heard[0] ?? {};
      expect(bytes?.toString()).toContain(PROMPT);
      expect(url + JSON.stringify(sent)).not.toContain(PROMPT);
      expect(url + JSON.stringify(sent) + bytes).not.toContain(models.token);
    });

    test('several at once share what has to be asked before', async () => {
      const { cloud, post } = await scene();
      await Promise.all(Array.from({ length: 5 }, async () => (await post(false)).text()));
      await (await post(false)).text();
      expect(cloud.wrong).toEqual([]);
      expect(cloud.heard).toHaveLength(6);
      expect(cloud.tokens).toBe(subject.tokens ?? 0);
    });

    test('a caller that goes away takes the request with it', async () => {
      const { cloud, post, answered } = await scene();
      cloud.turns = [{ text: 'a '.repeat(500), pieces: 500, drip: 5 }];
      const going = new AbortController();
      const response = await post(true, { signal: going.signal });
      await response.body?.getReader().read();
      going.abort();
      await expect.poll(() => cloud.gone).toBe(1);
      await expect.poll(() => answered).toMatchObject([{ result: 'cancelled' }]);
    });

    test('its errors, in the caller’s words', async () => {
      const { cloud, post } = await scene();
      cloud.turns = [{ error: { status: 429, message: 'slow down', headers: { 'retry-after': '3' } } }];
      const response = await post(false);
      expect(response.status).toBe(429);
      expect(response.headers.get('retry-after')).toBe('3');
      expect(await response.text()).toContain('slow down');
    });

    test('a refused key is nowhere in what is said of it', async () => {
      const { cloud, post, answered, notices } = await scene();
      const message = `the key ${subject.secrets.join(' ')} is not known`;
      cloud.turns = [{ error: { status: 403, message } }];
      const response = await post(false);
      expect(response.status).toBe(502);
      const said = (await response.text()) + JSON.stringify(answered) + notices.join();
      for (const secret of subject.secrets) expect(said).not.toContain(secret);
    });

    test('without its key nothing is sent', async () => {
      const { cloud, post, answered } = await scene({
        key: async () => {
          throw new UsageError('the secret P_KEY was revoked');
        },
      });
      const response = await post(false);
      expect(response.status).toBe(502);
      expect(await response.text()).toContain('P_KEY was revoked');
      expect(cloud.heard).toEqual([]);
      expect(answered).toMatchObject([{ result: 'unreachable', usage: null }]);
    });

    test('the stream may be cut at every byte', async () => {
      const { provider } = await scene();
      const events = encoders[wire].events(turn, 'm');
      const { chunkFrame } = await import('../fakes/models/clouds.ts');
      const bytes = Buffer.concat(events.map((one) => (subject.shape.frames ? chunkFrame(one) : Buffer.from(one))));
      const read = async (at: number) => {
        const pieces = async function* () {
          if (at > 0) yield bytes.subarray(0, at);
          yield bytes.subarray(at);
        };
        const reader = new SseReader();
        const heard: string[] = [];
        for await (const piece of provider.decode?.(pieces(), wire) ?? pieces())
          heard.push(...reader.push(piece).map(({ data }) => data));
        return heard.join('\n');
      };
      const whole = await read(0);
      expect(whole.split('\n')).toHaveLength(events.length);
      for (let at = 1; at < bytes.length; at++) expect(await read(at)).toBe(whole);
    });
  });
}
