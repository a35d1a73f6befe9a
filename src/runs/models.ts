/** The language models of one run: its gateway, what agents are told of it, and the record of every request. */

import { type FileHandle, open } from 'node:fs/promises';
import type { Budget } from '../gateways/llm/budget.ts';
import type { ModelLog } from '../gateways/llm/ledger.ts';
import { choiceOf } from '../gateways/llm/model-names.ts';
import type { KeySource } from '../gateways/llm/providers/provider.ts';
import type { Models } from '../gateways/llm/server.ts';
import type { ModelSettings, ProviderSettings } from '../gateways/llm/settings.ts';
import { decide, type EffectivePolicy } from '../policy/index.ts';
import type { ListeningPlace, ListeningSocket } from '../sandbox/sandbox.ts';
import { decideCrossing } from './crossing.ts';
import { ModelPatience } from './patience.ts';
import { modelRecorder, modelReplay } from './recording/run.ts';
import type { ModelUsage } from './request.ts';
import { recorded } from './run-log.ts';
import type { RunScope } from './scope.ts';
import { sharedBudgets } from './shared-budget.ts';
import { SpentBudget } from './spent-budget.ts';

/** On the sandbox's own loopback. */
export const MODELS_PORT = 4141;
const ADDRESS = `http://127.0.0.1:${MODELS_PORT}`;
/** Milliseconds that a key is kept in memory between requests; a revocation ends it at once. */
const KEY_TIME = 60_000;

export interface RunGateway {
  readonly url: string;
  readonly token: string;
  readonly model: string | null;
  /** What the settings say of that model, in tokens. */
  readonly facts: { readonly context: number | null; readonly maxOutput: number | null };
  /** Opens it to the trusted side as well, in the run's own folder. Resolves with the path of the socket. */
  open(): Promise<string>;
}

export interface RunModels {
  /** Its address and token inside, and the model an agent without a choice of its own uses; null where the policy names no provider. */
  readonly gateway: RunGateway | null;
  /** Variables for every command of the agent's. */
  readonly env: Readonly<Record<string, string>>;
  /** Where it listens inside. */
  readonly places: readonly ListeningPlace[];
  /** Takes the sockets at these places over, and serves them. */
  start(sockets: readonly ListeningSocket[]): Promise<void>;
  close(): Promise<void>;
}

const NONE: RunModels = { gateway: null, env: {}, places: [], start: async () => {}, close: async () => {} };

/**
 * Nothing of it is loaded for a policy that names no provider. Throws `DocumentError` and `UsageError` for settings that
 * cannot be used.
 */
export async function openRunModels(scope: RunScope): Promise<RunModels> {
  const { policy } = scope.loaded;
  if (policy.llm.providers.length === 0) return NONE;
  const settings = await scope.system.models();
  const models = await openGateway(scope, settings);
  const preferred = preferredModel(scope, settings);
  const facts = { context: preferred?.context ?? null, maxOutput: preferred?.max_output ?? null };
  const side = new SideDoor(scope.dir, models);
  return {
    gateway: { url: ADDRESS, token: models.token, model: preferred?.name ?? null, facts, open: () => side.open() },
    env: variables(models.token, scope.request.model === null ? null : (preferred?.name ?? null)),
    places: [{ port: MODELS_PORT, how: 'tcp' }],
    async start(sockets) {
      await Promise.all(sockets.map((fd) => models.attach({ fd })));
    },
    async close() {
      await models.close();
      await side.close();
    },
  };
}

/** A socket in a folder of this user's alone. */
class SideDoor {
  readonly #dir: string;
  readonly #models: Models;
  #folder: FileHandle | null = null;

  constructor(dir: string, models: Models) {
    this.#dir = dir;
    this.#models = models;
  }

  /** Through the folder's descriptor: a socket's path may have no more than 107 bytes. */
  async open(): Promise<string> {
    this.#folder = await open(this.#dir, 'r');
    const path = `/proc/self/fd/${this.#folder.fd}/models.sock`;
    await this.#models.attach({ path });
    return path;
  }

