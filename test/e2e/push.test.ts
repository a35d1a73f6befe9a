/** `git push` inside the sandbox: judged at that moment, and answered so that a developer can act on it. */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Installation, Project } from '../fakes/project.ts';

let site: Installation;
let user: Project;

beforeEach(() => {
  site = new Installation();
});
afterEach(() => {
  expect(site.verify()).toEqual([]);
  site.dispose();
});

const push = 'git push origin "HEAD:refs/heads/cordon/$CORDON_RUN_ID" 2>&1';
const events = (run: string, type: string) =>
  site
    .cordon('audit', 'tail', '--no-follow', '--json', '-n', '500')
    .stdout.split('\n')
    .filter((line) => line.includes(`"${type}"`) && line.includes(run))
    .map((line) => JSON.parse(line) as { resource: Record<string, unknown>; outcome?: Record<string, unknown> });

describe('a push of the agent', () => {
  test('that the policy permits is taken, and not decided upon again when the run delivers it', () => {
    user = new Project(join(site.root, 'repository')).write('a.txt', 'one\n').commit('first');
    const { status, result, stderr } = site.run(user, `echo 1 > one; git add one; git commit -qm one; ${push}`);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(user.git('log', '--format=%s', `main..${result.branch}`)).toBe('one');
    const received = events(result.runId, 'git.received');
    expect(received).toHaveLength(1);
    expect(received[0]?.resource.packBytes).toBeGreaterThan(100);
    expect(events(result.runId, 'git.decided').map((event) => event.outcome?.result)).toEqual(['accepted']);
  });

  test('without any words goes to the run’s own branch, from a branch and from a detached head', () => {
    user = new Project(join(site.root, 'repository')).write('a.txt', 'one\n').commit('first');
    const commit = (name: string) => `echo 1 > ${name}; git add ${name}; git commit -qm ${name}`;
    const script = `set -e; ${commit('one')}; git push; git checkout -q --detach; ${commit('two')}; git push origin`;
    const { status, result, stderr } = site.run(user, script, '--branch', 'cordon/fix#1');
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(result.branch).toBe('cordon/fix#1');
    expect(user.git('log', '--format=%s', `main..${result.branch}`)).toBe('two\none');
    expect(events(result.runId, 'git.decided').map((event) => event.outcome?.result)).toEqual(['accepted', 'accepted']);
  });

  test('that holds a secret says which rule, commit, file and line, and how to ask; nothing of it stays', () => {
    user = new Project(join(site.root, 'repository')).write('a.txt', 'one\n').commit('first');
    const script = `mkdir -p src; printf 'a\\nkey = AKIA%s\\n' ABCDEFGHABCDEFGH > src/config.ini
      git add -A; git commit -qm leak; ${push}
      git reset -q --hard HEAD~1; echo ok > fine; git add fine; git commit -qm fine; ${push}`;
    const { status, result, stderr } = site.run(user, script);
    expect(stderr).toMatch(/remote: cordon: git\.push to refs\/heads\/cordon\/\S+ is denied: what it pushes holds/);
    expect(stderr).toMatch(/remote: +rule +built-in +git\.push\.secrets: deny/);
    expect(stderr).toMatch(/remote: +because commit [0-9a-f]{12} src\/config\.ini:2: .*AWS access key/);
    expect(stderr).toMatch(/! \[remote rejected\]/);
    expect(status).toBe(0);
    expect(user.git('log', '--format=%s', `main..${result.branch}`)).toBe('fine');
    expect(events(result.runId, 'git.decided').map((event) => event.outcome?.result)).toEqual(['refused', 'accepted']);
  });

  test('of a protected file asks; nobody there is a refusal that says what to do', () => {
    user = new Project(join(site.root, 'repository')).write('a.txt', 'one\n').commit('first');
    const script = `mkdir -p .github/workflows; echo 'on: push' > .github/workflows/ci.yml; git add -A; git commit -qm ci
      ${push}; git reset -q --hard HEAD~1`;
    const { stderr } = site.run(user, script);
    expect(stderr).toMatch(/remote: .*"\.github\/workflows\/ci\.yml" is run by a forge or build server/);
    expect(stderr).toMatch(/remote: +because commit [0-9a-f]{12} \.github\/workflows\/ci\.yml: changed here/);
    expect(stderr).toMatch(/remote: +to ask: run it from a terminal with --approvals prompt/);
  });

  test('may rewrite the run’s own branch, which is delivered in its last state', () => {
    user = new Project(join(site.root, 'repository')).write('a.txt', 'one\n').commit('first');
    const script = `echo 1 > one; git add one; git commit -qm one; ${push}
      git commit -q --amend -m two; ${push}; git push --force origin "HEAD:refs/heads/cordon/$CORDON_RUN_ID" 2>&1`;
    const { status, stderr, result } = site.run(user, script);
    expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringContaining('forced update') });
    expect(user.git('log', '--format=%s', `main..${result.branch}`)).toBe('two');
    expect(events(result.runId, 'git.decided').map((event) => event.outcome?.result)).toEqual(['accepted', 'accepted']);
    expect(site.cordon('verify', '-w', user.dir, result.branch ?? '').status).toBe(0);
  });

  test('to another ref, or of several at once, moves none', () => {
    user = new Project(join(site.root, 'repository')).write('a.txt', 'one\n').commit('first');
    const script = `echo 1 > one; git add one; git commit -qm one
      git push origin HEAD:refs/heads/main 2>&1; git push origin HEAD:refs/replace/abc 2>&1
      git push origin "HEAD:refs/heads/cordon/$CORDON_RUN_ID" HEAD:refs/heads/cordon/other 2>&1
      git ls-remote origin; true`;
    const { stderr } = site.run(user, script);
    expect(stderr).toMatch(/remote: cordon: git\.push to refs\/heads\/main is denied: no rule permits it/);
    expect(stderr).toMatch(/refs\/replace\/abc" is neither a branch nor a tag/);
    expect(stderr).toMatch(
      /remote: +this run delivers refs\/heads\/cordon\/\S+ alone: git push origin HEAD:refs\S+, or git push w/,
    );
    expect(stderr).toMatch(/cordon\/other: this run delivers refs\/heads\/cordon\/\S+ and no other ref/);
  });

  test('of a tag, annotated or not, says what this run delivers instead', () => {
    user = new Project(join(site.root, 'repository')).write('a.txt', 'one\n').commit('first');
    const script = `echo 1 > one; git add one; git commit -qm one; git tag -am tag v1; git tag light
      git push origin v1 2>&1; git push origin light 2>&1
      git push origin "v1:refs/heads/cordon/$CORDON_RUN_ID" 2>&1
      git push origin ":refs/heads/cordon/$CORDON_RUN_ID" 2>&1; true`;
    const { status, stderr, result } = site.run(user, script);
    expect(stderr.match(/it pushes a tag \(the built-in rule "git\.push\.tags: deny"\)/g)?.length).toBeGreaterThan(1);
    expect(stderr).not.toContain('tags: ask');
    expect(stderr).toMatch(/a tag object where commits are expected: push the commit that it names, TAG\^\{commit\}/);
    expect(stderr).toMatch(/is delivered when the run ends: leave it/);
    expect(status).toBe(0);
    expect(user.git('log', '--format=%s', `main..${result.branch}`)).toBe('one');
    expect(user.git('tag')).toBe('');
  });

  test('of a workflow file, with nobody there, ends with 4, the file’s name and both ways on', () => {
    user = new Project(join(site.root, 'repository')).write('a.txt', 'one\n').commit('first');
    const { status, result, stderr } = site.run(
      user,
      'mkdir -p .github/workflows; echo on: push > .github/workflows/x.yml',
    );
    expect({ status, stderr }).toMatchObject({ status: 4 });
    expect(result.stopReason).toContain('".github/workflows/x.yml" is run by a forge or build server');
    expect(result.remedy).toContain('--approvals prompt');
    expect(result.remedy).toContain('git: {push: {workflows: permit}}');
    user.write('.cordon/policy.yaml', 'version: 1\ngit: {push: {workflows: permit}}\n').commit('as it says');
    expect(site.run(user, 'mkdir -p .github/workflows; echo on: push > .github/workflows/x.yml').status).toBe(0);
  });
});
