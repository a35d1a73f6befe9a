import { z } from 'zod';
import { UsageError } from '../../base/errors.ts';
import { parseSettingsText, settingsText } from '../../base/settings-file.ts';
import { postOnce } from './post-once.ts';
import type { ProviderDriverName } from './providers/index.ts';
import { providerDrivers } from './providers/index.ts';
import type { KeySource, ModelFacts, Provider } from './providers/provider.ts';
import type { TransportOptions } from './upstream.ts';

/**
 *   version: 1
 *   providers:
 *     - name: azure-openai-prod          # as policies name it
 *       driver: openai
 *       base_url: https://models.acme.example/v1
 *       key: {secret: OPENAI_API_KEY}    # cordon secrets set OPENAI_API_KEY
 *       models:
 *         - {name: gpt-5, upstream: gpt-5-2025, context: 400000, max_output: 128000, price: {input: 1.25, output: 10}}
 *   aliases: {fast: azure-openai-prod/gpt-5}
 *
 * Prices are US dollars for a million tokens.
 */
const dollars = z.number().min(0).max(1_000_000);
const count = z.int().min(1).max(1_000_000_000);
const providerName = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'write a name of small letters, digits, - . _');
const modelName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,199}$/, 'write the name of a model');

const prices = z.strictObject({
  input: dollars,
  output: dollars,
  cached: dollars.optional(),
  cache_write: dollars.optional(),
  cache_write_1h: dollars.optional(),
});

const modelSchema = z.strictObject({
  name: modelName,
  upstream: z.string().min(1).max(300).optional(),
  context: count.optional(),
  max_output: count.optional(),
  /** `long_context`: all of a request whose prompt has more than `above` tokens. */
  price: prices.extend({ long_context: prices.extend({ above: count }).optional() }).optional(),
  reasoning: z.enum(['effort', 'budget', 'adaptive']).optional(),
});

const base = z
  .url({ protocol: /^https?$/ })
  .transform((text) => new URL(text))
  .refine(
    (url) => url.username === '' && url.password === '' && url.hash === '',
    'leave user, password and fragment out of base_url',
  );

const providerSchema = z.strictObject({
  name: providerName,
  driver: z.enum(Object.keys(providerDrivers) as [ProviderDriverName, ...ProviderDriverName[]]),
  base_url: base.optional(),
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,40}$/)
    .optional(),
  key: z
    .strictObject({
      secret: z.string().regex(/^[A-Z_][A-Z0-9_]{0,99}$/, 'write the name of a secret, such as OPENAI_API_KEY'),
    })
    .optional(),
  headers: z.record(z.string().regex(/^[A-Za-z0-9-]{1,64}$/), z.string().regex(/^[\x20-\x7e]{0,1000}$/)).optional(),
  settings: z.record(z.string(), z.string()).optional(),
  models: z.array(modelSchema).min(1),
});
export type ProviderSettings = z.output<typeof providerSchema>;

const providersSchema = z
  .strictObject({
    version: z.literal(1),
    providers: z.array(providerSchema).default([]),
    aliases: z.record(modelName, modelName).default({}),
  })
  .superRefine(({ providers }, context) => {
    providers.forEach(({ name, models }, i) => {
      if (providers.findIndex((other) => other.name === name) !== i)
        context.addIssue({ code: 'custom', path: ['providers', i, 'name'], message: `${name} stands here twice` });
      models.forEach((model, j) => {
        if (models.findIndex((other) => other.name === model.name) !== j)
          context.addIssue({
            code: 'custom',
            path: ['providers', i, 'models', j, 'name'],
            message: `${model.name} stands here twice`,
          });
      });
    });
  });
const KNOWN =
  'what there is: version, providers: [{name, driver, base_url, region, key, headers, settings, models}], aliases';
export type ProvidersDocument = z.output<typeof providersSchema>;

/** A provider, and who set it up. */
export interface Configured {
  readonly settings: ProviderSettings;
  readonly by: 'organisation' | 'user';
}

export interface ModelSettings {
  readonly providers: readonly Configured[];
  readonly aliases: ReadonlyMap<string, string>;
}

/** The organisation's providers and the user's; a name that both have is the organisation's. Throws `DocumentError`, `StorageError`. */
export async function loadModelSettings(files: {
  readonly organisation: string;
  readonly user: string;
}): Promise<ModelSettings> {
  const [organisation, user] = await Promise.all([readDocument(files.organisation), readDocument(files.user)]);
  const mine = user.providers.filter(({ name }) => !organisation.providers.some((other) => other.name === name));
  return {
    providers: [
      ...organisation.providers.map((settings) => ({ settings, by: 'organisation' as const })),
      ...mine.map((settings) => ({ settings, by: 'user' as const })),
    ],
    aliases: new Map([...Object.entries(user.aliases), ...Object.entries(organisation.aliases)]),
  };
}

/** Empty when there is no such file. */
async function readDocument(file: string): Promise<ProvidersDocument> {
  const text = await settingsText(file);
  return text === null ? { version: 1, providers: [], aliases: {} } : parseProviders(file, text);
}

/** Throws `DocumentError` with every line that is wrong. */
export function parseProviders(file: string, text: string): Promise<ProvidersDocument> {
  return parseSettingsText(file, text, providersSchema, KNOWN);
}

export interface OpenOptions {
  /** Where a secret's value is read at each use. */
  keyOf(provider: ProviderSettings, secret: string): KeySource;
  readonly now: () => number;
  /** How this machine's network lets anything out. */
  readonly network?: Omit<TransportOptions, 'limits'>;
}

/** Throws `UsageError` for settings that its driver cannot use. */
export function openProvider(settings: ProviderSettings, { keyOf, now, network }: OpenOptions): Provider {
  if (settings.base_url?.protocol === 'http:' && settings.key !== undefined && !isLoopback(settings.base_url))
    throw new UsageError(`the provider ${settings.name} would get its key over http, where others can read it`, {
      remedy: 'write base_url: https://…',
    });
  return providerDrivers[settings.driver]({
    name: settings.name,
    baseUrl: settings.base_url ?? null,
    region: settings.region ?? null,
    key: settings.key === undefined ? null : keyOf(settings, settings.key.secret),
    models: settings.models.map(modelFacts),
    headers: settings.headers ?? {},
    settings: settings.settings ?? {},
    now,
    post: postOnce(network),
  });
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** A cached prompt costs what a fresh one does, where its own price is not stated: rather too much than too little. */
function modelFacts({
  name,
  upstream,
  context,
  max_output,
  price,
  reasoning,
}: ProviderSettings['models'][number]): ModelFacts {
  return {
    name,
    upstream: upstream ?? name,
    context: context ?? null,
    maxOutput: max_output ?? null,
    reasoning: reasoning ?? null,
    price:
      price === undefined
        ? null
        : {
            ...priceOf(price),
            ...(price.long_context === undefined
              ? {}
              : { longContext: { above: price.long_context.above, ...priceOf(price.long_context) } }),
          },
  };
}

function priceOf({ input, output, cached, cache_write, cache_write_1h }: z.output<typeof prices>) {
  return {
    input,
    output,
    cached: cached ?? input,
    cacheWrite: cache_write ?? input,
    ...(cache_write_1h === undefined ? {} : { cacheWriteLong: cache_write_1h }),
  };
}