  async close(): Promise<void> {
    await this.#folder?.close();
  }
}

async function openGateway(scope: RunScope, { providers, aliases }: ModelSettings): Promise<Models> {
  const [{ openModels }, { openProvider }, { translate }] = await Promise.all([
    import('../gateways/llm/server.ts'),
    import('../gateways/llm/settings.ts'),
    import('../gateways/llm/translate/index.ts'),
  ]);
  const { system, loaded, request, redactor } = scope;
  const network = { extraCa: system.network.extraCa, proxy: system.network.upstreamProxy };
  const usable = providers.filter(({ settings, by }) => mayUse(loaded.policy, settings, by));
  const budgets = sharedBudgets(scope);
  const recorder = modelRecorder(scope);
  const replay = modelReplay(scope);
  const models = openModels({
    policy: loaded.policy,
    providers: usable.map(({ settings }) =>
      openProvider(settings, {
        keyOf: (provider, secret) => keyOf(scope, provider, secret),
        now: () => system.clock.now(),
        network,
      }),
    ),
    aliases,
    chosen: request.model,
    decide: (action) => decideCrossing(scope, action),
    log: patiently(scope, countingSpent(scope, modelLog(scope), budgets)),
    redactor,
    translate,
    budgets,
    onSpent(refusal) {
      scope.spent?.refused(refusal);
      return scope.stop.signal.aborted;
    },
    ...(scope.resumption === null ? {} : { spent: scope.resumption.spent }),
    clock: system.clock,
    network,
    onNotice: (message) => scope.io.onProgress({ step: message }),
    onBroken: (error) => scope.stop.abort(error),
    ...(recorder === null ? {} : { recorder }),
    ...(replay === null ? {} : { replay }),
  });
  scope.recorder?.own(models.token);
  scope.tape?.own.push(models.token);
  return models;
}

type ModelEntry = Pick<ProviderSettings['models'][number], 'name' | 'context' | 'max_output'>;

/** What the request names; else the first model that is permitted, of the policy's default provider before others. */
function preferredModel(
  { request, loaded: { policy } }: RunScope,
  { providers, aliases }: ModelSettings,
): ModelEntry | null {
  const of = (name: string | null) => providers.find(({ settings }) => settings.name === name)?.settings;
  if (request.model !== null) {
    const all = providers.map(({ settings }) => settings);
    const { name, places } = choiceOf<ModelEntry, ProviderSettings>(request.model, all, aliases);
    return { ...places[0]?.model, name };
  }
  for (const name of [policy.llm.defaultProvider, ...policy.llm.providers]) {
    const provider = of(name);
    const model = provider?.models.find(
      (one) => decide(policy, { action: 'llm.request', provider: provider.name, model: one.name }).effect !== 'deny',
    );
    if (model !== undefined) return model;
  }
  return null;
}

/** Only what the policy speaks of is opened; and nothing of the user's own where the policy says so. */
function mayUse(
  { llm, documents }: EffectivePolicy,
  { name, key, base_url }: ProviderSettings,
  by: 'organisation' | 'user',
): boolean {
  const disallowed = [documents.organisation, documents.repository].flatMap((one) => one?.llm_policy?.disallowed ?? []);
  if (!llm.providers.includes(name)) return false;
  if (by === 'organisation') return true;
  if (disallowed.includes('personal-api-keys') && key !== undefined) return false;
  return !(disallowed.includes('unmanaged-proxies') && base_url !== undefined);
}

/** Granted to the run at its first use, and with that in its record. */
function keyOf(scope: RunScope, provider: ProviderSettings, secret: string): KeySource {
  const host = provider.base_url?.hostname ?? provider.driver;
  let known: { readonly value: string; readonly until: number; readonly signal: AbortSignal } | null = null;
  let grant: Promise<{ readonly id: string; readonly signal: AbortSignal }> | null = null;
  return async () => {
    const { clock } = scope.system;
    if (known !== null && known.until > clock.monotonic() && !known.signal.aborted) return known.value;
    const { openLender } = await import('./secrets.ts');
    const { broker, secrets } = await openLender(scope);
    grant ??= secrets.grant(secret, { kind: 'provider', provider: provider.name, host }).catch((error: unknown) => {
      grant = null;
      throw error;
    });
    const { id, signal } = await grant;
    const value = (await broker.reveal(id, scope.run.id)).reveal().toString('utf8').trim();
    known = { value, until: clock.monotonic() + KEY_TIME, signal };
    return value;
  };
}

