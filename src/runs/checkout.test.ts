import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { GitFolder, userRepository } from '../../test/fakes/push-scene.ts';
import { StorageError, UsageError, WorkspaceError } from '../base/errors.ts';
import { type Checkout, type CheckoutRequest, prepareCheckout } from './checkout.ts';
import { inspectRepository } from './workspace.ts';

let root: string;
let home: string;
let user: GitFolder;
const open: Checkout[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cordon-checkout-'));
  home = join(root, 'home');
  mkdirSync(home);
  user = userRepository(join(root, 'user'));
});
afterEach(() => {
  for (const checkout of open.splice(0)) checkout.release();
  rmSync(root, { recursive: true, force: true });
});

async function prepare(more: Partial<CheckoutRequest> = {}, base = 'HEAD'): Promise<Checkout> {
  const repository = await inspectRepository(user.dir, base);
  const checkout = await prepareCheckout({ home, repository, paths: [], depth: 'full', owner: null, ...more });
  open.push(checkout);
  return checkout;
}

const keys = () => readdirSync(join(home, 'checkouts')).filter((name) => /^[0-9a-f]{40}$/.test(name));

test('is the commit, on its branch, clean, with its history and nothing of the host', async () => {
  user.write('uncommitted', 'x');
  user.git('config', 'core.hooksPath', '/tmp/evil');
  user.git('config', 'user.email', 'private@acme.example');
  user.git('remote', 'add', 'origin', 'https://token@acme.example/app');
  user.write('.git/hooks/post-checkout', '#!/bin/sh\ntouch sprung\n', 0o755);
  const checkout = await prepare();
  const inside = new GitFolder(checkout.dir);
  expect(checkout).toMatchObject({ branch: 'main', partial: false, cached: false, files: 5, notices: [] });
  expect(inside.git('rev-parse', 'HEAD')).toBe(user.git('rev-parse', 'HEAD'));
  expect(inside.git('symbolic-ref', 'HEAD')).toBe('refs/heads/main');
  expect(inside.git('status', '--porcelain')).toBe('');
  expect(inside.git('rev-list', '--count', 'HEAD')).toBe('3');
  expect(inside.git('fsck', '--strict')).toBe('');
  expect(inside.git('config', '--local', '--list')).not.toMatch(/hookspath|user\.|remote\./i);
  expect(readdirSync(join(checkout.dir, '.git')).sort()).toEqual([
    'HEAD',
    'config',
    'index',
    'info',
    'objects',
    'packed-refs',
    'refs',
  ]);
  expect(lstatSync(join(checkout.dir, 'bin/run')).mode & 0o777).toBe(0o755);
  expect(existsSync(join(checkout.dir, 'uncommitted'))).toBe(false);
});

test('git reads no file to find it clean, and finds every change', async () => {
  const { dir } = await prepare();
  // All stat data of the index is up to date: diff-files, which never refreshes, has nothing to say.
  expect(new GitFolder(dir).git('diff-files')).toBe('');
  execFileSync('cp', ['-a', dir, join(root, 'copy')]);
  const copy = new GitFolder(join(root, 'copy'));
  copy.write('README.md', 'one\ntwO\n'); // same size
  expect(copy.git('status', '--porcelain')).toBe('M README.md'.padStart(12));
});

test('the second time it is the same folder, also for callers at the same moment', async () => {
  const made = await Promise.all([prepare(), prepare(), prepare(), prepare()]);
  expect(new Set(made.map(({ dir }) => dir)).size).toBe(1);
  expect(made.filter(({ cached }) => !cached)).toHaveLength(1);
  expect(await prepare()).toMatchObject({ cached: true, dir: made[0]?.dir, files: 5 });
  expect(keys()).toHaveLength(1);
});

// Both had found nothing, and this one waited then until the other's run was over.
test('what another has made meanwhile is taken, also while that one uses it', async () => {
  const first = await prepare();
  const [entry, hidden] = [join(first.dir, '..'), join(root, 'hidden')];
  renameSync(entry, hidden);
  const second = prepare();
  await sleep(100); // it has looked; if not, it finds it at once, and this proves nothing
  renameSync(hidden, entry);
  expect(await second).toMatchObject({ cached: true, dir: first.dir });
});

test('another commit, depth, path set or branch is another folder', async () => {
  const base = await prepare();
  user.git('branch', 'twin');
  const others = [
    await prepare({}, 'HEAD~1'),
    await prepare({ depth: 1 }),
    await prepare({ paths: ['src/**'] }),
    await prepare({}, 'twin'),
  ];
  expect(new Set([base, ...others].map((checkout) => checkout.dir)).size).toBe(5);
});

