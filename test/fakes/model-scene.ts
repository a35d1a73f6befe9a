/** A run's model gateway between a caller and a scripted model that speaks all four protocols. */
import { afterEach } from 'vitest';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { Redactor } from '../../src/base/redact/index.ts';
import type { Budget } from '../../src/gateways/llm/budget.ts';
import type { ModelAnswered, ModelRequested, ModelUnjudged } from '../../src/gateways/llm/ledger.ts';
import { postOnce } from '../../src/gateways/llm/post-once.ts';
import { providerDrivers } from '../../src/gateways/llm/providers/index.ts';
import type { ModelFacts, Provider } from '../../src/gateways/llm/providers/provider.ts';
import type { ModelRefusal } from '../../src/gateways/llm/refusal.ts';
import { type Models, openModels } from '../../src/gateways/llm/server.ts';
import { translate } from '../../src/gateways/llm/translate/index.ts';
import { compilePolicy, decide } from '../../src/policy/index.ts';
import { ModelServer, type Script } from './models/server.ts';

export interface ModelScene {
  readonly models: Models;
  readonly upstream: ModelServer;
  readonly requested: ModelRequested[];
  readonly answered: ModelAnswered[];
  readonly unjudged: ModelUnjudged[];
  readonly warned: { readonly budget: string; readonly percent: number }[];
  readonly notices: string[];
  readonly redactor: Redactor;
  readonly url: string;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  close(): Promise<void>;
}

export interface SceneOptions {
  /** More of `llm_policy`, in YAML's flow style. */
  readonly llm?: string;
  readonly model?: Partial<ModelFacts>;
  readonly limits?: object;
  readonly budgets?: readonly Budget[];
  readonly clock?: Clock;
  readonly onSpent?: (refusal: ModelRefusal) => boolean;
  /** In place of the scripted model's own address. */
  readonly base?: string;
}

/**
 * Opens the scenes of a test file; called once at its top. After each test all that is in `closing` is closed, the last first.
 */
export function modelScenes() {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  const scene = async (script: Script = [], more?: SceneOptions): Promise<ModelScene> => {
    const open = await modelScene(script, more);
    closing.push(() => open.close());
    return open;
  };
  return { closing, scene };
}

/** Providers `chat`, `responses`, `claude` and `google`, with a model `m-…` each. */
export async function modelScene(script: Script, more: SceneOptions = {}): Promise<ModelScene> {
  const upstream = await new ModelServer(script).start();
  const rest = more.llm === undefined ? '' : `, ${more.llm}`;
  const text = `version: 1\nllm_policy: {allowed_providers: [chat, responses, claude, google], models: ["m*"]${rest}}\n`;
  const policy = await compilePolicy({ repository: { file: 'policy.yaml', text } });
  const requested: ModelRequested[] = [];
  const answered: ModelAnswered[] = [];
  const unjudged: ModelUnjudged[] = [];
  const warned: ModelScene['warned'] = [];
  const notices: string[] = [];
  const redactor = new Redactor();
  const models = openModels({
    policy,
    providers: providers(more.base ?? upstream.url, more.model),
    aliases: new Map([['fast', 'claude/m-claude']]),
    chosen: null,
    decide: (action) => decide(policy, action),
    log: {
      requested: async (event) => requested.push(event) - 1,
      answered: async (_token, event) => void answered.push(event),
      unjudged: (event) => void unjudged.push(event),
      budget: (event) => void warned.push(event),
    },
    redactor,
    translate,
    budgets: more.budgets ?? [],
    ...(more.onSpent === undefined ? {} : { onSpent: more.onSpent }),
    clock: more.clock ?? systemClock,
    limits: { pause: 5, patience: 200, ...more.limits },
    onNotice: (message) => void notices.push(message),
  });
  const url = `http://127.0.0.1:${await models.attach({ port: 0 })}`;
  const post = (
    path: string,
    body: unknown,
    headers: Record<string, string> = { authorization: `Bearer ${models.token}` },
  ) =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  const close = async () => {
    await models.close();
    await upstream.close();
  };
  return { models, upstream, requested, answered, unjudged, warned, notices, redactor, url, post, close };
}

function providers(base: string, more: Partial<ModelFacts> = {}): Provider[] {
  const facts = (name: string): ModelFacts => ({
    name,
    upstream: name,
    context: null,
    maxOutput: 100,
    price: null,
    reasoning: null,
    ...more,
  });
  const options = (name: string, model: string, path = '', settings = {}) => ({
    name,
    baseUrl: new URL(base + path),
    region: null,
    key: async () => `real-key-of-${name}`,
    models: [facts(model)],
    headers: {},
    settings,
    now: () => 0,
    post: postOnce(),
  });
  return [
    providerDrivers['openai-compatible'](options('chat', 'm-chat', '/v1')),
    providerDrivers['openai-compatible'](options('responses', 'm-responses', '/v1', { wires: 'responses' })),
    providerDrivers.anthropic(options('claude', 'm-claude')),
    providerDrivers.gemini(options('google', 'm-google')),
  ];
}
