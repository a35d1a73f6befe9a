import { describe, expect, test } from 'vitest';
import { awsFrame, chunkFrame } from '../../../../test/fakes/models/clouds.ts';
import { bedrockEvents } from './aws-event-stream.ts';
import { signAws } from './aws-signature.ts';
import { type ProviderDriverName, providerDrivers } from './index.ts';
import type { ProviderOptions, UpstreamCall } from './provider.ts';
import { BearerToken } from './token.ts';

const model = { name: 'm', upstream: 'anthropic.m', context: null, maxOutput: null, price: null, reasoning: null };
const options = (more: Partial<ProviderOptions> = {}): ProviderOptions => ({
  name: 'p',
  baseUrl: new URL('https://models.acme.example'),
  region: 'eu-central-1',
  key: async () => 'key',
  models: [model],
  headers: {},
  settings: {},
  now: () => 0,
  post: async () => ({ status: 500, text: '' }),
  ...more,
});
const call = ({ body = { model: 'm', messages: [] }, ...more }: Partial<UpstreamCall> = {}): UpstreamCall => ({
  wire: 'messages',
  operation: 'generate',
  model,
  stream: false,
  requestId: 'req_1',
  body,
  bytes: Buffer.from(JSON.stringify(body)),
  headers: {},
  ...more,
});

describe('signatures of Amazon’s', () => {
  const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
  const now = Date.UTC(2015, 7, 30, 12, 36, 0);
  const type = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };

  // Amazon's own published vectors: get-vanilla, post-vanilla, and the worked example of IAM's ListUsers.
  test.each([
    [
      'GET',
      'https://example.amazonaws.com/',
      'service',
      {},
      '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
    ],
    [
      'POST',
      'https://example.amazonaws.com/',
      'service',
      {},
      '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
    ],
    [
      'GET',
      'https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08',
      'iam',
      type,
      '5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
    ],
  ])('%s %s', (method, url, service, headers, signature) => {
    const body = Buffer.alloc(0);
    const signed = signAws({
      method,
      url: new URL(url),
      headers,
      body,
      region: 'us-east-1',
      service,
      credentials,
      now,
    });
    expect(signed.authorization).toMatch(new RegExp(`Signature=${signature}$`));
  });
});

describe('frames of Amazon’s', () => {
  const read = async (...pieces: Buffer[]) => {
    let text = '';
    const source = async function* () {
      yield* pieces;
    };
    for await (const piece of bedrockEvents(source())) text += piece;
    return text;
  };
  const good = chunkFrame('data: {"type":"ping"}');

  test('a frame that is published: empty', async () => {
    expect(awsFrame({}, Buffer.alloc(0)).toString('hex')).toBe('000000100000000005c248eb7d98c8ff');
    expect(await read(Buffer.from('000000100000000005c248eb7d98c8ff', 'hex'), good)).toBe(
      'event: ping\ndata: {"type":"ping"}\n\n',
    );
  });

  test('one wrong bit anywhere is an error', async () => {
    for (let at = 0; at < good.length; at++) {
      const bad = Buffer.from(good);
      bad.writeUInt8(bad.readUInt8(at) ^ 1, at);
      await expect(read(bad)).rejects.toThrow(/damaged/);
    }
  });

  test.each([
    ['cut', good.subarray(0, -1)],
    ['a length beyond reason', awsFrame({}, Buffer.alloc(25 * 1024 * 1024)).subarray(0, 12)],
    ['a chunk without bytes', awsFrame({ ':event-type': 'chunk', ':message-type': 'event' }, Buffer.from('{}'))],
    ['a chunk that is no event', chunkFrame('data: 7')],
    ['a line break in a type', chunkFrame('data: {"type":"a\\ndata: x"}')],
  ])('%s', async (_, bytes) => {
    await expect(read(bytes)).rejects.toThrow(/damaged/);
  });

  test('an exception in the stream is an error of the protocol', async () => {
    const headers = { ':message-type': 'exception', ':exception-type': 'throttlingException' };
    expect(await read(awsFrame(headers, Buffer.from('{"message":"slow down"}')))).toBe(
      'event: error\ndata: {"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}\n\n',
    );
  });
});

