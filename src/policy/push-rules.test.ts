import { expect, test } from 'vitest';
import type { GitPushAction } from './action.ts';
import { decide } from './decide.ts';
import { compile } from './policy.fixture.ts';
import { isWorkflowFile } from './push-rules.ts';

const push = (more: Partial<GitPushAction> = {}): GitPushAction => ({
  action: 'git.push',
  repository: 'acme/app',
  ref: 'refs/heads/cordon/x',
  kind: 'create',
  tag: false,
  changedPaths: ['src/a.ts'],
  changedLines: 1,
  largestFile: 1,
  commits: 1,
  authors: ['a@acme.example'],
  signed: false,
  secrets: false,
  ...more,
});

test.each([
  ['.github/workflows/ci.yml', true],
  ['.GitHub/Workflows/CI.yml', true],
  ['.github/actions/build/action.yml', true],
  ['.github/CODEOWNERS', false],
  ['services/a/.gitlab-ci.yml', true],
  ['ci/deploy.gitlab-ci.yaml', true],
  ['Jenkinsfile', true],
  ['build/Jenkinsfile.release', true],
  ['docs/jenkinsfiles.md', false],
  ['.circleci/config.yml', true],
  ['azure-pipelines.yml', true],
  ['.travis.yml', true],
  ['src/workflows/index.ts', false],
])('%s is a workflow file: %s', (path, expected) => {
  expect(isWorkflowFile(path)).toBe(expected);
});

test('a workflow file asks unless a document says otherwise', async () => {
  const action = push({ changedPaths: ['.github/workflows/ci.yml', 'src/a.ts'] });
  const byDefault = decide(await compile(), action);
  expect(byDefault.effect).toBe('ask');
  expect(byDefault.reason).toContain('.github/workflows/ci.yml');
  expect(decide(await compile('git: {push: {workflows: permit}}'), action).effect).toBe('permit');
  const denied = decide(await compile('git: {push: {workflows: deny}}'), action);
  expect(denied).toMatchObject({ effect: 'deny', rules: [{ line: 2, text: 'git.push.workflows: deny' }] });
});

test('binary files are named, and denied where a document says so', async () => {
  const action = push({ changedPaths: ['logo.png'], binaries: ['logo.png'] });
  expect(decide(await compile(), action).effect).toBe('permit');
  const denied = decide(await compile('git: {push: {binaries: deny}}'), action);
  expect(denied.effect).toBe('deny');
  expect(denied.reason).toContain('"logo.png" is a binary file');
  const asked = decide(
    await compile(
      '\nrules: |\n  @ask forbid (principal, action == Action::"git.push", resource) when { context.binaries.contains("logo.png") };',
    ),
    action,
  );
  expect(asked.effect).toBe('ask');
});

test('the number of files is bounded', async () => {
  const policy = await compile('git: {push: {max_changed_files: 2}}');
  expect(decide(policy, push({ changedPaths: ['a', 'b'] })).effect).toBe('permit');
  expect(decide(policy, push({ changedPaths: ['a', 'b', 'c'] })).reason).toContain('3 files, more than 2');
});

test('dependencies come from the registries, in every layer, and are in order', async () => {
  const dependencies = (host: string, problems: string[] = []) =>
    push({
      dependencies: {
        origins: [{ host, at: 'package-lock.json:12 left-pad@1.3.0' }],
        problems,
        unrecorded: [],
        packages: [],
      },
    });
  const policy = await compile('dependencies: {registries: [packages.acme.example]}');
  expect(decide(policy, dependencies('packages.acme.example')).effect).toBe('permit');
  const elsewhere = decide(policy, dependencies('evil.example'));
  expect(elsewhere).toMatchObject({ effect: 'deny', rules: [{ line: 2 }] });
  expect(elsewhere.reason).toContain('package-lock.json:12 left-pad@1.3.0 resolves to evil.example');
  expect(decide(policy, dependencies('packages.acme.example:8443')).effect).toBe('deny');
  const unsound = decide(policy, dependencies('packages.acme.example', ['package-lock.json:3 a@1 has no hash']));
  expect(unsound.reason).toContain('package-lock.json:3 a@1 has no hash');
  const closed = await compile('dependencies: {registries: [packages.acme.example]}', 'dependencies: {registries: []}');
  expect(decide(closed, dependencies('packages.acme.example')).effect).toBe('deny');
  expect(decide(await compile(), dependencies('evil.example')).effect).toBe('permit');
});

test('packages of lock files are held to the lists of names, and to what was recorded', async () => {
  const of = (name: string, version: string, unrecorded: string[] = []) =>
    push({
      dependencies: {
        origins: [],
        problems: [],
        unrecorded,
        packages: [{ ecosystem: 'npm', name, version, at: 'package-lock.json:3 a' }],
      },
    });
  const denying = await compile('dependencies: {deny: [event-stream, left-pad@1.3.0]}');
  expect(decide(denying, of('lodash', '1.0.0')).effect).toBe('permit');
  const denied = decide(denying, of('Left-Pad', '1.3.0'));
  expect(denied).toMatchObject({ effect: 'deny', rules: [{ line: 2, text: 'dependencies.deny: left-pad@1.3.0' }] });
  expect(denied.reason).toContain('package-lock.json:3 a is npm:Left-Pad@1.3.0, which may not be installed');
  const allowing = await compile('dependencies: {allow: ["@acme/*"]}');
  expect(decide(allowing, of('@acme/ui', '1.0.0')).effect).toBe('permit');
  expect(decide(allowing, of('lodash', '1.0.0')).rules[0]?.text).toBe('dependencies.allow');
  const recorded = await compile('dependencies: {recorded: true}');
  expect(decide(recorded, of('lodash', '1.0.0')).effect).toBe('permit');
  expect(decide(recorded, of('lodash', '1.0.0', ['package-lock.json:3 lodash@1.0.0 was not seen'])).reason).toContain(
    'package-lock.json:3 lodash@1.0.0 was not seen',
  );
});
