import { z } from 'zod';
import { UsageError } from '../../../../base/errors.ts';
import type { WireName } from '../../wire/wire.ts';
import { jsonKey } from '../json-key.ts';
import type { Provider, ProviderOptions, UpstreamCall } from '../provider.ts';
import { BearerToken, formPost } from '../token.ts';
import { endpoint, jsonRequest, needs, onlySettings } from './shared.ts';

const PATHS = { chat: '/chat/completions', responses: '/responses' } as const;
const entraKey = z.strictObject({ tenantId: z.string(), clientId: z.string(), clientSecret: z.string() });
const SCOPE = 'https://cognitiveservices.azure.com/.default';

/**
 * https://learn.microsoft.com/azure/ai-services/openai/reference. `settings.api_version`: a date speaks Chat Completions under the deployment's
 * own path; left out, it is the v1 path, with Responses too. `settings.auth`: `api-key` (default), `bearer` (the key is a token), `entra` (the
 * key is JSON of an application's tenantId, clientId, clientSecret); `settings.authority` is where its tokens are had.
 */
export function azureOpenAi(options: ProviderOptions): Provider {
  const { name, models, headers, settings } = options;
  const base = needs(options, 'baseUrl', 'base_url: https://NAME.openai.azure.com');
  needs(options, 'key', 'key: {secret: AZURE_OPENAI_API_KEY}');
  onlySettings(options, ['api_version', 'auth', 'authority']);
  const version = settings.api_version ?? 'v1';
  if (!/^(v1|\d{4}-\d\d-\d\d(-preview)?)$/.test(version))
    throw new UsageError(`the provider ${name} has no usable api_version: ${version}`, {
      remedy: 'write api_version: "2024-10-21", or leave it out for the v1 path',
    });
  const credentials = credentialsOf(options);
  const wires: WireName[] = version === 'v1' ? ['responses', 'chat'] : ['chat'];
  return {
    name,
    driver: 'azure-openai',
    wires,
    models,
    async prepare(call) {
      const credential = await credentials();
      return jsonRequest(urlOf(base, version, call), call, {
        ...headers,
        ...credential,
        'x-ms-client-request-id': call.requestId,
      });
    },
  };
}

function urlOf(base: URL, version: string, { wire, model }: UpstreamCall): URL {
  const path = PATHS[wire as keyof typeof PATHS];
  if (version === 'v1') return endpoint(base, `/openai/v1${path}`);
  const url = endpoint(base, `/openai/deployments/${encodeURIComponent(model.upstream)}${path}`);
  url.searchParams.set('api-version', version);
  return url;
}

function credentialsOf(options: ProviderOptions): () => Promise<Record<string, string>> {
  const { name, settings } = options;
  const key = options.key as NonNullable<ProviderOptions['key']>;
  const auth = settings.auth ?? 'api-key';
  if (auth === 'api-key') return async () => ({ 'api-key': await key() });
  if (auth === 'bearer') return async () => ({ authorization: `Bearer ${await key()}` });
  if (auth !== 'entra')
    throw new UsageError(`the provider ${name} knows no auth: ${auth}`, { remedy: 'there are api-key, bearer, entra' });
  const authority = new URL(settings.authority ?? 'https://login.microsoftonline.com');
  const token = new BearerToken(options);
  return async () => {
    const text = await key();
    const bearer = await token.get(text, () => {
      const write = '{"tenantId": …, "clientId": …, "clientSecret": …}';
      const { tenantId, clientId, clientSecret } = jsonKey(name, text, entraKey, write);
      return formPost(endpoint(authority, `/${encodeURIComponent(tenantId)}/oauth2/v2.0/token`), {
        grant_type: 'client_credentials',
        client_id: clientId,
        client_secret: clientSecret,
        scope: SCOPE,
      });
    });
    return { authorization: `Bearer ${bearer}` };
  };
}
