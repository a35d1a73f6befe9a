import { generateKeyPairSync } from 'node:crypto';
import { providerDrivers } from '../../src/gateways/llm/providers/index.ts';
import type { ProviderOptions } from '../../src/gateways/llm/providers/provider.ts';
import { type CloudRequest, type CloudShape, wrongAssertion, wrongSignature } from '../fakes/models/clouds.ts';
import { providerConformance } from './providers.ts';

const KEY = 'sk-real-key-0123456789';
const byBody = ({ body }: CloudRequest) => body.stream === true;
const byUrl = ({ url }: CloudRequest) => /stream/i.test(url);

/** The first of these that does not hold, as what is wrong. */
function unless(...claims: readonly (readonly [boolean, string])[]): string | null {
  return claims.find(([holds]) => !holds)?.[1] ?? null;
}
const at = (path: string, { url }: CloudRequest) => [url === path, `the path is ${url}`] as const;
const bearer = (token: string, { headers }: CloudRequest) =>
  [headers.authorization === `Bearer ${token}`, 'the token is wrong'] as const;

function withSettings(driver: keyof typeof providerDrivers, settings: Record<string, string> = {}, path = '') {
  return (options: ProviderOptions) =>
    providerDrivers[driver]({
      ...options,
      settings: Object.fromEntries(
        Object.entries(settings).map(([name, value]) => [name, value.replace('CLOUD', options.baseUrl?.origin ?? '')]),
      ),
      baseUrl: new URL(`${options.baseUrl?.origin}${path}`),
    });
}

const plain = { key: () => KEY, secrets: [KEY] };

providerConformance('anthropic', {
  ...plain,
  upstream: 'claude-x',
  shape: {
    wire: 'messages',
    stream: byBody,
    wrong: (request) =>
      unless(
        at('/v1/messages', request),
        [request.headers['x-api-key'] === KEY, 'the key is wrong'],
        [request.headers['anthropic-version'] === '2023-06-01', 'no version'],
        [request.body.model === 'claude-x', 'another model'],
      ),
  },
  open: withSettings('anthropic'),
});

providerConformance('gemini', {
  ...plain,
  upstream: 'gemini-x',
  shape: {
    wire: 'gemini',
    stream: byUrl,
    wrong: (request) =>
      unless(
        at(
          byUrl(request)
            ? '/v1beta/models/gemini-x:streamGenerateContent?alt=sse'
            : '/v1beta/models/gemini-x:generateContent',
          request,
        ),
        [request.headers['x-goog-api-key'] === KEY, 'the key is wrong'],
      ),
  },
  open: withSettings('gemini'),
});

for (const wire of ['chat', 'responses'] as const) {
  const shape: CloudShape = {
    wire,
    stream: byBody,
    wrong: (request) =>
      unless(
        at(wire === 'chat' ? '/v1/chat/completions' : '/v1/responses', request),
        bearer(KEY, request),
        [request.body.model === 'gpt-x', 'another model'],
        [wire === 'chat' || request.body.store === false, 'the provider would keep it'],
      ),
  };
  providerConformance(`openai, ${wire}`, {
    ...plain,
    upstream: 'gpt-x',
    shape,
    open: withSettings('openai', {}, '/v1'),
  });
  providerConformance(`openai-compatible, ${wire}`, {
    ...plain,
    upstream: 'gpt-x',
    shape,
    open: withSettings('openai-compatible', { wires: wire }, '/v1'),
  });
}

providerConformance('azure-openai, deployments', {
  ...plain,
  upstream: 'gpt-x eu',
  shape: {
    wire: 'chat',
    stream: byBody,
    wrong: (request) =>
      unless(
        at('/openai/deployments/gpt-x%20eu/chat/completions?api-version=2024-10-21', request),
        [request.headers['api-key'] === KEY, 'the key is wrong'],
        [request.headers.authorization === undefined, 'two credentials'],
      ),
  },
  open: withSettings('azure-openai', { api_version: '2024-10-21' }),
});

