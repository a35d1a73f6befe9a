/** A run is made here; its commits are judged elsewhere: in a clone, with one file of public keys and nothing else of Cordon's. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Installation, Project } from '../fakes/project.ts';
import { gitEnv } from '../fakes/push-scene.ts';

const program = join(import.meta.dirname, '../../cordon');
const site = new Installation();
const elsewhere = join(site.root, 'elsewhere');
const trust = join(elsewhere, 'trust.json');
afterAll(() => site.dispose());

/** What is left of the environment on another machine: no data folder, no home. */
const bare = { PATH: process.env.PATH ?? '', HOME: '/nonexistent' };
const cordon = (dir: string, args: readonly string[], more: { input?: string; env?: Record<string, string> } = {}) => {
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: dir,
    env: { ...bare, ...more.env },
    encoding: 'utf8',
    ...(more.input === undefined ? {} : { input: more.input }),
  });
  return { status, stdout, stderr };
};
const git = (dir: string, ...args: string[]) =>
  execFileSync('git', ['-c', 'safe.directory=*', ...args], {
    cwd: dir,
    env: gitEnv,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe'],
  }).trim();

function clone(from: string, name: string): string {
  const dir = join(elsewhere, name);
  git(elsewhere, 'clone', '-q', from, dir);
  git(dir, 'fetch', '-q', 'origin', 'refs/attestations/*:refs/attestations/*');
  return dir;
}