test.each([
  [1, 1],
  [2, 2],
  [3, 3],
  [50, 3],
  ['full', 3],
] as const)('history at depth %s has %d commits', async (depth, count) => {
  const checkout = await prepare({ depth });
  const inside = new GitFolder(checkout.dir);
  expect(inside.git('rev-list', '--count', 'HEAD')).toBe(String(count));
  expect(inside.git('fsck')).toBe('');
  expect(checkout.shallow.length).toBe(count === 3 ? 0 : 1);
});

test('depth follows every side of a merge', async () => {
  user.git('checkout', '-q', '-b', 'side', 'HEAD~1');
  user.write('side', 'x');
  user.commit('side');
  user.git('checkout', '-q', 'main');
  user.git('merge', '-q', '--no-edit', 'side');
  const checkout = await prepare({ depth: 2 });
  expect(new GitFolder(checkout.dir).git('rev-list', '--count', 'HEAD')).toBe('3');
  expect(checkout.shallow).toHaveLength(2);
});

describe('with paths', () => {
  test('has only these, no bytes of others, and commits leave the rest alone', async () => {
    const checkout = await prepare({ paths: ['src/**'] });
    expect(readdirSync(checkout.dir).sort()).toEqual(['.git', 'src']);
    execFileSync('cp', ['-a', checkout.dir, join(root, 'copy')]);
    const copy = new GitFolder(join(root, 'copy'));
    expect(copy.git('status', '--porcelain')).toBe('');
    const hidden = user.git('rev-parse', 'HEAD:docs/guide.md');
    expect((await copy.tryGit('cat-file', '-e', hidden)).ok).toBe(false);
    copy.write('src/app.js', 'changed\n');
    copy.commit('within');
    expect(copy.git('diff-tree', '-r', '--name-only', 'HEAD~1', 'HEAD')).toBe('src/app.js');
    expect(copy.git('ls-tree', '-r', '--name-only', 'HEAD')).toBe(user.git('ls-tree', '-r', '--name-only', 'HEAD'));
  });

  test('says so when nothing matches, and what is no glob', async () => {
    await expect(prepare({ paths: ['nowhere/**'] })).rejects.toThrow(WorkspaceError);
    await expect(prepare({ paths: ['../x'] })).rejects.toThrow(UsageError);
    await expect(prepare({ paths: ['a\nb'] })).rejects.toThrow(UsageError);
    expect(readdirSync(join(home, 'checkouts', 'tmp'))).toEqual([]);
  });
});

test('takes links as links, odd names, submodules as empty folders, filters as they are', async () => {
  symlinkSync('/etc/passwd', join(user.dir, 'link'));
  user.write('new\nline', 'x');
  user.bytes(['config', 'core.precomposeunicode', 'false']);
  writeFileSync(Buffer.from(`${user.dir}/latin-\xff`, 'latin1'), 'x');
  user.write('.gitattributes', '*.bin filter=lfs\n');
  user.write('big.bin', 'version https://git-lfs.github.com/spec/v1\n');
  user.git('update-index', '--add', '--cacheinfo', `160000,${user.git('rev-parse', 'HEAD')},vendor/lib`);
  user.git('add', '-A', '--', ':!vendor');
  user.git('commit', '-qm', 'odd');
  const checkout = await prepare();
  expect(checkout.notices.map((notice) => notice.code)).toEqual(['submodules', 'odd_names', 'filtered_files']);
  expect(readlinkSync(join(checkout.dir, 'link'))).toBe('/etc/passwd');
  expect(readdirSync(join(checkout.dir, 'vendor/lib'))).toEqual([]);
  expect(new GitFolder(checkout.dir).git('status', '--porcelain')).toBe('');
});

test('works in a shallow clone, with alternates, with SHA-256, and says what a partial clone lacks', async () => {
  const original = user;
  user.git('config', 'uploadpack.allowFilter', 'true');
  for (const [name, args] of [
    ['shallow', ['--depth=2', `file://${user.dir}`]],
    ['shared', ['--shared', user.dir]],
  ] as const) {
    original.git('clone', '-q', ...args, join(root, name));
    user = new GitFolder(join(root, name));
    const inside = new GitFolder((await prepare()).dir);
    expect(inside.git('fsck')).toBe('');
    expect(inside.git('rev-list', '--count', 'HEAD')).toBe(name === 'shallow' ? '2' : '3');
  }
  user = userRepository(join(root, 'sha256'), ['--object-format=sha256']);
  expect(new GitFolder((await prepare({ depth: 1 })).dir).git('status', '--porcelain')).toBe('');
  original.git('clone', '-q', '--no-checkout', '--filter=blob:none', `file://${original.dir}`, join(root, 'partial'));
  user = new GitFolder(join(root, 'partial'));
  await expect(prepare()).rejects.toThrow(/not all files of commit/);
});

