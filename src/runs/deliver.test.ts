import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { GitFolder, userRepository } from '../../test/fakes/push-scene.ts';
import { ConflictError, StorageError, UsageError } from '../base/errors.ts';
import { type DeliverySource, deliverBranch, deliverPatch } from './deliver.ts';
import { inspectRepository, type Repository } from './workspace.ts';

let root: string;
let user: GitFolder;
let source: GitFolder;
let repository: Repository;
let quarantine: DeliverySource;
let head: string;

/** A clone stands in for the quarantine: what matters is that it has objects which the user has not. */
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'cordon-deliver-'));
  user = userRepository(join(root, 'user'));
  repository = await inspectRepository(user.dir);
  user.git('clone', '-q', user.dir, join(root, 'source'));
  source = new GitFolder(join(root, 'source'));
  source.write('src/app.js', 'fixed\n');
  source.commit('fix: one');
  source.write('data.bin', Buffer.from([0, 1, 2, 255]));
  head = source.commit('add: two');
  quarantine = { place: { gitDir: join(source.dir, '.git') }, base: repository.base, objectFormat: 'sha1' };
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const deliver = (branch = 'cordon/one', commit = head) =>
  deliverBranch({ repository, quarantine, head: commit, branch });

test('a new branch appears; nothing else changes and no hook runs', async () => {
  const trap = join(root, 'sprung');
  for (const hook of ['reference-transaction', 'post-update', 'pre-receive', 'update', 'post-receive', 'pre-auto-gc']) {
    user.write(`.git/hooks/${hook}`, `#!/bin/sh\necho ${hook} >> ${trap}\n`, 0o755);
  }
  mkdirSync(join(root, 'hooks'));
  user.write('../hooks/reference-transaction', `#!/bin/sh\ntouch ${trap}\n`, 0o755);
  user.git('config', 'core.hooksPath', join(root, 'hooks'));
  user.write('README.md', 'dirty\n');
  rmSync(trap, { force: true });
  const before = snapshot();
  await deliver();
  expect(snapshot()).toEqual(before);
  expect(existsSync(trap)).toBe(false);
  expect(user.git('rev-parse', 'cordon/one')).toBe(head);
  expect(user.git('fsck', '--strict', '--no-dangling')).toBe('');
  expect(readdirSync(join(user.dir, '.git/objects/pack')).filter((name) => name.endsWith('.keep'))).toEqual([]);
  user.git('branch', 'spring-it');
  expect(existsSync(trap)).toBe(true);
});

function snapshot(): Record<string, string> {
  const read = (name: string) =>
    existsSync(join(user.dir, '.git', name)) ? readFileSync(join(user.dir, '.git', name), 'hex') : 'none';
  const files = ['index', 'HEAD', 'config', 'FETCH_HEAD', 'ORIG_HEAD', 'refs/heads/main', 'logs/HEAD'];
  return {
    ...Object.fromEntries(files.map((name) => [name, read(name)])),
    tree: readFileSync(join(user.dir, 'README.md'), 'utf8'),
  };
}

test('a branch that exists, or stands in the way, is a conflict that names it', async () => {
  user.git('branch', 'taken');
  user.git('branch', 'deep/er');
  user.git('pack-refs', '--all');
  for (const [branch, named] of [
    ['taken', /branch taken exists already/],
    ['taken/below', /branch taken is in its way/],
    ['deep', /branch deep\/er is in its way/],
  ] as const) {
    const failure = await deliver(branch).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ConflictError);
    expect((failure as ConflictError).message).toMatch(named);
    expect((failure as ConflictError).remedy).toMatch(/--branch NAME/);
  }
  expect(user.git('rev-parse', 'taken')).toBe(repository.base);
});

test('of two that deliver to one name, one wins; two names both arrive', async () => {
  const results = await Promise.allSettled([deliver('same'), deliver('same'), deliver('a/1'), deliver('a/2')]);
  expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected']);
  const lost = results.find((result) => result.status === 'rejected');
  expect(lost?.reason).toBeInstanceOf(ConflictError);
  for (const branch of ['same', 'a/1', 'a/2']) expect(user.git('rev-parse', branch)).toBe(head);
});

test('one whose disk is slow to write the same branch is waited for', async () => {
  const lock = join(user.dir, '.git/refs/heads/cordon/one.lock');
  mkdirSync(join(lock, '..'), { recursive: true });
  writeFileSync(lock, '');
  const delivering = deliver();
  await sleep(1_500); // longer than git waits by itself
  rmSync(lock);
  await delivering;
  expect(user.git('rev-parse', 'cordon/one')).toBe(head);
});