describe('a commit of a run', () => {
  const user = new Project(join(site.root, 'app')).write('a.txt', 'one\n').commit('first');
  let branch = '';
  let head = '';
  let run = '';
  let dir = '';

  beforeAll(() => {
    mkdirSync(elsewhere);
    const script =
      'echo two >> a.txt; git commit -qam "by the agent"; mkdir d; echo x > d/y; git add d; git commit -qm more; echo z > z';
    const { result, status, stderr } = site.run(user, script);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    [branch, head, run] = [result.branch ?? '', result.head ?? '', result.runId];
    expect(result.attestation?.ref).toBe(`refs/attestations/cordon/${head}`);
    expect(site.cordon('attest', 'key', '-o', trust).status).toBe(0);
    dir = clone(user.dir, 'clone');
  });

  test('verifies in a clone with the public key file alone', () => {
    const { status, stdout, stderr } = cordon(dir, ['verify', `origin/${branch}`, '--key', trust]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain(`run ${run}`);
    expect(stdout).toContain('everything fits');
    expect(stdout).toContain(`refs/heads/${branch} of file://${user.dir}`);
    const whole = ['--ref', branch, '--repo', user.dir, '--content', '--key', trust];
    expect(cordon(dir, ['verify', head, ...whole]).status).toBe(0);
  });

  test('so do all three of the range, the ones in the middle by the proof of the last', () => {
    const { status, stdout } = cordon(dir, ['verify', '--range', `main..origin/${branch}`, '--json', '--key', trust]);
    const document = JSON.parse(stdout);
    expect({ status, ok: document.ok, commits: document.commits.length }).toEqual({ status: 0, ok: true, commits: 3 });
    expect(document.commits.map((one: { statement: { run: string } }) => one.statement.run)).toEqual([run, run, run]);
    const { signing } = document.commits[0].statement;
    expect(signing).toMatchObject({
      key: expect.stringMatching(/^SHA256:/),
      authority: expect.stringMatching(/^SHA256:/),
    });
    expect(cordon(dir, ['verify', head, '--require-signature', '--key', trust]).stdout).toContain(signing.key);
    expect(cordon(dir, ['verify', `origin/${branch}~1`, '--key', trust]).status).toBe(0);
  });

  test('is not proven without its proof, with another key file, for another branch or another repository', () => {
    const without = join(elsewhere, 'without');
    git(elsewhere, 'clone', '-q', user.dir, without);
    expect(cordon(without, ['verify', `origin/${branch}`, '--key', trust])).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("git fetch origin 'refs/attestations/*:refs/attestations/*'"),
    });
    expect(cordon(dir, ['verify', 'main', '--key', trust])).toMatchObject({ status: 1 });
    const other = new Installation();
    try {
      const project = new Project(join(other.root, 'p')).write('a', 'a').commit();
      expect(other.run(project, 'echo b > b').status).toBe(0);
      const key = join(other.root, 'trust.json');
      other.cordon('attest', 'key', '-o', key);
      const refused = cordon(dir, ['verify', head, '--key', key]);
      expect(refused.status).toBe(1);
      expect(refused.stdout).toContain('not somebody you trust');
    } finally {
      other.dispose();
    }
    for (const more of [
      ['--ref', 'main'],
      ['--repo', 'github.com/acme/app'],
      ['--policy-digest', `sha256:${'0'.repeat(64)}`],
    ])
      expect(cordon(dir, ['verify', head, '--key', trust, ...more]).status).toBe(1);
  });

  test('cannot be asked about wrongly without being told so', () => {
    for (const args of [
      ['verify', 'no-such-commit', '--key', trust],
      ['verify', head, '--key', join(elsewhere, 'none.json')],
      ['verify', head],
      ['verify', '--range', 'main', '--key', trust],
      ['verify', head, '--range', 'a..b', '--key', trust],
      ['verify', head, '--repo', '../up', '--key', trust],
    ])
      expect({ args, status: cordon(dir, args).status }).toEqual({ args, status: 2 });
  });

  test('verifies from the file when the log and its host are gone', () => {
    const file = join(elsewhere, 'proof.json');
    copyFileSync(join(site.home, 'runs', run, 'artifacts', 'proof.json'), file);
    expect(cordon(elsewhere, ['verify', '--bundle', file, '--key', trust])).toMatchObject({ status: 0 });
    expect(cordon(dir, ['verify', head, '--bundle', file, '--key', trust])).toMatchObject({ status: 0 });
    expect(cordon(dir, ['verify', 'main', '--bundle', file, '--key', trust])).toMatchObject({ status: 1 });
  });

  test('passes a pre-receive hook with its proof, and only for its branch; people’s commits pass where agents are named', () => {
    const bareRepository = join(elsewhere, 'bare.git');
    git(elsewhere, 'clone', '-q', '--bare', '--single-branch', '-b', 'main', user.dir, bareRepository);
    const hook = join(bareRepository, 'hooks', 'pre-receive');
    const install = (...more: string[]) => {
      const verify = [program, 'verify', '--pre-receive', '--key', trust, '--repo', user.dir, ...more];
      writeFileSync(hook, `#!/bin/sh\nexec ${verify.map((word) => `'${word}'`).join(' ')}\n`);
      chmodSync(hook, 0o755);
    };
    const push = (...refs: string[]) => {
      const { status, stderr } = spawnSync('git', ['push', '--atomic', bareRepository, ...refs], {
        cwd: dir,
        env: gitEnv,
        encoding: 'utf8',
      });
      return { status, stderr };
    };
    install();
    expect(push(`${head}:refs/heads/${branch}`)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no proof'),
    });
    const proof = `refs/attestations/cordon/${head}`;
    expect(push(`${head}:refs/heads/other`, proof)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('another branch'),
    });
    expect(push(`${head}:refs/heads/${branch}`, proof)).toMatchObject({ status: 0 });
    git(dir, 'checkout', '-q', '-b', 'human', 'origin/main');
    git(dir, 'commit', '-q', '--allow-empty', '-m', 'by hand');
    expect(push('human')).toMatchObject({ status: 1 });
    install('--agents', '*@agents.acme.example');
    expect(push('human')).toMatchObject({ status: 0 });
    git(dir, 'commit', '-q', '--allow-empty', '-m', `claims a run\n\nCordon-Run: ${run}`);
    expect(push('human')).toMatchObject({ status: 1 });
    git(
      dir,
      'commit',
      '-q',
      '--amend',
      '--allow-empty',
      '-m',
      'by an agent',
      '--author',
      'Bot <Bot@Agents.acme.example>',
    );
    expect(push('human')).toMatchObject({ status: 1 });
  });

  test('is proven again when it was squashed onto the same base, and not when that had moved', () => {
    const merged = join(elsewhere, 'merged');
    git(elsewhere, 'clone', '-q', user.dir, merged);
    git(merged, 'fetch', '-q', 'origin', 'refs/attestations/*:refs/attestations/*');
    git(merged, 'merge', '-q', '--squash', `origin/${branch}`);
    git(merged, 'commit', '-q', '-m', 'squashed');
    expect(cordon(merged, ['verify', 'main', '--key', trust])).toMatchObject({ status: 1 });
    const attested = cordon(merged, ['attest', 'merge', 'main', '--ref', 'main'], { env: site.env });
    expect(attested).toMatchObject({ status: 0 });
    const { status, stdout } = cordon(merged, ['verify', 'main', '--ref', 'main', '--key', trust]);
    expect({ status, stdout }).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('by tree to refs/heads/main'),
    });

    git(merged, 'checkout', '-q', '-b', 'moved', 'origin/main');
    writeFileSync(join(merged, 'fix.txt'), 'a fix\n');
    git(merged, 'add', '.');
    git(merged, 'commit', '-q', '-m', 'a fix that must stay');
    // What a careless tool makes of "the same tree": the fix is gone.
    const undone = git(merged, 'commit-tree', `origin/${branch}^{tree}`, '-p', 'HEAD', '-m', 'squashed');
    const refused = cordon(merged, ['attest', 'merge', undone, '--ref', 'main'], { env: site.env });
    expect(refused).toMatchObject({ status: 3, stderr: expect.stringContaining('would undo what came after') });
    expect(cordon(merged, ['attest', 'merge', 'HEAD', '--ref', 'main'], { env: site.env }).status).toBe(2);
  });

  test('stays proven when the key is rotated, and not when its run is revoked', () => {
    const verify = () => {
      rmSync(trust);
      expect(site.cordon('attest', 'key', '-o', trust).status).toBe(0);
      return cordon(dir, ['verify', head, '--key', trust]).status;
    };
    expect(site.cordon('attest', 'rotate').status).toBe(0);
    expect(verify()).toBe(0);
    const next = site.run(user, 'echo three > three');
    expect(next.status).toBe(0);
    const second = clone(user.dir, 'second');
    expect(verify()).toBe(0);
    expect(cordon(second, ['verify', next.result.head ?? '', '--key', trust]).status).toBe(0);
    expect(site.cordon('attest', 'revoke', next.result.runId).status).toBe(0);
    expect(verify()).toBe(0);
    expect(cordon(second, ['verify', next.result.head ?? '', '--key', trust])).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('revoked'),
    });
    expect(site.cordon('attest', 'rotate', '--revoked-from', '2001-01-01T00:00:00Z').status).toBe(0);
    expect(
      site
        .cordon('audit', 'tail', '--type', 'configuration.changed', '--no-follow', '--json')
        .stdout.trim()
        .split('\n'),
    ).toHaveLength(3);
    expect(site.verify()).toEqual([]);
  });
});

test('where the commit goes, the proof goes: neither ref is made without the other', () => {
  const user = new Project(join(site.root, 'both')).write('a', 'a').commit();
  // A folder in the place of the ref that the proof would have: the transaction fails as a whole.
  mkdirSync(join(user.dir, '.git/refs/attestations'), { recursive: true });
  writeFileSync(join(user.dir, '.git/refs/attestations/cordon'), readFileSync(join(user.dir, '.git/refs/heads/main')));
  const { status, result } = site.run(user, 'echo b > b');
  expect({ status, branch: result.branch, attestation: result.attestation }).toEqual({
    status: 7,
    branch: null,
    attestation: null,
  });
  expect(user.git('for-each-ref', '--format=%(refname)', 'refs/heads')).toBe('refs/heads/main');
});