describe('settings that cannot be used', () => {
  test.each<[ProviderDriverName, Partial<ProviderOptions>, RegExp]>([
    ['azure-openai', { baseUrl: null }, /no base_url/],
    ['azure-openai', { key: null }, /no key/],
    ['azure-openai', { settings: { api_version: 'latest' } }, /api_version: latest/],
    ['azure-openai', { settings: { auth: 'ntlm' } }, /no auth: ntlm/],
    ['azure-openai', { settings: { colour: 'red' } }, /no setting colour/],
    ['bedrock', { region: null }, /no region/],
    ['bedrock', { models: [{ ...model, upstream: 'meta.llama3' }] }, /only Anthropic/],
    ['vertex', { region: null }, /no region/],
    ['vertex', { key: null }, /no key/],
  ])('%s: %o', (driver, more, message) => {
    expect(() => providerDrivers[driver](options(more))).toThrow(message);
  });

  test.each<[ProviderDriverName, Record<string, string>, string, RegExp]>([
    ['bedrock', {}, '{"accessKeyId":"AKID","secretAccessKey":7}', /secretAccessKey/],
    ['bedrock', {}, '{"accessKeyId":"AKID"', /no JSON/],
    ['vertex', {}, 'ya29.sekret', /no JSON/],
    ['vertex', {}, '{"client_email":"a","private_key":"sekret"}', /private_key/],
    ['vertex', {}, '{"client_email":"a","private_key":"PRIVATE KEY sekret","project_id":"p"}', /no usable private_key/],
    [
      'vertex',
      {},
      '{"client_email":"a","private_key":"PRIVATE KEY sekret","token_uri":"http://x.example/","project_id":"p"}',
      /over http/,
    ],
    ['azure-openai', { auth: 'entra' }, '{"tenantId":"a","clientSecret":"sekret"}', /clientId/],
  ])(
    '%s: a key that is none says what is wrong with it, and not what it is',
    async (driver, settings, key, message) => {
      const provider = providerDrivers[driver](options({ key: async () => key, settings }));
      const error = await provider.prepare(call()).then(
        () => null,
        (caught: Error) => caught,
      );
      expect(error?.message).toMatch(message);
      expect(error?.message).not.toMatch(/sekret|AKID/);
    },
  );
});

describe('what a cloud gets of Anthropic’s additions', () => {
  const beta = 'context-1m-2025-08-07,claude-code-20250219,context-management-2025-06-27';

  test('Bedrock: in the body, those it knows, or those that are set', async () => {
    const sent = async (settings: Record<string, string>) => {
      const body = { model: 'm', messages: [], context_management: { edits: [] } };
      const request = await providerDrivers
        .bedrock(options({ settings }))
        .prepare(call({ headers: { 'anthropic-beta': beta }, body }));
      expect(JSON.stringify(request.headers)).not.toContain('context-1m');
      return JSON.parse(request.body.toString());
    };
    expect((await sent({})).anthropic_beta).toEqual(['context-1m-2025-08-07', 'context-management-2025-06-27']);
    const set = await sent({ betas: 'claude-code-20250219' });
    expect(set.anthropic_beta).toEqual(['claude-code-20250219']);
    expect(set.context_management).toBeUndefined();
  });

  test('Vertex counts tokens under an address of its own; Bedrock does not count', async () => {
    const claude = { ...model, upstream: 'claude-x@1' };
    const { generateKeyPairSync } = await import('node:crypto');
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const private_key = privateKey.export({ type: 'pkcs8', format: 'pem' });
    const provider = providerDrivers.vertex(
      options({
        key: async () => JSON.stringify({ client_email: 'a', private_key, project_id: 'acme' }),
        post: async () => ({ status: 200, text: '{"access_token":"t","expires_in":3600}' }),
      }),
    );
    const counted = call({ operation: 'count', model: claude, body: { model: 'claude-x@1', messages: [] } });
    const request = await provider.prepare(counted);
    expect(request.url.pathname).toMatch(/\/anthropic\/models\/count-tokens:rawPredict$/);
    expect(JSON.parse(request.body.toString()).model).toBe('claude-x@1');
    await expect(providerDrivers.bedrock(options()).prepare(call({ operation: 'count' }))).rejects.toThrow(
      /cannot count/,
    );
  });
});

describe('tokens that are had for a key', () => {
  function source(answers: { status: number; text: string }[]) {
    const asked: number[] = [];
    let time = 0;
    const token = new BearerToken({
      name: 'p',
      now: () => time,
      post: async () => {
        asked.push(time);
        return answers.shift() ?? { status: 200, text: `{"access_token":"t${asked.length}","expires_in":3600}` };
      },
    });
    const request = () => ({ url: new URL('https://tokens.acme.example/'), headers: {}, body: Buffer.alloc(0) });
    return { asked, at: (ms: number) => (time = ms), get: (key = 'k') => token.get(key, request) };
  }

  test('is kept until shortly before its end, and not for another key', async () => {
    const { asked, at, get } = source([]);
    expect(await Promise.all([get(), get()])).toEqual(['t1', 't1']);
    at(3_400_000);
    expect(await get()).toBe('t1');
    at(3_500_000);
    expect(await get()).toBe('t2');
    expect(await get('other')).toBe('t3');
    expect(asked).toHaveLength(3);
  });

  test('a failure is not kept, and shows only a code', async () => {
    const { get } = source([{ status: 400, text: '{"error":"invalid_grant","error_description":"sekret"}' }]);
    await expect(get()).rejects.toThrow('tokens.acme.example gives no token for the provider p (400: invalid_grant)');
    expect(await get()).toBe('t2');
  });

  test('one that says nothing of its end is used once', async () => {
    const { get } = source([{ status: 200, text: '{"access_token":"short"}' }]);
    expect(await get()).toBe('short');
    expect(await get()).toBe('t2');
  });
});
