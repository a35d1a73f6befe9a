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
