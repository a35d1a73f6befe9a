import { describe, expect, test } from 'vitest';
import { UsageError } from '../base/errors.ts';
import { parseActionLine, readAction } from './action-input.ts';
import { decide } from './decide.ts';
import { diffPolicies } from './diff.ts';
import { explain } from './explain.ts';
import { interpreterNote } from './interpreters.ts';
import { compile, ORGANISATION } from './policy.fixture.ts';
import { residualRisk } from './risk.ts';

describe('an action line', () => {
  test('has defaults that make an ordinary action', () => {
    expect(parseActionLine(['git.push ref=refs/heads/cordon/x force'])).toEqual({
      ok: true,
      value: {
        action: 'git.push',
        repository: 'repository',
        ref: 'refs/heads/cordon/x',
        kind: 'force',
        tag: false,
        changedPaths: [],
        changedLines: 1,
        largestFile: 0,
        commits: 1,
        authors: [],
        signed: false,
        secrets: false,
        testsPassed: false,
      },
    });
  });

  test('comes in one word or in several, and out in canonical form', () => {
    const one = parseActionLine(['net.connect host=EVIL.example.:8443']);
    expect(one).toEqual({ ok: true, value: { action: 'net.connect', host: 'evil.example', port: 8443 } });
    expect(parseActionLine(['net.connect', 'host=evil.example', 'port=8443'])).toEqual(one);
    expect(readAction('net.connect', { host: '[2001:db8::1]:80' })).toMatchObject({
      value: { host: '[2001:db8::1]', port: 80 },
    });
  });

  test.each([
    ['net.conect host=a', /did you mean net\.connect/],
    ['net.connect', /`host` is missing/],
    ['net.connect hst=a host=a.example', /did you mean `host`/],
    ['net.connect host=a.example host=b.example', /given twice/],
    ['net.connect host=a.example:70000', /no port/],
    ['net.connect host=a.example port=0', /no port/],
    ['net.connect host=a.example#b', /no host name/],
    ['git.push ref=main', /write refs\/heads\/main/],
    ['git.push ref=refs/heads/x changed_paths=../x', /\.\./],
    ['git.push ref=refs/heads/x force=maybe', /neither true nor false/],
    ['git.push ref=refs/heads/x changed_lines=-1', /whole number/],
    ['git.push ref=refs/heads/x __proto__=1', /unknown field/],
    ['command.execute path=node', /absolute/],
    ['net.request host=a.example path=/a/../b', /dot segments/],
    ['', /no action/],
  ])('%j is refused', (line, message) => {
    const result = parseActionLine([line]);
    expect(result.ok ? '' : `${result.message} ${result.remedy}`).toMatch(message);
  });
});

describe('explain', () => {
  test('says what allowing an interpreter means', async () => {
    const policy = await compile('security: {allowed_commands: [/usr/bin/bash, /usr/bin/true]}');
    expect(explain(policy, ['command.execute path=/usr/bin/bash']).notes[0]).toMatch(
      /runs any script.*within the boundary/,
    );
    expect(explain(policy, ['command.execute path=/usr/bin/true']).notes.join()).not.toMatch(
      /whatever the agent writes/,
    );
    expect(explain(policy, ['command.execute path=/usr/bin/python3']).notes.join()).not.toMatch(
      /whatever the agent writes/,
    );
  });

  test('says that without a list everything runs', async () => {
    expect(explain(await compile(), ['command.execute path=/usr/bin/true']).notes.join()).toMatch(
      /no list of commands is set/,
    );
  });

  test('throws for what is no action', async () => {
    const policy = await compile();
    expect(() => explain(policy, ['net.conect'])).toThrow(UsageError);
  });
});

test.each([
  ...[
    'sh',
    'bash',
    'dash',
    'busybox',
    'node',
    'npm',
    'npx',
    'python3',
    'python3.11',
    'perl',
    'ruby',
    'java',
    'make',
    'env',
    'find',
    'xargs',
    'git',
    'vim',
    'awk',
    'gawk',
    'tar',
    'gcc',
    'cargo',
    'ld-linux-x86-64.so.2',
    'timeout',
    'sed',
  ].map((name) => [name, true] as const),
  ...['true', 'ls', 'cat', 'cp', 'mkdir', 'sha256sum', 'shuf', 'nodepad'].map((name) => [name, false] as const),
])('%s is an interpreter: %s', (name, expected) => {
  expect(interpreterNote(`/usr/bin/${name}`) !== undefined).toBe(expected);
});

