import { describe, expect, test } from 'vitest';
import { DocumentError, PolicyDeniedError, UsageError } from '../base/errors.ts';
import { CEDAR_VERSION, cedar } from './cedar.ts';
import { actionNames, cedarSchema } from './cedar-schema.ts';
import { testPolicy } from './compile.ts';
import { decide } from './decide.ts';
import { defaultLimits } from './limits.ts';
import { pathIn } from './paths.ts';
import { compile, decideLine, effectOf, failure, ORGANISATION, REPOSITORY } from './policy.fixture.ts';

const PUSH = 'git.push ref=refs/heads/cordon/x';

describe("the organisation's ceiling", () => {
  test('a repository grants within it', async () => {
    const policy = await compile(
      'security: {allowed_network_hosts: [a.acme.example, b.evil.example]}',
      'security: {allowed_network_hosts: ["*.acme.example"]}',
    );
    expect(effectOf(policy, 'net.connect host=a.acme.example')).toBe('permit');
    expect(effectOf(policy, 'net.connect host=b.evil.example')).toBe('deny');
    expect(effectOf(policy, 'net.connect host=c.acme.example')).toBe('deny');
  });

  test('above it a grant has no effect; both lines are named, and the decision names the ceiling', async () => {
    const policy = await compile(
      'security:\n  allowed_network_hosts:\n    - b.evil.example',
      'security:\n  allowed_network_hosts: ["*.acme.example"]',
    );
    expect(policy.warnings).toHaveLength(1);
    expect(policy.warnings[0]).toMatchObject({ file: REPOSITORY, line: 4, column: 7 });
    expect(policy.warnings[0]?.message).toContain(`${ORGANISATION}:3`);
    const decision = decideLine(policy, 'net.connect host=b.evil.example');
    expect(decision.rules).toEqual([expect.objectContaining({ layer: 'organisation', file: ORGANISATION, line: 3 })]);
    expect(decision.reason).toContain(`${REPOSITORY}:4 grants it`);
    expect(decision.remedy).toBeUndefined();
  });

  test('by itself it grants nothing', async () => {
    const policy = await compile(undefined, 'security: {allowed_network_hosts: [a.acme.example]}');
    const decision = decideLine(policy, 'net.connect host=a.acme.example');
    expect(decision).toMatchObject({ effect: 'deny', rules: [] });
    expect(decision.remedy).toContain(REPOSITORY);
  });

  test('what it leaves out is the built-in default: no host at all', async () => {
    const policy = await compile(
      'security: {allowed_network_hosts: [a.acme.example]}\ngit: {push: {branches: ["feature/**"], force: permit}}',
      'limits: {memory: 1g}',
    );
    expect(effectOf(policy, 'net.connect host=a.acme.example')).toBe('deny');
    expect(effectOf(policy, 'git.push ref=refs/heads/feature/x')).toBe('deny');
    expect(effectOf(policy, 'git.push ref=refs/heads/feature/x force')).toBe('deny');
    expect(policy.warnings.map((w) => w.line)).toEqual([2, 3, 3]);
  });

  test('its denies and asks stand against any permit below', async () => {
    const policy = await compile(
      'git: {push: {force: permit, delete: permit}}\nsecurity: {allowed_network_hosts: [a.acme.example]}\nrules: |\n  permit (principal, action, resource);',
      'git: {push: {force: ask, delete: deny}}\nfilesystem: {protect: [CODEOWNERS]}\nsecurity: {allowed_network_hosts: [a.acme.example]}\nrules: |\n  permit (principal, action, resource);\n  forbid (principal, action == Action::"net.connect", resource == Host::"a.acme.example:443");',
    );
    expect(effectOf(policy, `${PUSH} force`)).toBe('ask');
    expect(effectOf(policy, `${PUSH} delete`)).toBe('deny');
    expect(effectOf(policy, `${PUSH} changed_paths=CODEOWNERS`)).toBe('ask');
    expect(decideLine(policy, 'net.connect host=a.acme.example')).toMatchObject({
      effect: 'deny',
      rules: [{ layer: 'organisation', line: 7 }],
    });
    expect(decideLine(policy, 'net.connect host=a.acme.example').remedy).toBeUndefined();
    expect(effectOf(policy, 'tool.call server=a tool=b')).toBe('permit');
  });

  test('a deny of the repository stands against the organisation', async () => {
    const policy = await compile('git: {push: {force: deny}}', 'git: {push: {force: permit}}');
    expect(effectOf(policy, `${PUSH} force`)).toBe('deny');
  });

  test('a permit of everything below does not open what the ceiling closes', async () => {
    const policy = await compile('rules: |\n  permit (principal, action, resource);', '');
    for (const line of [
      'net.connect host=a.acme.example',
      'git.push ref=refs/heads/main',
      'tool.call server=a tool=b',
      'secret.use name=A host=a.example',
    ]) {
      expect(effectOf(policy, line)).toBe('deny');
    }
  });

  test('paths and numbers are those of the strictest layer', async () => {
    const policy = await compile(
      'filesystem: {write: ["services/**"], checkout: ["services/**"]}\ngit: {push: {max_changed_lines: 50, max_file_size: 2m}, fetch: {depth: full}}\nlimits: {memory: 4g, pids: 64}\nsandbox: {isolation: namespace, recorder: {on_loss: continue}}',
      'filesystem: {write: ["services/billing/**", docs]}\ngit: {push: {max_changed_lines: 100, max_file_size: 1m}, fetch: {depth: 10}}\nlimits: {memory: 1g, pids: 128, cpus: 1}\nsandbox: {isolation: gvisor}',
    );
    expect(pathIn(policy.filesystem.write, 'services/billing/a')).toBe(true);
    expect(pathIn(policy.filesystem.write, 'services/a')).toBe(false);
    expect(pathIn(policy.filesystem.write, 'docs/a')).toBe(false);
    expect(effectOf(policy, `${PUSH} changed_paths=services/billing/a`)).toBe('permit');
    expect(effectOf(policy, `${PUSH} changed_paths=docs/a`)).toBe('deny');
    expect(policy.git).toEqual({
      fetch: { depth: 10, more: false },
      push: { maxChangedLines: 50, signed: 'optional' },
    });
    expect(policy.limits).toEqual({ ...defaultLimits, memory: 1024 ** 3, pids: 64, cpus: 1 });
    expect(policy.sandbox).toEqual({ driver: 'bubblewrap', isolation: 'gvisor', recorder: { onLoss: 'continue' } });
    expect(policy.warnings.map((w) => w.message.split(' ')[0])).toEqual(
      expect.arrayContaining(['limits.memory:', 'git.push.max_file_size:', 'git.fetch.depth:', 'sandbox.isolation:']),
    );
  });

  test('commands are those of both lists', async () => {
    const pin = 'a'.repeat(64);
    const policy = await compile(
      'security: {allowed_commands: [/usr/bin/git, /usr/bin/curl]}',
      `security: {allowed_commands: [{path: /usr/bin/git, sha256: ${pin}}, /usr/bin/node]}`,
    );
    expect(policy.commands).toMatchObject([{ path: '/usr/bin/git', sha256: pin }]);
    expect((await compile(undefined, 'security: {allowed_commands: [/usr/bin/git]}')).commands).toMatchObject([
      { path: '/usr/bin/git' },
    ]);
    expect((await compile('security: {allowed_commands: [/usr/bin/git]}', 'limits: {}')).commands).toMatchObject([
      { path: '/usr/bin/git' },
    ]);
  });
});