providerConformance('azure-openai, v1 with Entra', {
  upstream: 'gpt-x',
  tokens: 1,
  key: () => JSON.stringify({ tenantId: 'acme', clientId: 'cordon', clientSecret: 'entra-secret-0123' }),
  secrets: ['entra-secret-0123', 'entra-token-1'],
  shape: {
    wire: 'responses',
    stream: byBody,
    wrong: (request) => unless(at('/openai/v1/responses', request), bearer('entra-token-1', request)),
    token({ url, body }) {
      if (url !== '/acme/oauth2/v2.0/token') return null;
      const right =
        body.grant_type === 'client_credentials' &&
        body.client_id === 'cordon' &&
        body.client_secret === 'entra-secret-0123' &&
        body.scope === 'https://cognitiveservices.azure.com/.default';
      return right
        ? { status: 200, body: { access_token: 'entra-token-1', expires_in: 3599, token_type: 'Bearer' } }
        : { status: 401, body: { error: 'invalid_client' } };
    },
  },
  open: withSettings('azure-openai', { auth: 'entra', authority: 'CLOUD' }),
});

const aws = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
const bedrock = (credentials: (request: CloudRequest) => readonly [boolean, string]): CloudShape => ({
  wire: 'messages',
  stream: byUrl,
  frames: true,
  error: (_, message) => ({ message }),
  wrong: (request) =>
    unless(
      at(`/model/eu.anthropic.claude-x-v1%3A0/${byUrl(request) ? 'invoke-with-response-stream' : 'invoke'}`, request),
      credentials(request),
      [request.body.anthropic_version === 'bedrock-2023-05-31', 'no version'],
      [!('model' in request.body) && !('stream' in request.body), 'what stands in the address stands in the body'],
    ),
});

providerConformance('bedrock, signed', {
  upstream: 'eu.anthropic.claude-x-v1:0',
  key: () => JSON.stringify({ ...aws, sessionToken: 'session-token-0123' }),
  secrets: [aws.secretAccessKey, 'session-token-0123'],
  shape: bedrock((request) => {
    if (request.headers['x-amz-security-token'] !== 'session-token-0123') return [false, 'no session'];
    const wrong = wrongSignature(request, aws, 'bedrock');
    return [wrong === null, String(wrong)];
  }),
  open: withSettings('bedrock'),
});

providerConformance('bedrock, with an API key', {
  ...plain,
  upstream: 'eu.anthropic.claude-x-v1:0',
  shape: bedrock((request) => bearer(KEY, request)),
  open: withSettings('bedrock'),
});

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const account = (url: string) =>
  JSON.stringify({
    type: 'service_account',
    project_id: 'acme-models',
    private_key_id: 'k1',
    private_key: pem,
    client_email: 'cordon@acme-models.iam.gserviceaccount.com',
    token_uri: `${url}/token`,
  });
const google = (path: (request: CloudRequest) => string, more: (request: CloudRequest) => string | null) => ({
  wrong: (request: CloudRequest) =>
    unless(
      at(`/v1/projects/acme-models/locations/eu-central-1/publishers${path(request)}`, request),
      bearer('google-token-1', request),
    ) ?? more(request),
  token({ url, body }: CloudRequest) {
    if (url !== '/token') return null;
    const wrong =
      body.grant_type === 'urn:ietf:params:oauth:grant-type:jwt-bearer'
        ? wrongAssertion(body.assertion, publicKey, Date.now())
        : 'another grant';
    return wrong === null
      ? { status: 200, body: { access_token: 'google-token-1', expires_in: 3599 } }
      : { status: 400, body: { error: 'invalid_grant', error_description: wrong } };
  },
});
const vertex = {
  tokens: 1,
  key: account,
  secrets: [pem.split('\n')[1] as string, 'google-token-1'],
  open: withSettings('vertex'),
};

providerConformance('vertex, Gemini', {
  ...vertex,
  upstream: 'gemini-x',
  shape: {
    wire: 'gemini',
    stream: byUrl,
    ...google(
      (request) => `/google/models/gemini-x:${byUrl(request) ? 'streamGenerateContent?alt=sse' : 'generateContent'}`,
      () => null,
    ),
  },
});

providerConformance('vertex, Anthropic', {
  ...vertex,
  upstream: 'claude-x@20250929',
  shape: {
    wire: 'messages',
    stream: byUrl,
    ...google(
      (request) => `/anthropic/models/claude-x@20250929:${byUrl(request) ? 'streamRawPredict' : 'rawPredict'}`,
      ({ body }) =>
        unless(
          [body.anthropic_version === 'vertex-2023-10-16', 'no version'],
          [!('model' in body), 'the model stands in the body'],
        ),
    ),
  },
});
