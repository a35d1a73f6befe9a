import { describe, expect, test } from 'vitest';
import type { PolicyAction } from './action.ts';
import { decide } from './decide.ts';
import { compile, decideLine, effectOf, REPOSITORY } from './policy.fixture.ts';

const PUSH = 'git.push ref=refs/heads/cordon/x';
const push = (overrides: Partial<PolicyAction & { action: 'git.push' }>): PolicyAction => ({
  action: 'git.push',
  repository: 'r',
  ref: 'refs/heads/cordon/x',
  kind: 'update',
  tag: false,
  changedPaths: ['src/a.ts'],
  changedLines: 1,
  largestFile: 1,
  commits: 1,
  authors: ['a@acme.example'],
  signed: false,
  secrets: false,
  ...overrides,
});

describe('the built-in default', () => {
  test.each([
    ['run.start', 'permit'],
    ['command.execute path=/usr/bin/node', 'permit'],
    ['file.read path=src/a.ts', 'permit'],
    ['file.write path=src/a.ts', 'permit'],
    ['git.fetch', 'permit'],
    [PUSH, 'permit'],
    [`${PUSH} create`, 'permit'],
    ['git.push ref=refs/heads/main', 'deny'],
    [`${PUSH} force`, 'deny'],
    [`${PUSH} delete`, 'deny'],
    [`${PUSH} secrets`, 'deny'],
    ['git.push ref=refs/tags/v1', 'deny'],
    ['git.push ref=refs/notes/commits/x', 'deny'],
    ['git.push ref=refs/replace/abc/x', 'deny'],
    ['git.push ref=refs/pull/1/head1', 'deny'],
    [`${PUSH} changed_paths=.cordon/policy.yaml`, 'ask'],
    [`${PUSH} changed_paths=.Cordon/policy.yaml`, 'ask'],
    ['net.connect host=acme.example', 'deny'],
    ['net.connect host=127.0.0.1', 'deny'],
    ['net.request host=acme.example', 'deny'],
    ['llm.request provider=a model=b', 'deny'],
    ['secret.use name=A host=acme.example', 'deny'],
    ['tool.call server=a tool=b', 'deny'],
    ['tool.call server=builtin tool=shell', 'permit'],
    ['tool.call server=acp tool=execute', 'permit'],
    ['tool.call server=builtins tool=shell', 'deny'],
    ['forge.open_pull_request', 'deny'],
    ['forge.comment', 'deny'],
  ])('%s: %s', async (line, effect) => {
    expect(effectOf(await compile(), line)).toBe(effect);
  });
});

