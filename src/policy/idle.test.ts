import { describe, expect, test } from 'vitest';
import { compile } from './policy.fixture.ts';

const idle = async (text: string) => (await compile(text)).warnings.map(({ line, message }) => `${line} ${message}`);

describe('what comes to nothing is said', () => {
  const secret = 'secrets: [{name: TOKEN, use: {host: a.acme.example, header: "Authorization: Bearer {}"}}]';

  test('a secret for a host that no line opens', async () => {
    expect(await idle(secret)).toEqual(['2 the secret TOKEN is for a.acme.example, and no line lets a run go there']);
    expect(await idle(`${secret}\nsecurity: {allowed_network_hosts: ["*.acme.example:8443"]}`)).toEqual([]);
    const rule = 'permit (principal, action == Action::"net.connect", resource) when { context.port == 443 };';
    expect(await idle(`${secret}\nrules: |\n  ${rule}`)).toEqual([]);
  });

  test('providers without models, models without providers, a default that is none of them', async () => {
    expect(await idle('llm_policy: {allowed_providers: [a]}')).toEqual([expect.stringContaining('models is not set')]);
    expect(await idle('llm_policy: {models: [a]}')).toEqual([expect.stringContaining('providers is not set')]);
    expect(await idle('llm_policy: {allowed_providers: [a], models: [m], default_provider: b}')).toEqual([
      expect.stringContaining('default_provider: b is not among'),
    ]);
    expect(await idle('llm_policy: {allowed_providers: [a], models: [m], default_provider: a}')).toEqual([]);
    expect(await idle('llm_policy: {allowed_providers: [], models: []}')).toEqual([]);
  });

  test.each([
    'localhost:3000',
    '10.0.0.1',
    '127.0.0.1:8080',
    '172.20.1.1',
    '169.254.169.254',
    '"[::1]:80"',
    '"[fd00::1]"',
  ])('a private address that is not said to be meant: %s', async (host) => {
    expect(await idle(`security: {allowed_network_hosts: [${host}]}`)).toEqual([
      expect.stringContaining('private: true'),
    ]);
  });

  test('nor anything else', async () => {
    expect(
      await idle(
        'security: {allowed_network_hosts: [10.acme.example, 172.40.1.1, 8.8.8.8, {host: 10.0.0.1, port: 80, private: true}]}',
      ),
    ).toEqual([]);
  });
});