describe('diff', () => {
  const action = (line: string) => {
    const result = parseActionLine([line]);
    if (!result.ok) throw new Error(result.message);
    return result.value;
  };

  test('names what is newly permitted, denied and asked, and what was written', async () => {
    const before = await compile(
      'security: {allowed_network_hosts: [a.example, b.example]}\ngit: {push: {max_changed_lines: 10}}',
    );
    const after = await compile(
      'security: {allowed_network_hosts: [b.example, c.example]}\nfilesystem: {protect: [CODEOWNERS]}',
    );
    const c = action('net.connect host=c.example');
    const diff = diffPolicies(before, after, [
      c,
      action('net.connect host=a.example'),
      c,
      action('net.connect host=b.example'),
      action('git.push ref=refs/heads/cordon/x changed_paths=CODEOWNERS'),
    ]);
    expect(diff.same).toBe(false);
    expect(diff.compared).toBe(4);
    expect(diff.answers.permit.map((change) => [change.subject, change.times])).toEqual([
      ['net.connect to c.example:443', 2],
    ]);
    expect(diff.answers.deny.map((change) => change.subject)).toEqual(['net.connect to a.example:443']);
    expect(diff.answers.ask).toHaveLength(1);
    expect(diff.lines.map((line) => [line.change, line.key])).toEqual([
      ['added', 'filesystem.protect: CODEOWNERS'],
      ['removed', 'git.push.max_changed_lines'],
      ['removed', 'security.allowed_network_hosts: a.example:443'],
      ['added', 'security.allowed_network_hosts: c.example:443'],
    ]);
  });

  test('the order of a list is no difference in what is written', async () => {
    const before = await compile('security: {allowed_network_hosts: [a.example, b.example]}');
    const after = await compile('security: {allowed_network_hosts: [b.example, a.example]}');
    expect(diffPolicies(before, after, []).lines).toEqual([]);
  });
});

describe('residual risk', () => {
  const names = async (document?: string, organisation?: string) =>
    residualRisk(await compile(document, organisation)).map((risk) => risk.name);

  test.each([
    ['', 'commands.all'],
    ['security: {allowed_commands: [/usr/bin/node]}', 'interpreters'],
    ['security: {allowed_network_hosts: [a.example]}', 'network.open'],
    ['security: {allowed_network_hosts: ["*.acme.example"]}', 'network.wildcard'],
    ['security: {allowed_network_hosts: [{host: a.example, methods: [POST]}]}', 'network.methods'],
    ['git: {fetch: {refs: ["release/**"]}}', 'fetch.refs'],
    ['git: {push: {force: permit}}', 'push.force'],
    ['git: {push: {tags: permit}}', 'push.tags'],
    ['git: {push: {secrets: permit}}', 'push.secrets'],
    ['git: {push: {branches: [main]}}', 'push.branches'],
    ['', 'push.unsigned'],
    ['git: {push: {workflows: permit}}', 'push.workflows'],
    ['', 'push.dependencies'],
    ['secrets: [{name: A, use: {env: A}}]', 'secrets.environment'],
    ['sandbox: {recorder: {on_loss: continue}}', 'recorder.loss'],
    ['rules: |\n  permit (principal, action == Action::"tool.call", resource);', 'rules.unconditional'],
  ])('%j has %s', async (document, name) => {
    expect(await names(document)).toContain(name);
  });

  test('a narrow policy has little', async () => {
    const narrow =
      'security: {allowed_commands: [/usr/bin/true]}\nfilesystem: {write: ["src/**"]}\ngit: {push: {signed: required, max_changed_lines: 100}}\ndependencies: {registries: [packages.acme.example]}\nsandbox: {isolation: vm}';
    expect(await names(narrow)).toEqual([]);
  });

  test('what the ceiling closes is no risk of the repository', async () => {
    const policy = await compile('security: {allowed_network_hosts: [a.example]}', 'limits: {pids: 100}');
    expect(decide(policy, { action: 'net.connect', host: 'a.example', port: 443 }).effect).toBe('deny');
    expect(residualRisk(policy).map((risk) => risk.name)).not.toContain('network.open');
    expect(policy.warnings[0]?.message).toContain(ORGANISATION);
  });

  test('of the refs to fetch, those that the ceiling leaves are named', async () => {
    const policy = await compile(
      'git: {fetch: {refs: ["release/1/**", "hot/**"]}}',
      'git: {fetch: {refs: ["release/**"]}}',
    );
    const sentence = residualRisk(policy).find(({ name }) => name === 'fetch.refs')?.sentence;
    expect(sentence).toContain('release/1/**');
    expect(sentence).not.toContain('hot');
  });
});