describe('lists', () => {
  test('an empty list is nothing, never everything', async () => {
    const policy = await compile(
      'security: {allowed_commands: [], allowed_network_hosts: []}\nfilesystem: {write: []}\ngit: {push: {branches: [], authors: []}}',
    );
    expect(policy.commands).toEqual([]);
    expect(effectOf(policy, 'command.execute path=/usr/bin/git')).toBe('deny');
    expect(effectOf(policy, 'net.connect host=acme.example')).toBe('deny');
    expect(effectOf(policy, 'file.write path=a')).toBe('deny');
    expect(effectOf(policy, PUSH)).toBe('deny');
    expect(effectOf(policy, 'git.sign author=a@acme.example')).toBe('deny');
  });

  test('no list of commands is the whole of /usr, and says so', async () => {
    const policy = await compile('');
    expect(policy.commands).toBeNull();
    expect(decideLine(policy, 'command.execute path=/usr/bin/node').rules[0]?.text).toMatch(
      /is not set: the machine's ordinary \/usr/,
    );
  });

  test('a host, its port, its methods and paths', async () => {
    const policy = await compile(
      'security: {allowed_network_hosts: ["packages.acme.example", "*.cdn.acme.example:8443", {host: api.acme.example, methods: [GET], paths: ["/repos/acme/**"]}]}',
    );
    expect(effectOf(policy, 'net.connect host=packages.acme.example:443')).toBe('permit');
    expect(effectOf(policy, 'net.connect host=packages.acme.example:80')).toBe('deny');
    expect(effectOf(policy, 'net.connect host=evil.packages.acme.example')).toBe('deny');
    expect(effectOf(policy, 'net.connect host=a.cdn.acme.example:8443')).toBe('permit');
    expect(effectOf(policy, 'net.request host=packages.acme.example method=POST path=/x')).toBe('permit');
    expect(effectOf(policy, 'net.request host=api.acme.example path=/repos/acme/x/y')).toBe('permit');
    expect(effectOf(policy, 'net.request host=api.acme.example path=/repos/acme/x method=DELETE')).toBe('deny');
    expect(effectOf(policy, 'net.request host=api.acme.example path=/repos/acmeevil/x')).toBe('deny');
  });

  test('models need a provider and a model', async () => {
    expect(effectOf(await compile('llm_policy: {allowed_providers: [p]}'), 'llm.request provider=p model=gpt-5')).toBe(
      'deny',
    );
    const policy = await compile('llm_policy: {allowed_providers: [p], models: ["gpt-5*"]}');
    expect(effectOf(policy, 'llm.request provider=p model=gpt-5.1')).toBe('permit');
    expect(effectOf(policy, 'llm.request provider=q model=gpt-5.1')).toBe('deny');
    expect(effectOf(policy, 'llm.request provider=p model=gpt-4')).toBe('deny');
  });

  test('a secret goes to its host only', async () => {
    const policy = await compile(
      'secrets: [{name: NPM_TOKEN, use: {host: packages.acme.example, header: "Authorization: Bearer {}"}}]',
    );
    expect(effectOf(policy, 'secret.use name=NPM_TOKEN host=packages.acme.example')).toBe('permit');
    expect(effectOf(policy, 'secret.use name=NPM_TOKEN host=evil.example')).toBe('deny');
    expect(effectOf(policy, 'secret.use name=OTHER host=packages.acme.example')).toBe('deny');
  });
});

describe('a push is judged as a whole', () => {
  const strict = [
    'filesystem: {checkout: ["src/**", "docs/**"], write: ["src/**"], protect: ["src/ci/**", CODEOWNERS]}',
    'git: {push: {branches: ["cordon/**", "fix-*"], authors: ["*@acme.example"], max_changed_lines: 100, max_file_size: 1k}}',
  ].join('\n');

  test.each<[string, Partial<PolicyAction & { action: 'git.push' }>, string, RegExp]>([
    ['what is in order', {}, 'permit', /permitted by/],
    ['another branch of the list', { ref: 'refs/heads/fix-1' }, 'permit', /:3/],
    [
      'one path outside among many',
      { changedPaths: ['src/a', 'docs/b', 'src/c'] },
      'deny',
      /"docs\/b" is outside of what may be written/,
    ],
    ['a path that is not even there', { changedPaths: ['other/x'] }, 'deny', /not in what is checked out/],
    ['a protected path', { changedPaths: ['src/ci/deploy.yml'] }, 'ask', /"src\/ci\/deploy.yml", which is protected/],
    ['too many lines', { changedLines: 101 }, 'deny', /101 lines, more than 100/],
    ['as many lines as may be', { changedLines: 100 }, 'permit', /permitted/],
    ['too large a file', { largestFile: 1025 }, 'deny', /1025 bytes, more than 1k/],
    [
      'a stranger among the authors',
      { authors: ['a@acme.example', 'm@evil.example'] },
      'deny',
      /"m@evil.example" is none of its authors/,
    ],
    ['an author by suffix only', { authors: ['a@acme.example.evil.example'] }, 'deny', /none of its authors/],
    ['a secret', { secrets: true }, 'deny', /looks like a secret/],
    ['force', { kind: 'force' }, 'deny', /force push/],
    [
      'a protected path on a branch that is not open',
      { ref: 'refs/heads/main', changedPaths: ['src/ci/x'] },
      'deny',
      /no rule permits/,
    ],
  ])('%s', async (_, facts, effect, reason) => {
    const decision = decide(await compile(strict), push(facts));
    expect(decision.effect).toBe(effect);
    expect(decision.reason).toMatch(reason);
  });

  test('ask and permit open what deny closes', async () => {
    const policy = await compile('git: {push: {force: ask, delete: permit, tags: ask, secrets: ask}}');
    expect(effectOf(policy, `${PUSH} force`)).toBe('ask');
    expect(effectOf(policy, `${PUSH} delete`)).toBe('permit');
    expect(effectOf(policy, 'git.push ref=refs/tags/v1')).toBe('ask');
    expect(effectOf(policy, `${PUSH} secrets`)).toBe('ask');
    expect(effectOf(policy, 'git.push ref=refs/heads/main force')).toBe('deny');
  });

  test('signed: required is about what is signed, not about who asks', async () => {
    const policy = await compile('git: {push: {signed: required}}');
    const decision = decideLine(policy, PUSH);
    expect(decision).toMatchObject({ effect: 'deny', rules: [{ line: 2, text: 'git.push.signed: required' }] });
    expect(effectOf(policy, `${PUSH} signed`)).toBe('permit');
  });

  test('no facts about tests are facts against them', async () => {
    const policy = await compile(
      'rules: |\n  forbid (principal, action == Action::"git.push", resource) when { context.changedLines > 500 && !context.testsPassed };',
    );
    expect(decide(policy, push({ changedLines: 501 })).effect).toBe('deny');
    expect(decide(policy, push({ changedLines: 501, testsPassed: true })).effect).toBe('permit');
    expect(decide(policy, push({ changedLines: 500 })).effect).toBe('permit');
  });
});

