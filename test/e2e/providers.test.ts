import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { providerDrivers } from '../../src/gateways/llm/providers/index.ts';
import { Cloud, type CloudRequest, type CloudShape, wrongAssertion, wrongSignature } from '../fakes/models/clouds.ts';
import { Installation, Project } from '../fakes/project.ts';

const _cordon = join(import.meta.dirname, '../../cordon');
const KEY = 'sk-the-real-key-of-the-provider-99';
const aws = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const account = (url: string) =>
  JSON.stringify({
    type: 'service_account',
    project_id: 'acme-models',
    private_key_id: 'k1',
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    client_email: 'cordon@acme-models.iam.gserviceaccount.com',
    token_uri: `${url}/token`,
  });

const byBody = ({ body }: CloudRequest) => body.stream === true;
const byUrl = ({ url }: CloudRequest) => /stream/i.test(url);
const wants = (right: boolean, what: string) => (right ? null : what);
const bearer = (token: string) => (request: CloudRequest) =>
  wants(request.headers.authorization === `Bearer ${token}`, 'the token is wrong');

interface Upstream {
  readonly shape: CloudShape;
  readonly upstream: string;
  readonly key: (url: string) => string;
  readonly path?: string;
  readonly options?: readonly string[];
}

const upstreams: Readonly<Record<keyof typeof providerDrivers, Upstream>> = {
  anthropic: {
    shape: { wire: 'messages', stream: byBody, wrong: ({ headers }) => wants(headers['x-api-key'] === KEY, 'the key') },
    upstream: 'claude-x',
    key: () => KEY,
  },
  openai: {
    shape: { wire: 'responses', stream: byBody, wrong: bearer(KEY) },
    upstream: 'gpt-x',
    key: () => KEY,
    path: '/v1',
  },
  'openai-compatible': {
    shape: { wire: 'chat', stream: byBody, wrong: bearer(KEY) },
    upstream: 'qwen-x',
    key: () => KEY,
    path: '/v1',
  },
  gemini: {
    shape: {
      wire: 'gemini',
      stream: byUrl,
      wrong: ({ headers }) => wants(headers['x-goog-api-key'] === KEY, 'the key'),
    },
    upstream: 'gemini-x',
    key: () => KEY,
  },
  'azure-openai': {
    shape: { wire: 'chat', stream: byBody, wrong: ({ headers }) => wants(headers['api-key'] === KEY, 'the key') },
    upstream: 'gpt-x',
    key: () => KEY,
    options: ['--setting', 'api_version=2024-10-21'],
  },
  bedrock: {
    shape: {
      wire: 'messages',
      stream: byUrl,
      frames: true,
      error: (_, message) => ({ message }),
      wrong: (request) => wrongSignature(request, aws, 'bedrock'),
    },
    upstream: 'eu.anthropic.claude-x-v1:0',
    key: () => JSON.stringify(aws),
    options: ['--region', 'eu-central-1'],
  },
  vertex: {
    shape: {
      wire: 'gemini',
      stream: byUrl,
      wrong: bearer('google-token-1'),
      token: ({ url, body }) =>
        url !== '/token'
          ? null
          : wrongAssertion(body.assertion, publicKey, Date.now()) === null
            ? { status: 200, body: { access_token: 'google-token-1', expires_in: 3599 } }
            : { status: 400, body: { error: 'invalid_grant' } },
    },
    upstream: 'gemini-x',
    key: account,
    options: ['--region', 'eu-central-1'],
  },
};
const names = Object.keys(upstreams) as (keyof typeof upstreams)[];

const ASK = `use strict; use IO::Socket::INET;
my ($path, $body) = @ARGV;
my ($host, $port) = $ENV{OPENAI_BASE_URL} =~ m{^http://([^:/]+):(\\d+)/};
my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die $!;
printf $socket "POST %s HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer %s\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s", $path, $ENV{OPENAI_API_KEY}, length $body, $body;
undef $/; print scalar <$socket>, "\\n";
`;

/** A question in that protocol: path and body. */
function asked(wire: CloudShape['wire'], stream: boolean): readonly [string, object] {
  const messages = [{ role: 'user', content: 'hello' }];
  const verb = stream ? 'streamGenerateContent?alt=sse' : 'generateContent';
  if (wire === 'gemini')
    return [`/v1beta/models/m:${verb}`, { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] }];
  if (wire === 'messages') return ['/v1/messages', { model: 'm', max_tokens: 50, messages, stream }];
  if (wire === 'chat') return ['/v1/chat/completions', { model: 'm', messages, stream }];
  return ['/v1/responses', { model: 'm', input: 'hello', stream }];
}

const site = new Installation();
const clouds = new Map<string, Cloud>();
let project: Project;
beforeAll(async () => {
  project = new Project(join(site.root, 'repository'));
  project
    .write('ask.pl', ASK)
    .write(
      '.cordon/policy.yaml',
      `version: 1\nllm_policy: {allowed_providers: [${names.join(', ')}], models: ["m"]}\n`,
    );
  project.commit('first');
  for (const name of names) {
    const { shape, upstream, key, path = '', options = [] } = upstreams[name];
    const cloud = await new Cloud(shape).start();
    clouds.set(name, cloud);
    const secret = `KEY_OF_${name.toUpperCase().replaceAll('-', '_')}`;
    site.keep(secret, key(cloud.url));
    const at = ['--base-url', `${cloud.url}${path}`, '--key', secret, '--model', `m=${upstream}`];
    const { status, stderr } = site.cordon('providers', 'add', name, '--driver', name, ...at, ...options);
    expect(status, stderr).toBe(0);
  }
}, 60_000);
afterAll(async () => {
  for (const cloud of clouds.values()) await cloud.close();
  site.dispose();
});

test.each(names)(
  '%s: whole and streamed, in its own protocol and in another',
  async (name) => {
    const cloud = clouds.get(name) as Cloud;
    const text = `it is ${name} that speaks`;
    cloud.turns = Array.from({ length: 4 }, () => ({ text, pieces: 2, usage: { input: 20, output: 6 } }));
    const own = upstreams[name].shape.wire;
    const script = [own, own === 'messages' ? ('gemini' as const) : ('messages' as const)]
      .flatMap((wire) => [asked(wire, true), asked(wire, false)])
      .map(([path, body]) => `perl ask.pl '${path}' '${JSON.stringify(body)}'`);
    const { status, stderr, result } = await site.start(project, script.join('\n'), '--model', `${name}/m`).done;
    expect(status, stderr).toBe(0);
    expect(cloud.wrong).toEqual([]);
    expect(stderr.match(/HTTP\/1\.1 200/g), stderr).toHaveLength(4);
    expect(stderr.match(/that speaks/g)?.length).toBeGreaterThanOrEqual(4);
    expect(result.usage.models).toMatchObject({ requests: 4, inputTokens: 80, outputTokens: 24 });
    expect(stderr).not.toContain(KEY);
    expect(site.verify()).toEqual([]);
  },
  60_000,
);
