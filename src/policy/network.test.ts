import { describe, expect, test } from 'vitest';
import { hostFacts, mayResolve } from './network.ts';
import { compile } from './policy.fixture.ts';

const hosts = (...list: string[]) => `security: {allowed_network_hosts: [${list.join(', ')}]}`;

describe('what a gateway must do about a host', () => {
  test.each([
    ['a whole host', hosts('a.example'), false],
    ['methods', hosts('{host: a.example, methods: [GET]}'), true],
    ['paths', hosts('{host: a.example, paths: [/a]}'), true],
    ['a whole host beside a part of it', hosts('a.example', '{host: a.example, methods: [GET]}'), false],
    ['methods of another host', hosts('a.example', '{host: b.example, methods: [GET]}'), false],
    ['methods on another port', hosts('a.example', '{host: a.example, port: 80, methods: [GET]}'), false],
    ['an approval of requests', `${hosts('a.example')}\napprovals: [{when: net.request, approvers: ["role:a"]}]`, true],
    [
      'a raw rule about requests',
      `${hosts('a.example')}\nrules: |\n  forbid (principal, action == Action::"net.request", resource) when { context.method == "DELETE" };`,
      true,
    ],
  ])('inspect: %s', async (_name, text, inspect) => {
    expect(hostFacts(await compile(text), 'a.example', 443).inspect).toBe(inspect);
  });

  test('the organisation restricts what a repository opens whole', async () => {
    const policy = await compile(
      hosts('a.example'),
      hosts('{host: "*.example.com"}', '{host: a.example, methods: [GET]}'),
    );
    expect(hostFacts(policy, 'a.example', 443).inspect).toBe(true);
  });

  test('private and websocket need every layer, budgets take the least', async () => {
    const mine = '{host: a.example, private: true, websocket: true, max_upload: 2m, max_download: 5m}';
    const alone = hostFacts(await compile(hosts(mine)), 'a.example', 443);
    expect(alone).toMatchObject({
      private: true,
      websocket: true,
      maxUpload: 2 * 1024 ** 2,
      maxDownload: 5 * 1024 ** 2,
    });
    const below = hostFacts(await compile(hosts(mine), hosts('{host: a.example, max_upload: 1m}')), 'a.example', 443);
    expect(below).toMatchObject({ private: false, websocket: false, maxUpload: 1024 ** 2, maxDownload: 5 * 1024 ** 2 });
    const agreed = hostFacts(await compile(hosts(mine), hosts('{host: a.example, private: true}')), 'a.example', 443);
    expect(agreed).toMatchObject({ private: true, websocket: false });
  });

  test('they are part of what the policy is: its digest changes', async () => {
    const [plain, open] = await Promise.all([
      compile(hosts('{host: a.example}')),
      compile(hosts('{host: a.example, private: true}')),
    ]);
    expect(plain.digest).not.toBe(open.digest);
  });

  test('a repository that opens private addresses above the ceiling is warned', async () => {
    const policy = await compile(hosts('{host: a.example, private: true}'), hosts('a.example'));
    expect(policy.warnings).toHaveLength(1);
  });

  test('a value that is no truth value', async () => {
    await expect(compile(hosts('{host: a.example, private: "yes"}'))).rejects.toThrow(/neither true nor false/);
  });
});

test('names that may be answered for', async () => {
  const policy = await compile(hosts('a.example:8443', '"*.wild.example.com"'));
  expect(mayResolve(policy, 'a.example')).toBe(true);
  expect(mayResolve(policy, 'x.wild.example.com')).toBe(true);
  expect(mayResolve(policy, 'wild.example.com')).toBe(false);
  expect(mayResolve(policy, 'b.example')).toBe(false);
  expect(mayResolve(policy, '127.0.0.1')).toBe(false);
});