describe('what has no canonical form is denied, whoever asks', () => {
  const open =
    'git: {push: {branches: ["cordon/**", main]}}\nsecurity: {allowed_network_hosts: ["*.acme.example", xn--bcher-kva.example]}\nrules: |\n  permit (principal, action, resource);';
  const connect = (host: string, port = 443): PolicyAction => ({ action: 'net.connect', host, port });

  test.each<[PolicyAction]>([
    [push({ ref: 'refs/heads/cordon/../main' })],
    [push({ ref: 'cordon/x' })],
    [push({ ref: 'refs/heads/cordon/x', tag: true })],
    [push({ changedPaths: ['src/../../etc/passwd'] })],
    [push({ changedPaths: ['a/.GIT/config'] })],
    [push({ changedLines: -1 })],
    [push({ changedLines: 1.5 })],
    [push({ largestFile: Number.NaN })],
    [push({ commits: 2 ** 60 })],
    [connect('A.acme.example')],
    [connect('a.acme.example.')],
    [connect('evil.com#.acme.example')],
    [connect('evil.com/.acme.example')],
    [connect('bücher.example')],
    [connect('a.acme.example', 0)],
    [connect('a.acme.example', 65_979)],
    [connect('a.acme.example', 443.5)],
    [connect('0x7f.1')],
    [connect('.acme.example')],
    [connect('-.acme.example')],
    [{ action: 'net.request', host: 'a.acme.example', port: 443, method: 'GET', path: '/a/../b' }],
    [{ action: 'net.request', host: 'a.acme.example', port: 443, method: 'GET', path: '/a?b' }],
    [connect('0.0.0.0')],
    [{ action: 'net.request', host: 'a.acme.example', port: 443, method: 'get', path: '/a' }],
    [connect('[::]')],
    [{ action: 'tool.call', server: 'a\ud800', tool: 'b' }],
    [{ action: 'secret.use', name: 'A', host: 'A.example' }],
    [{ action: 'file.write', path: '../x' }],
    [{ action: 'command.execute', path: '/usr/bin/../../tmp/x', sha256: '0' }],
  ])('%j', async (action) => {
    const policy = await compile(open);
    const decision = decide(policy, action);
    expect(decision).toMatchObject({ effect: 'deny', rules: [] });
    expect(decision.subjectDigest).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test('what the schema does not know is denied', async () => {
    const policy = await compile(open);
    const odd = Object.assign(connect('a.acme.example'), { trusted: true });
    expect(decide(policy, odd)).toMatchObject({ effect: 'deny', rules: [] });
  });

  test('the same values in their form are permitted', async () => {
    const policy = await compile(open);
    expect(decide(policy, connect('a.acme.example')).effect).toBe('permit');
    expect(decide(policy, connect('xn--bcher-kva.example')).effect).toBe('permit');
    expect(decide(policy, push({})).effect).toBe('permit');
  });
});

describe('a decision', () => {
  test('names the rule, its line and the value', async () => {
    const policy = await compile(
      'security:\n  allowed_network_hosts:\n    - other.acme.example\n    - packages.acme.example:443',
    );
    const decision = decideLine(policy, 'net.connect host=packages.acme.example');
    expect(decision.rules).toEqual([
      {
        layer: 'repository',
        file: REPOSITORY,
        line: 5,
        text: 'security.allowed_network_hosts: packages.acme.example:443',
      },
    ]);
    expect(decision.reason).toBe(`net.connect to packages.acme.example:443 is permitted by ${REPOSITORY}:5`);
    expect(decision.policyDigest).toBe(policy.digest);
  });

  test('says what to write', async () => {
    const policy = await compile('');
    const denied = decideLine(policy, 'net.connect host=packages.acme.example');
    expect(denied.rules).toEqual([]);
    expect(denied.remedy).toBe(
      `add to ${REPOSITORY}: security: {allowed_network_hosts: ["packages.acme.example:443"]}`,
    );
    expect(decideLine(policy, 'git.push ref=refs/notes/x/y').remedy).toBeUndefined();
  });

  test.each([
    'net.connect host=packages.acme.example:8443',
    'net.request host=api.acme.example method=POST path=/a/b',
    'command.execute path=/opt/tool',
    'git.push ref=refs/heads/feature/x',
    'llm.request provider=p model=m-1',
    'secret.use name=A host=acme.example',
    'git.sign author=a@acme.example',
  ])('what it says to write does permit: %s', async (line) => {
    const before = await compile('security: {allowed_commands: []}\ngit: {push: {authors: []}}');
    const remedy = decideLine(before, line).remedy?.split(': ').slice(1).join(': ');
    expect(remedy).toBeDefined();
    expect(effectOf(await compile(remedy), line)).toBe('permit');
  });

  test('is bound to exactly what was decided upon', async () => {
    const policy = await compile();
    const digests = [
      push({}),
      push({ changedLines: 2 }),
      push({ changedPaths: ['b'] }),
      push({ testsPassed: false }),
    ].map((a) => decide(policy, a).subjectDigest);
    expect(new Set(digests).size).toBe(4);
    expect(decide(policy, push({})).subjectDigest).toBe(digests[0]);
  });

  test('shows hostile names escaped', async () => {
    const policy = await compile('filesystem: {write: [src]}');
    const decision = decide(policy, push({ changedPaths: ['\u001b[2Jx\u202e'] }));
    expect(decision.effect).toBe('deny');
    expect(decision.reason).not.toMatch(/[\p{Cc}\u202e]/u);
  });

  test('a push of fifty thousand files is decided, whether or not a rule reads its paths', async () => {
    const changedPaths = Array.from({ length: 50_000 }, (_, i) => `src/${i % 100}/file-${i}.ts`);
    expect(decide(await compile('filesystem: {write: ["src/**"]}'), push({ changedPaths })).effect).toBe('permit');
    const reads = await compile(
      'rules: |\n  forbid (principal, action == Action::"git.push", resource) when { context.changedPaths.contains("src/7/file-7.ts") };',
    );
    expect(decide(reads, push({ changedPaths })).effect).toBe('deny');
    expect(decide(reads, push({ changedPaths: ['src/8'] })).effect).toBe('permit');
  });
});
