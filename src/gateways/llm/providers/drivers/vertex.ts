import { sign } from 'node:crypto';
import { z } from 'zod';
import { UsageError } from '../../../../base/errors.ts';
import type { JsonObject } from '../../wire/wire.ts';
import { betasOf } from '../anthropic-betas.ts';
import { jsonKey } from '../json-key.ts';
import type { ModelFacts, Provider, ProviderOptions, UpstreamCall, UpstreamRequest } from '../provider.ts';
import { BearerToken, formPost } from '../token.ts';
import { endpoint, geminiVerb, jsonRequest, needs, onlySettings } from './shared.ts';

const VERSION = 'vertex-2023-10-16';
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

/** A service account's key, as Google hands it out; what else stands in it is not needed. */
const accountKey = z.object({
  client_email: z.string().min(1),
  private_key: z.string().includes('PRIVATE KEY'),
  private_key_id: z.string().optional(),
  project_id: z.string().optional(),
  token_uri: z.url({ protocol: /^https?$/ }).default('https://oauth2.googleapis.com/token'),
});
type AccountKey = z.output<typeof accountKey>;

/**
 * Gemini and Anthropic's models on Google Vertex AI. The key is the JSON of a service account. `settings.project`, where it is not the
 * account's own. https://cloud.google.com/vertex-ai/generative-ai/docs
 */
export function vertex(options: ProviderOptions): Provider {
  const { name, models, headers, settings, now } = options;
  const key = needs(options, 'key', 'key: {secret: GOOGLE_SERVICE_ACCOUNT}');
  const region = needs(options, 'region', 'region: europe-west1, or global');
  onlySettings(options, ['project', 'betas']);
  const base = options.baseUrl ?? new URL(`https://${hostOf(region)}`);
  const token = new BearerToken(options);
  return {
    name,
    driver: 'vertex',
    wires: ['gemini', 'messages'],
    wiresOf: (model) => [isClaude(model) ? 'messages' : 'gemini'],
    models,
    async prepare(call) {
      const text = await key();
      const account = jsonKey(name, text, accountKey, 'the JSON of a service account’s key');
      const project = settings.project ?? account.project_id;
      if (project === undefined)
        throw new UsageError(`the provider ${name} has no project`, {
          remedy: 'write settings: {project: my-project}',
        });
      const bearer = await token.get(text, () => grant(name, account, now()));
      const where = endpoint(base, `/v1/projects/${encodeURIComponent(project)}/locations/${region}/publishers`);
      const authorized = { ...headers, authorization: `Bearer ${bearer}` };
      if (isClaude(call.model)) return claudeRequest(options, call, where, authorized);
      const url = endpoint(where, `/google/models/${encodeURIComponent(call.model.upstream)}:${geminiVerb(call)}`);
      if (call.stream) url.searchParams.set('alt', 'sse');
      return jsonRequest(url, call, authorized);
    },
  };
}

const isClaude = ({ upstream }: ModelFacts) => upstream.startsWith('claude');

function hostOf(region: string): string {
  if (region === 'global') return 'aiplatform.googleapis.com';
  if (region === 'us' || region === 'eu') return `aiplatform.${region}.rep.googleapis.com`;
  return `${region}-aiplatform.googleapis.com`;
}

function claudeRequest(
  options: ProviderOptions,
  call: UpstreamCall,
  where: URL,
  headers: Record<string, string>,
): UpstreamRequest {
  const { model, ...rest } = call.body;
  const counts = call.operation === 'count';
  const name = counts ? 'count-tokens' : encodeURIComponent(call.model.upstream).replaceAll('%40', '@');
  const url = endpoint(where, `/anthropic/models/${name}:${call.stream ? 'streamRawPredict' : 'rawPredict'}`);
  const betas = betasOf(options, call);
  if (!betas.some((beta) => beta.startsWith('context-management-'))) delete rest.context_management;
  const body: JsonObject = { anthropic_version: VERSION, ...rest, ...(counts && model !== undefined ? { model } : {}) };
  return jsonRequest(
    url,
    call,
    betas.length === 0 ? headers : { ...headers, 'anthropic-beta': betas.join(',') },
    Buffer.from(JSON.stringify(body)),
  );
}

/** https://developers.google.com/identity/protocols/oauth2/service-account#httprest */
function grant(provider: string, account: AccountKey, now: number): UpstreamRequest {
  const url = new URL(account.token_uri);
  if (url.protocol === 'http:' && url.hostname !== '127.0.0.1')
    throw new UsageError(`the key of the provider ${provider} names a token_uri over http, where others can read it`, {
      remedy: 'store the key as Google hands it out',
    });
  const issued = Math.floor(now / 1000);
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = part({ alg: 'RS256', typ: 'JWT', kid: account.private_key_id });
  const claims = { iss: account.client_email, scope: SCOPE, aud: account.token_uri, iat: issued, exp: issued + 3600 };
  const text = `${head}.${part(claims)}`;
  let signature: string;
  try {
    signature = sign('sha256', Buffer.from(text), account.private_key).toString('base64url');
  } catch {
    throw new UsageError(`the key of the provider ${provider} holds no usable private_key`, {
      remedy: 'store the key as Google hands it out',
    });
  }
  return formPost(url, { grant_type: GRANT, assertion: `${text}.${signature}` });
}
