import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { GitFolder, userRepository } from '../../test/fakes/push-scene.ts';
import { WorkspaceError } from '../base/errors.ts';
import { inspectRepository, uncommittedWork } from './workspace.ts';

let root: string;
let user: GitFolder;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cordon-workspace-'));
  user = userRepository(join(root, 'user'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test('finds the base, its branch and the folders', async () => {
  const found = await inspectRepository(user.dir);
  expect(found).toMatchObject({
    dir: user.dir,
    gitDir: join(user.dir, '.git'),
    commonDir: join(user.dir, '.git'),
    objectsDir: join(user.dir, '.git', 'objects'),
    objectFormat: 'sha1',
    base: user.git('rev-parse', 'HEAD'),
    baseBranch: 'main',
    shallow: [],
    notices: [],
  });
});

test('takes any way of naming a commit; a branch name only where one was named', async () => {
  user.git('tag', 'v1', 'HEAD~1');
  expect(await inspectRepository(user.dir, 'v1')).toMatchObject({
    base: user.git('rev-parse', 'v1'),
    baseBranch: null,
  });
  expect(await inspectRepository(user.dir, 'HEAD~2')).toMatchObject({
    base: user.git('rev-parse', 'HEAD~2'),
    baseBranch: null,
  });
  user.git('checkout', '-q', '--detach');
  expect((await inspectRepository(user.dir)).baseBranch).toBeNull();
});

/** A fresh repository without a commit. */
function made(name: string, ...args: string[]): string {
  execFileSync('git', ['init', '-q', ...args, join(root, name)]);
  return join(root, name);
}

test.each<[string, () => string, RegExp, string?]>([
  ['no folder', () => join(root, 'nowhere'), /no folder/],
  ['no repository', () => root, /not in a git repository/],
  ['bare', () => made('bare', '--bare'), /bare repository/],
  ['no commit', () => made('empty'), /no commit to start from/],
  ['no such base', () => user.dir, /has no commit nonsense/, 'nonsense'],
  ['an option as the base', () => user.dir, /has no commit --all/, '--all'],
  ['a blob as the base', () => user.dir, /has no commit/, 'HEAD:README.md'],
  [
    'a .git that is none',
    () => join(mkdirSync(join(root, 'odd/.git'), { recursive: true }) as string),
    /git repository/,
  ],
])('refuses: %s', async (_what, dir, message, base) => {
  const failure = await inspectRepository(dir(), base).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(WorkspaceError);
  expect((failure as WorkspaceError).message).toMatch(message);
  expect((failure as WorkspaceError).exitCode).toBe(2);
});

test('says what is unusual: below the top, a linked worktree, a shallow clone', async () => {
  expect((await inspectRepository(join(user.dir, 'src'))).notices.map((notice) => notice.code)).toEqual(['below_top']);
  user.git('worktree', 'add', '-q', '-b', 'side', join(root, 'side'));
  const linked = await inspectRepository(join(root, 'side'));
  expect(linked).toMatchObject({ baseBranch: 'side', commonDir: join(user.dir, '.git'), dir: join(root, 'side') });
  expect(linked.notices.map((notice) => notice.code)).toEqual(['linked_worktree']);
  user.git('clone', '-q', '--depth=1', `file://${user.dir}`, join(root, 'shallow'));
  const shallow = await inspectRepository(join(root, 'shallow'));
  expect(shallow.shallow).toEqual([user.git('rev-parse', 'HEAD')]);
  expect(shallow.notices.map((notice) => notice.code)).toEqual(['shallow']);
});

test.runIf(process.geteuid?.() === 0)(
  "another user's repository: taken when named, refused when only found above",
  async () => {
    for (const path of ['.', '.git']) chownSync(join(user.dir, path), 12345, 12345);
    expect(await inspectRepository(user.dir)).toMatchObject({ owner: { uid: 12345, gid: 12345 } });
    await expect(inspectRepository(join(user.dir, 'src'))).rejects.toThrow(/belongs to another user/);
  },
);

test('runs nothing that a hostile configuration, attribute or hook names', async () => {
  const trap = join(root, 'sprung');
  const spring = `touch ${trap}; cat`;
  user.write('.gitattributes', '* filter=evil diff=evil\n');
  user.write('README.md', 'dirty\n');
  for (const [name, value] of [
    ['core.fsmonitor', spring],
    ['core.pager', spring],
    ['core.sshCommand', spring],
    ['core.alternateRefsCommand', spring],
    ['diff.external', spring],
    ['diff.evil.textconv', spring],
    ['filter.evil.clean', spring],
    ['filter.evil.smudge', spring],
    ['protocol.ext.allow', 'always'],
    ['remote.origin.url', `ext::sh -c ${spring}`],
    ['remote.origin.promisor', 'true'],
    ['alias.rev-parse', `!${spring}`],
  ] as const) {
    user.git('config', name, value);
  }
  const repository = await inspectRepository(user.dir);
  await expect(inspectRepository(user.dir, '1234567890123456789012345678901234567890')).rejects.toThrow(WorkspaceError);
  const view = new GitFolder(join(root, 'view'));
  mkdirSync(view.dir);
  view.git('init', '-q', '--bare');
  expect(await uncommittedWork(repository, { gitDir: view.dir })).toMatchObject({ code: 'uncommitted_work' });
  expect(existsSync(trap)).toBe(false);
  // The trap does work: plain git springs it.
  await user.tryGit('status');
  expect(existsSync(trap)).toBe(true);
});

test('tells uncommitted work apart, and leaves the index as it was', async () => {
  const repository = await inspectRepository(user.dir);
  const view = new GitFolder(join(root, 'view'));
  mkdirSync(view.dir);
  view.git('init', '-q', '--bare');
  const look = async () => (await uncommittedWork(repository, { gitDir: view.dir }))?.message ?? null;
  expect(await look()).toBeNull();
  user.write('new', 'x');
  expect(await look()).toMatch(/^untracked files in/);
  user.git('add', 'new');
  expect(await look()).toMatch(/^uncommitted changes in/);
  user.git('reset', '-q', '--hard');
  symlinkSync('/etc/passwd', join(user.dir, 'link'));
  user.write('src/app.js', 'other\n');
  expect(await look()).toMatch(/^uncommitted changes and untracked files in/);
});