describe('the request', () => {
  test('on a machine of one’s own it grants', async () => {
    const policy = await compile('security: {allowed_commands: [/usr/bin/git]}', undefined, {
      request: { net: ['a.acme.example:8443'], commands: ['/usr/bin/node'] },
    });
    expect(decideLine(policy, 'net.connect host=a.acme.example:8443')).toMatchObject({
      effect: 'permit',
      rules: [{ layer: 'request', file: '--allow-net', line: 0 }],
    });
    expect(policy.commands?.map((command) => command.path)).toEqual(['/usr/bin/git', '/usr/bin/node']);
  });

  test('under an organisation only what that lets it', async () => {
    const ceiling = 'security: {allowed_network_hosts: ["*.acme.example"]}';
    const request = { net: ['a.acme.example'] };
    const error = await failure(compile(undefined, ceiling, { request }));
    expect(error).toBeInstanceOf(PolicyDeniedError);
    expect(error.message).toContain(ORGANISATION);
    const policy = await compile(undefined, `${ceiling}\nrequests: {may_grant: [net]}`, { request });
    expect(effectOf(policy, 'net.connect host=a.acme.example')).toBe('permit');
  });

  test.each([
    [{ net: ['a.evil.example'] }],
    [{ net: ['a.acme.example:80'] }],
    [{ net: ['*.example.org'] }],
    [{ commands: ['/usr/bin/curl'] }],
    [{ secrets: ['NPM_TOKEN'] }],
    [{ limits: { memory: 8 * 1024 ** 3 } }],
    [{ limits: { pids: 100_000 } }],
  ])('above the ceiling %j is refused before anything starts', async (request) => {
    const ceiling =
      'security: {allowed_network_hosts: ["*.acme.example"], allowed_commands: [/usr/bin/git]}\nlimits: {memory: 4g}\nrequests: {may_grant: [net, commands, secrets]}';
    expect(
      await failure(
        compile('secrets: [{name: NPM_TOKEN, use: {host: x.example}}]\nsecurity: {allowed_commands: []}', ceiling, {
          request,
        }),
      ),
    ).toBeInstanceOf(PolicyDeniedError);
  });

  test.each([
    [{ net: ['*'] }],
    [{ net: ['http://a.example/'] }],
    [{ commands: ['git'] }],
    [{ paths: ['/abs'] }],
    [{ commands: ['/opt/tool'] }],
    [{ limits: { pids: 0 } }],
    [{ limits: { memory: Number.NaN } }],
  ])('%j cannot be read', async (request) => {
    expect(await failure(compile(undefined, undefined, { request }))).toBeInstanceOf(UsageError);
  });

  test('a limit that a document states stands; one that none states may be raised', async () => {
    expect((await compile('', undefined, { request: { limits: { wallClock: 7_200_000 } } })).limits.wallClock).toBe(
      7_200_000,
    );
    expect(
      (await compile('limits: {wall_clock: 2h}', undefined, { request: { limits: { wallClock: 60_000 } } })).limits
        .wallClock,
    ).toBe(60_000);
    const error = await failure(
      compile('limits: {wall_clock: 10m}', undefined, { request: { limits: { wallClock: 660_000 } } }),
    );
    expect(error).toBeInstanceOf(PolicyDeniedError);
    expect((error as PolicyDeniedError).rules[0]).toContain(`${REPOSITORY}:2`);
  });

  test('--path only narrows', async () => {
    const policy = await compile('filesystem: {write: ["src/**"]}', undefined, {
      request: { paths: ['src/a', 'docs'] },
    });
    expect(effectOf(policy, 'file.write path=src/a/x')).toBe('permit');
    expect(effectOf(policy, 'file.write path=src/b')).toBe('deny');
    expect(effectOf(policy, 'file.write path=docs/x')).toBe('deny');
    expect(effectOf(policy, 'file.read path=other')).toBe('deny');
    expect(effectOf(policy, `${PUSH} changed_paths=src/a/x,src/b`)).toBe('deny');
  });

  test('a secret is used as a document says', async () => {
    const document = 'secrets: [{name: NPM_TOKEN, use: {host: packages.acme.example}}]';
    expect(
      effectOf(
        await compile(document, undefined, { request: { secrets: ['NPM_TOKEN'] } }),
        'secret.use name=NPM_TOKEN host=packages.acme.example',
      ),
    ).toBe('permit');
    expect(await failure(compile('', undefined, { request: { secrets: ['NPM_TOKEN'] } }))).toBeInstanceOf(
      PolicyDeniedError,
    );
  });
});

