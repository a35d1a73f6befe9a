/** Commits of real runs, judged by stock git in a clean clone with nothing but the line that trusts the installation. */
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { allowedSigners, readAuthorities } from '../../src/attest/authority.ts';
import type { AuditEvent } from '../../src/audit/event.ts';
import { readEvents } from '../../src/audit/read.ts';
import { Installation, Project } from '../fakes/project.ts';
import { gitEnv } from '../fakes/push-scene.ts';

const site = new Installation();
afterAll(() => site.dispose());
afterEach(() => {
  expect(site.verify()).toEqual([]);
  expect(site.leftovers()).toEqual([]);
});

let count = 0;
function project(policy = 'version: 1\n'): Project {
  const made = new Project(join(site.root, `repository-${++count}`));
  return made.write('a.txt', 'one\n').write('.cordon/policy.yaml', policy).commit('first');
}

/** What `git verify-commit` of a fresh clone says of each new commit, oldest first. */
function verified(repository: Project, branch: string) {
  const clone = join(site.root, `clone-${++count}`);
  execFileSync('git', ['clone', '-q', '--branch', branch, repository.dir, clone], { env: gitEnv });
  const signers = join(site.root, 'signers');
  const state = readAuthorities(join(site.home, 'keys'));
  writeFileSync(signers, state === null ? '' : `${allowedSigners(state).join('\n')}\n`);
  const git = (...args: string[]) =>
    spawnSync('git', ['-C', clone, '-c', `gpg.ssh.allowedSignersFile=${signers}`, ...args], {
      env: gitEnv,
      encoding: 'utf8',
    });
  const oids = git('rev-list', '--reverse', `origin/main..${branch}`).stdout.trim().split('\n');
  return oids.map((oid) => {
    const { status, stderr } = git('verify-commit', oid);
    return { good: status === 0, who: /signature for (\S+)/.exec(stderr)?.[1] ?? null };
  });
}

const events = (run: string): AuditEvent[] =>
  [...readEvents(join(site.home, 'audit'), { run })].map(({ event }) => event);

test('the agent’s commits and what it left uncommitted are good in a clean clone, and the key was never inside', () => {
  const user = project();
  const script = `git config --get user.signingkey; ls -A ~ /run/cordon
    echo two > a.txt; git commit -qam two && echo b > b && git add b && git commit -qS -m three && git commit -q --amend -m four
    echo left > left.txt`;
  const { status, result, stderr } = site.run(user, script);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  const who = `agent:${result.runId}`;
  expect(verified(user, result.branch as string)).toEqual(Array.from({ length: 3 }, () => ({ good: true, who })));
  expect(stderr).toContain('git-sign');
  const types = events(result.runId).map(({ type }) => type);
  expect(types.filter((type) => type === 'git.certified')).toHaveLength(1);
  // Three of the agent's, of which one was amended away, and Cordon's own.
  expect(types.filter((type) => type === 'git.signed')).toHaveLength(4);
  const decided = events(result.runId).find(({ type }) => type === 'git.decided');
  expect(decided?.decision?.effect).toBe('permit');
});

test('a rebase, a cherry-pick and a merge are signed; repositories of a test suite are left alone', () => {
  const user = project();
  const script = `set -e
    here=$(git rev-parse HEAD)
    for name in side pick; do git checkout -q -B $name $here; echo s > $name; git add $name; git commit -qm $name; done
    git checkout -q -B work $here; echo m > m; git add m; git commit -qm main
    git merge -q --no-edit side; git cherry-pick pick >/dev/null; git rebase -q --force-rebase HEAD~1
    mkdir /tmp/t; cd /tmp/t; git init -q; git commit -q --allow-empty -m x; git cat-file commit HEAD | grep -c gpgsig || echo unsigned elsewhere`;
  const { status, result, stderr } = site.run(user, script);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(stderr).toContain('unsigned elsewhere');
  const all = verified(user, result.branch as string);
  expect(all.length).toBeGreaterThanOrEqual(4);
  expect(all.every(({ good }) => good)).toBe(true);
});

test('what is refused is said by git, and a run can go on without', () => {
  const user = project();
  const script = `echo two > a.txt; git commit -qam old --date=2020-01-01T00:00:00Z
    git tag -s -m m v1
    printf x > f; /run/cordon/git-sign -Y sign -n file -f k f; /run/cordon/git-sign -Y sign -n git -f k f
    /run/cordon/git-sign -Y verify -n git -s x; ls f.sig; rm f
    git commit -q --no-gpg-sign -am unsigned`;
  const { status, result, stderr } = site.run(user, script);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(stderr).toMatch(/error: cordon refuses to sign: its author’s date is not within this run/);
  expect(stderr).toMatch(/error: cordon refuses to sign: it is a tag/);
  expect(stderr).toMatch(/cordon: only commits are signed here, in the namespace git/);
  expect(stderr).toMatch(/cordon refuses to sign: it is not a commit/);
  expect(stderr).toMatch(/signatures are made here, not verified/);
  expect(stderr).toMatch(/cannot access 'f.sig'/);
  expect(verified(user, result.branch as string)).toEqual([{ good: false, who: null }]);
});

test('signed: required lets through what the run signed, and nothing else', () => {
  const policy = 'version: 1\ngit: {push: {signed: required}}\n';
  const good = project(policy);
  const signed = site.run(good, 'echo two > a.txt; git commit -qam two; echo three > a.txt');
  expect({ status: signed.status, stderr: signed.stderr }).toMatchObject({ status: 0 });
  expect(verified(good, signed.result.branch as string).map((one) => one.good)).toEqual([true, true]);
  const bad = project(policy);
  const unsigned = site.run(bad, 'echo two > a.txt; git commit -q --no-gpg-sign -am two');
  expect(unsigned.status).toBe(3);
  expect(unsigned.result.stopReason).toContain('not every commit of it is signed by this run');
  expect(bad.git('for-each-ref', '--format=%(refname:short)', 'refs/heads/')).toBe('main');
});

test('with a list of commands that has git alone, git still signs', () => {
  const policy = 'version: 1\nsecurity: {allowed_commands: [/usr/bin/git]}\n';
  const user = project(policy);
  const { status, result, stderr } = site.cordon(
    ...['run', '--json', '-w', user.dir, '--', 'git', 'commit', '-q', '--allow-empty', '-m', 'two'],
  );
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(verified(user, result.branch as string).map(({ good }) => good)).toEqual([true]);
});

test('where nothing is delivered nothing is signed', () => {
  const user = project();
  const { status, result, stderr } = site.run(
    user,
    'echo two > a.txt; git commit -qam two; git cat-file commit HEAD | grep -c gpgsig; ls /run/cordon',
    '--read-only',
  );
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(stderr).toContain('│ 0\n');
  expect(stderr).not.toContain('git-sign');
  expect(events(result.runId).map(({ type }) => type)).not.toContain('git.certified');
});