/** Agents that do nothing without a model are not waited for without end. A command may have other things to do; the built-in loop has its own bounds. */
function patiently(scope: RunScope, log: ModelLog): ModelLog {
  const { kind } = scope.request.agent;
  if (kind === 'command' || kind === 'builtin') return log;
  const patience = new ModelPatience(
    (why) => scope.stop.abort(why),
    () => scope.record?.commands ?? 0,
  );
  return {
    ...log,
    answered(token, event) {
      patience.answered(event.result, event.reason);
      return log.answered(token, event);
    },
  };
}

/** A command may have other things to do, and the built-in loop ends by itself: these are told, and not ended. */
function countingSpent(scope: RunScope, log: ModelLog, budgets: readonly Budget[]): ModelLog {
  const { kind } = scope.request.agent;
  const waits = kind !== 'command' && kind !== 'builtin';
  const spent = new SpentBudget({
    stop: (why) => waits && scope.stop.abort(why),
    activity: () => scope.record?.commands ?? 0,
    shared: budgets.map(({ name }) => name),
  });
  scope.spent = spent;
  return {
    ...log,
    async requested(event) {
      const token = await log.requested(event);
      spent.requested(token, event);
      return token;
    },
    answered(token, event) {
      spent.answered(token, event);
      return log.answered(token, event);
    },
  };
}

/** Every request as two events: before it leaves, and when its answer has ended. */
export function modelLog({ run }: Pick<RunScope, 'run'>): ModelLog {
  return {
    requested: ({ decision, features, dropped, redacted, ...resource }) =>
      run.log.append(
        {
          type: 'llm.request',
          action: 'llm.request',
          resource: { ...resource, features: [...features], dropped: [...dropped], redacted: { ...redacted } },
          decision: recorded(decision),
        },
        'agent',
      ),
    async answered(token, { provider, model, usage, firstByteMs, ...outcome }) {
      run.facts.usage = added(run.facts.usage, usage, outcome.nanoUsd);
      await run.log.append(
        {
          type: 'llm.response',
          action: null,
          resource: { provider, model },
          outcome: { ...outcome, tokens: usage, firstByteMs: firstByteMs === null ? null : Math.round(firstByteMs) },
          cause: token as number,
        },
        'agent',
      );
    },
    budget: (resource) => void run.log.enqueue({ type: 'llm.budget', action: null, resource }),
    unjudged({ what, detail }) {
      run.log.enqueue({ type: 'llm.unjudged', action: null, resource: { what, detail: detail.slice(0, 1024) } });
    },
  };
}

function added(
  before: ModelUsage,
  usage: { readonly input: number; readonly output: number } | null,
  nanoUsd: number | null,
): ModelUsage {
  return {
    requests: before.requests + 1,
    inputTokens: before.inputTokens + (usage?.input ?? 0),
    outputTokens: before.outputTokens + (usage?.output ?? 0),
    usd: Math.round(before.usd * 1e9 + (nanoUsd ?? 0)) / 1e9,
  };
}

/** Where agents of all kinds find their model and what they show as a key. */
/** `name`: of the model that was asked for; null when none was. */
function variables(token: string, name: string | null): Record<string, string> {
  return {
    OPENAI_BASE_URL: `${ADDRESS}/v1`,
    OPENAI_API_KEY: token,
    ANTHROPIC_BASE_URL: ADDRESS,
    ANTHROPIC_API_KEY: token,
    GOOGLE_GEMINI_BASE_URL: ADDRESS,
    GEMINI_API_KEY: token,
    ...(name === null ? {} : { CORDON_MODEL: name, OPENAI_MODEL: name, ANTHROPIC_MODEL: name, GEMINI_MODEL: name }),
  };
}