test('refuses what is too large, naming the limit', async () => {
  await expect(prepare({ limits: { files: 4, bytes: 1e9 } })).rejects.toThrow(/has 5 files .* at most 4 files/);
  expect(keys()).toEqual([]);
});

test.runIf(process.geteuid?.() === 0)('belongs to the guest, except for the shared pack', async () => {
  const checkout = await prepare({ owner: { uid: 23456, gid: 23457 } });
  for (const path of ['', 'README.md', '.git', '.git/index', '.git/objects/pack', '.git/refs/heads']) {
    expect(lstatSync(join(checkout.dir, path))).toMatchObject({ uid: 23456, gid: 23457 });
  }
  const pack = readdirSync(join(checkout.dir, '.git/objects/pack')).find((name) => name.endsWith('.pack')) as string;
  expect(lstatSync(join(checkout.dir, '.git/objects/pack', pack))).toMatchObject({ uid: process.getuid?.() });
  expect(lstatSync(join(checkout.view.gitDir, 'objects/pack', pack)).mode & 0o777).toBe(0o444);
});

test.runIf(process.geteuid?.() === 0)('a full disk is a clear error, and leaves the room it took', async () => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', home]);
  try {
    for (let i = 0; i < 30; i++) user.write(`big/${i}`, randomBytes(200_000));
    user.commit('big');
    await expect(prepare()).rejects.toThrow(StorageError);
    expect(keys()).toEqual([]);
    expect(readdirSync(join(home, 'checkouts', 'tmp'))).toEqual([]);
    expect(await prepare({}, 'HEAD~1')).toMatchObject({ files: 5 });
  } finally {
    execFileSync('umount', ['-l', home]);
  }
});

describe('the cache', () => {
  test('keeps what is in use, and drops the longest unused first', async () => {
    const used = await prepare({}, 'HEAD~2');
    const idle = await prepare({}, 'HEAD~1');
    idle.release();
    const last = await prepare({ cacheBytes: 1 });
    expect(keys().sort()).toEqual([used.key, last.key].sort());
    used.release();
    last.release();
    await prepare({ cacheBytes: 1, depth: 1 });
    expect(keys()).toHaveLength(1);
  });

  test('an entry of an earlier boot that was never synced is made again', async () => {
    const { dir, release } = await prepare();
    release();
    const file = join(dir, '..', 'entry.json');
    await expect.poll(() => existsSync(join(dir, '..', 'synced'))).toBe(true);
    const entry = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...entry, boot: 'another' }));
    expect((await prepare()).cached).toBe(true);
    open.pop()?.release();
    rmSync(join(dir, '..', 'synced'));
    expect((await prepare()).cached).toBe(false);
  });

  test('SIGKILL at any moment leaves nothing that counts, and the next run clears it', async () => {
    for (let i = 0; i < 200; i++) user.write(`many/${i % 10}/${i}`, `${i}\n`.repeat(1000));
    user.commit('many');
    const script = join(root, 'prepare.ts');
    const source = (name: string) => JSON.stringify(join(import.meta.dirname, name));
    writeFileSync(
      script,
      `import { inspectRepository } from ${source('workspace.ts')};
       import { prepareCheckout } from ${source('checkout.ts')};
       const repository = await inspectRepository(process.argv[2]);
       console.log('go');
       await prepareCheckout({ home: process.argv[3], repository, paths: [], depth: 'full', owner: null });
       console.log('done');`,
    );
    for (const delay of [0, 20, 40, 60, 90, 130]) {
      const child = spawn(process.execPath, [script, user.dir, home], { stdio: ['ignore', 'pipe', 'ignore'] });
      const closed = once(child, 'close');
      await once(child.stdout, 'data');
      await sleep(delay);
      child.kill('SIGKILL');
      await closed;
    }
    const checkout = await prepare();
    expect(new GitFolder(checkout.dir).git('status', '--porcelain')).toBe('');
    expect(new GitFolder(checkout.dir).git('fsck')).toBe('');
    expect(readdirSync(join(home, 'checkouts', 'tmp'))).toEqual([]);
  });
});