describe('tests of a document', () => {
  const line = (expected: string) => `tests:\n  - {action: net.connect, host: "evil.example:443", expect: ${expected}}`;

  test('run at every load, at their line', async () => {
    await compile(line('deny'));
    const error = await failure(compile(line('permit')));
    expect(error).toBeInstanceOf(DocumentError);
    expect((error as DocumentError).problems).toMatchObject([{ file: REPOSITORY, line: 3, column: 5 }]);
    expect(error.message).toMatch(/expects permit, but it comes to deny: .*evil\.example:443/);
  });

  test('speak of the documents, whatever the request grants', async () => {
    const policy = await compile(line('deny'), undefined, { request: { net: ['evil.example'] } });
    expect(effectOf(policy, 'net.connect host=evil.example')).toBe('permit');
  });

  test("the organisation's say what is possible at most", async () => {
    await compile(
      '',
      'security: {allowed_network_hosts: [a.example]}\ntests:\n  - {action: net.connect, host: a.example, expect: permit}\n  - {action: net.connect, host: b.example, expect: deny}',
    );
  });

  test.each([
    '{action: net.connct, host: a.example, expect: deny}',
    '{action: net.connect, hst: a.example, expect: deny}',
    '{action: net.connect, host: "a b", expect: deny}',
    '{action: net.connect, host: a.example, expect: denied}',
    '{action: net.connect, host: a.example}',
  ])('a test that cannot be read is a problem: %s', async (test) => {
    expect(await failure(compile(`tests:\n  - ${test}`))).toBeInstanceOf(DocumentError);
  });

  test('all results come back on demand', async () => {
    const results = await testPolicy({
      repository: {
        file: REPOSITORY,
        text: `version: 1\n${line('permit')}\n  - {action: run.start, expect: permit}\n`,
      },
    });
    expect(results.map((result) => [result.line, result.passed])).toEqual([
      [3, false],
      [4, true],
    ]);
  });
});

