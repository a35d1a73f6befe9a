/** A repository behind `cordon verify --pre-receive`: every way by which an unproven commit might get in, or look proven. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Installation, Project } from '../fakes/project.ts';
import { gitEnv } from '../fakes/push-scene.ts';

const program = join(import.meta.dirname, '../../cordon');
const site = new Installation();
const elsewhere = join(site.root, 'elsewhere');
const trust = join(elsewhere, 'trust.json');
const server = join(elsewhere, 'server.git');
const dir = join(elsewhere, 'clone');
const user = new Project(join(site.root, 'app')).write('a.txt', 'one\n').commit('first');
let branch = '';
let head = '';
afterAll(() => site.dispose());

const git = (where: string, args: readonly string[], input?: string) =>
  execFileSync('git', ['-C', where, ...args], { env: gitEnv, encoding: 'utf8', stdio: 'pipe', input }).trim();
const push = (...refs: string[]) => {
  const { status, stderr } = spawnSync('git', ['-C', dir, 'push', '--atomic', server, ...refs], {
    env: gitEnv,
    encoding: 'utf8',
  });
  return { status, stderr };
};
const refsOf = (where: string) => git(where, ['for-each-ref', '--format=%(refname)']).split('\n');

function install(...more: string[]): void {
  const words = [program, 'verify', '--pre-receive', '--key', trust, '--repo', user.dir, ...more];
  const hook = join(server, 'hooks', 'pre-receive');
  writeFileSync(hook, `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(' ')}\n`);
  chmodSync(hook, 0o755);
}

beforeAll(() => {
  mkdirSync(elsewhere);
  const { result, status, stderr } = site.run(user, 'echo two > b.txt');
  expect({ status, stderr }).toMatchObject({ status: 0 });
  [branch, head] = [result.branch ?? '', result.head ?? ''];
  expect(site.cordon('attest', 'key', '-o', trust).status).toBe(0);
  git(elsewhere, ['clone', '-q', user.dir, dir]);
  git(dir, ['fetch', '-q', 'origin', 'refs/attestations/*:refs/attestations/*']);
  git(elsewhere, ['clone', '-q', '--bare', '--single-branch', '-b', 'main', user.dir, server]);
  install();
});

const stray = (message = 'stray') => git(dir, ['commit-tree', '-p', 'origin/main', '-m', message, `${head}^{tree}`]);

test('an honest push passes', () => {
  expect(push(`${head}:refs/heads/${branch}`, `refs/attestations/cordon/${head}`)).toMatchObject({ status: 0 });
});

describe('a commit without a proof does not get in', () => {
  test('where proofs lie: from there it would be new to nobody', () => {
    const commit = stray();
    for (const name of [commit, head, `${commit}-2`]) {
      const hidden = push(`+${commit}:refs/attestations/cordon/${name}`);
      expect({ name, ...hidden }).toMatchObject({ status: 1, stderr: expect.stringContaining('is no proof') });
    }
    // Had one come in before the hook was there, it is still unproven.
    git(server, ['fetch', '-q', dir, `${commit}:refs/attestations/cordon/${commit}`]);
    expect(push(`${commit}:refs/heads/main`)).toMatchObject({ status: 1, stderr: expect.stringContaining('no proof') });
    git(server, ['update-ref', '-d', `refs/attestations/cordon/${commit}`]);
  });

  test('behind a tag that lies where proofs lie', () => {
    const commit = stray('behind a tag');
    git(dir, ['tag', '-f', '-a', '-m', 'x', 'behind', commit]);
    const tag = git(dir, ['rev-parse', 'refs/tags/behind']);
    expect(push(`${tag}:refs/attestations/cordon/${commit}`)).toMatchObject({ status: 1 });
  });

  test('beside the folder of proofs', () => {
    const commit = stray('beside');
    for (const ref of ['refs/attestations/x', 'refs/attestations/cordon/x', `refs/attestations/other/${commit}`])
      expect({ ref, status: push(`${commit}:${ref}`).status }).toEqual({ ref, status: 1 });
  });
});

describe('what is no commit', () => {
  test('does not stand in for an object that is there', () => {
    const tree = git(dir, ['mktree'], `100644 blob ${git(dir, ['hash-object', '-w', '--stdin'], 'evil\n')}\ta.txt\n`);
    const first = git(dir, ['rev-parse', 'origin/main']);
    for (const [what, ref] of [
      [tree, `refs/replace/${git(dir, ['rev-parse', 'origin/main^{tree}'])}`],
      [head, `refs/replace/${first}`],
      [tree, 'refs/tags/tree'],
    ])
      expect({ ref, status: push(`${what}:${ref}`).status }).toEqual({ ref, status: 1 });
    expect(refsOf(server).filter((ref) => /replace|tags/.test(ref))).toEqual([]);
  });
});

describe('where only the commits of agents need a proof', () => {
  test('one that ends with its headers is still an agent’s', () => {
    install('--agents', '*@agents.acme.example');
    const commit = stray();
    const bytes = git(dir, ['cat-file', 'commit', commit]);
    const agent = 'Bot <bot@agents.acme.example> 1 +0000';
    const head = bytes.slice(0, bytes.indexOf('\n\n')).replace(/^(author|committer) .*$/gm, `$1 ${agent}`);
    const cut = `${head}\n`;
    const short = git(dir, ['hash-object', '-t', 'commit', '-w', '--stdin'], cut);
    expect(push(`${short}:refs/heads/short`)).toMatchObject({ status: 1, stderr: expect.stringContaining('no proof') });
    install();
  });
});

test('a file alone says nothing of a commit’s signature or content: asked for them, it is not enough', () => {
  const file = join(elsewhere, 'proof.json');
  const bytes = execFileSync('git', ['-C', dir, 'cat-file', 'blob', `refs/attestations/cordon/${head}`], {
    env: gitEnv,
  });
  writeFileSync(file, bytes);
  const verify = (...more: string[]) =>
    spawnSync(program, ['verify', '--bundle', file, '--key', trust, ...more], { cwd: elsewhere, encoding: 'utf8' });
  expect(verify()).toMatchObject({ status: 0 });
  for (const option of ['--require-signature', '--content'])
    expect(verify(option)).toMatchObject({ status: 2, stderr: expect.stringContaining(option) });
});