test('objects that do not arrive whole make no branch', async () => {
  const blob = source.git('rev-parse', 'HEAD:data.bin');
  rmSync(join(source.dir, '.git/objects', blob.slice(0, 2), blob.slice(2)));
  await expect(deliver()).rejects.toThrow(/cannot be read|cannot be written/);
  expect(user.git('branch', '--list', 'cordon/*')).toBe('');
});

test('refuses a name that is no branch', async () => {
  for (const branch of ['--force', 'a..b', 'HEAD', 'x.lock', 'a b', '$(id)'])
    await expect(deliver(branch)).rejects.toThrow(UsageError);
});

test('works from a linked worktree', async () => {
  user.git('worktree', 'add', '-q', '-b', 'side', join(root, 'side'));
  repository = await inspectRepository(join(root, 'side'));
  await deliver();
  expect(user.git('rev-parse', 'cordon/one')).toBe(head);
});

test.runIf(process.geteuid?.() === 0)("as root, what appears in another user's repository is theirs", async () => {
  execFileSync('chown', ['-R', '12345:12345', user.dir]);
  chmodSync(root, 0o755);
  repository = await inspectRepository(user.dir);
  await deliver('cordon/one');
  const strangers = execFileSync('find', [user.dir, '!', '-uid', '12345']).toString();
  expect(strangers).toBe('');
});

test.runIf(process.geteuid?.() === 0)('a repository that its owner cannot write to is a storage error', async () => {
  execFileSync('chown', ['-R', '12345:12345', user.dir]);
  chmodSync(root, 0o755);
  repository = await inspectRepository(user.dir);
  chmodSync(join(user.dir, '.git/objects/pack'), 0o555);
  chmodSync(join(user.dir, '.git/objects'), 0o555);
  await expect(deliver()).rejects.toThrow(StorageError);
});

test('a patch applies to what the user has and makes the same tree', async () => {
  const file = join(root, 'change.patch');
  const { bytes } = await deliverPatch(quarantine, head, file);
  expect(statSync(file).size).toBe(bytes);
  user.git('am', '-q', file);
  expect(user.git('rev-parse', 'HEAD^{tree}')).toBe(source.git('rev-parse', 'HEAD^{tree}'));
  await expect(deliverPatch(quarantine, head, file)).rejects.toThrow(ConflictError);
  await expect(deliverPatch(quarantine, head, join(root, 'no/such/folder'))).rejects.toThrow(StorageError);
});

test('a history with a merge becomes one diff of the whole', async () => {
  source.git('checkout', '-q', '-b', 'side', repository.base);
  source.write('side.txt', 'side\n');
  source.commit('side');
  source.git('checkout', '-q', 'main');
  source.git('merge', '-q', '--no-edit', 'side');
  const file = join(root, 'change.patch');
  await deliverPatch(quarantine, source.git('rev-parse', 'HEAD'), file);
  user.git('apply', '--index', file);
  expect(user.git('write-tree')).toBe(source.git('rev-parse', 'HEAD^{tree}'));
});

test('SIGKILL at any moment leaves the whole branch or none, and the next delivery works', async () => {
  const script = join(root, 'deliver.ts');
  const source_ = JSON.stringify(join(import.meta.dirname, 'deliver.ts'));
  writeFileSync(
    script,
    `import { deliverBranch } from ${source_};
     process.stdout.write('go');
     await deliverBranch(JSON.parse(process.argv[2]));`,
  );
  for (const delay of [0, 5, 10, 15, 20, 30]) {
    const branch = `cordon/killed-${delay}`;
    const child = spawn(process.execPath, [script, JSON.stringify({ repository, quarantine, head, branch })], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const closed = once(child, 'close');
    await once(child.stdout, 'data');
    await sleep(delay);
    child.kill('SIGKILL');
    await closed;
    const there = await user.tryGit('rev-parse', '--verify', '--quiet', `refs/heads/${branch}`);
    if (there.ok) expect(there.text.trim()).toBe(head);
    expect(user.git('fsck', '--connectivity-only', '--no-dangling')).toBe('');
  }
  await deliver('cordon/after');
  expect(user.git('rev-parse', 'cordon/after')).toBe(head);
});