describe('the digest', () => {
  test('is the same for the same, and another for anything else', async () => {
    const digests = await Promise.all([
      compile(),
      compile(''),
      compile('limits: {pids: 99}'),
      compile('limits: {pids: 99} # a comment'),
      compile(undefined, ''),
      compile(undefined, undefined, { request: { net: ['a.example'] } }),
      compile(undefined, undefined, { request: { limits: { pids: 77 } } }),
      compile(undefined, undefined, {
        resolved: new Map([['/usr/bin/git', { path: '/usr/bin/git', sha256: 'a'.repeat(64) }]]),
      }),
    ]);
    expect(new Set(digests.map((policy) => policy.digest)).size).toBe(digests.length);
    expect((await compile('limits: {pids: 99}')).digest).toBe(digests[2]?.digest);
    expect(digests[0]?.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test('does not depend on where a document lies', async () => {
    const at = (file: string) => compile(undefined, undefined, { repository: { file, text: 'version: 1\n' } } as never);
    expect((await at('a.yaml')).digest).toBe((await at('b.yaml')).digest);
  });
});

test('resolved commands are permitted by content alone', async () => {
  const sha256 = 'a'.repeat(64);
  const policy = await compile('security: {allowed_commands: [/bin/sh]}', undefined, {
    resolved: new Map([['/bin/sh', { path: '/usr/bin/dash', sha256 }]]),
  });
  const run = (path: string, content: string) => decide(policy, { action: 'command.execute', path, sha256: content });
  expect(run('/usr/bin/dash', sha256)).toMatchObject({
    effect: 'permit',
    rules: [{ line: 2, text: 'security.allowed_commands: /bin/sh' }],
  });
  expect(run('/usr/bin/dash', 'b'.repeat(64)).effect).toBe('deny');
  expect(run('/workspace/dash', sha256).effect).toBe('deny');
});

test('a path that spells a pinned command of the ceiling is not that command', async () => {
  const sha256 = 'a'.repeat(64);
  const odd = `/usr/bin/git sha256:${sha256}`;
  const policy = await compile(
    `security: {allowed_commands: ["${odd}"]}`,
    `security: {allowed_commands: [{path: /usr/bin/git, sha256: ${sha256}}]}`,
  );
  expect(decide(policy, { action: 'command.execute', path: odd, sha256 }).effect).toBe('deny');
  expect(policy.commands).toEqual([]);
});

test('requests in a repository are refused', async () => {
  expect(await failure(compile('requests: {may_grant: [net]}'))).toBeInstanceOf(DocumentError);
});

test('problems of both documents come at once', async () => {
  const error = (await failure(compile('gti: {}', 'secruity: {}'))) as DocumentError;
  expect(error.problems.map((problem) => problem.file)).toEqual([ORGANISATION, REPOSITORY]);
});

test('nothing in a policy can be changed', async () => {
  const policy = await compile('filesystem: {write: ["src/**"]}');
  expect(() => (policy.filesystem.write as unknown[]).push(['**'])).toThrow(TypeError);
  expect(() => Object.assign(policy.limits, { memory: 1 })).toThrow(TypeError);
  expect(() => Object.assign(policy.rules[0] as object, { role: 'permit' })).toThrow(TypeError);
});

test('everything that is compiled passes strict validation', async () => {
  const policy = await compile(
    'security: {allowed_commands: [/usr/bin/git], allowed_network_hosts: ["*.acme.example", {host: b.example, methods: [GET], paths: [/a]}]}\nfilesystem: {checkout: [a], write: [a], protect: [a/b]}\ngit: {push: {branches: [x/*], force: ask, delete: ask, tags: ask, secrets: ask, signed: required, authors: ["*@a.example"], max_changed_lines: 1, max_file_size: 1k}}\nsecrets: [{name: A, use: {host: a.example}}, {name: B, use: {env: B}}]\nllm_policy: {allowed_providers: [p], models: ["m*"]}\napprovals: [{when: git.push, if: "changes protected paths", approvers: ["role:a"]}, {when: net.connect, approvers: ["role:b"]}, {when: git.push, if: context.changedLines > 5, approvers: ["role:c"]}]',
    'requests: {may_grant: [net]}',
  );
  expect(actionNames.every((action) => policy.slices[action].rules.size >= 0)).toBe(true);
  const staticPolicies = Object.fromEntries(policy.rules.map((rule) => [rule.id, rule.cedar]));
  const answer = cedar().validate({ schema: cedarSchema, policies: { staticPolicies } });
  expect(answer).toMatchObject({ type: 'success', validationErrors: [], validationWarnings: [] });
  expect(cedar().getCedarSDKVersion()).toBe(CEDAR_VERSION);
});

test('many policies at once keep their own answers', async () => {
  const policies = await Promise.all(
    Array.from({ length: 80 }, (_, i) => compile(`security: {allowed_network_hosts: [h${i}.acme.example]}`)),
  );
  for (const round of [0, 1]) {
    for (const [i, policy] of policies.entries()) {
      expect(effectOf(policy, `net.connect host=h${i}.acme.example`)).toBe('permit');
      expect(effectOf(policy, `net.connect host=h${(i + 1 + round) % 80}.acme.example`)).toBe('deny');
    }
  }
});
