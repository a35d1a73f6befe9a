import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GitFolder } from '../../test/fakes/push-scene.ts';
import { Clone } from './clone.ts';
import { plainGitDir } from './clone-find.ts';
import { diffBetween } from './diff.ts';
import { BrokenLink } from './links.ts';
import { readDiff } from './tree-diff.ts';

const root = mkdtempSync(join(tmpdir(), 'cordon-tree-'));
let repository: GitFolder;
let clone: Clone;
let blobs: readonly string[];

beforeAll(() => {
  mkdirSync(join(root, 'a/b'), { recursive: true });
  repository = new GitFolder(root);
  repository.git('init', '-q', '-b', 'main');
  blobs = ['x', 'y'].map((text) => repository.object('blob', text));
  clone = new Clone({ gitDir: join(root, '.git') }, 'sha1');
});
afterAll(() => {
  clone.close();
  rmSync(root, { recursive: true, force: true });
});

interface Folder {
  readonly [name: string]: Folder | readonly [mode: string, blob: 0 | 1];
}

/** Names that sort differently as files and as folders, and some bytes that are no text. */
const name = fc.constantFrom('a', 'a-b', 'a.b', 'a0', 'ab', 'b', 'Ä', '\xff');
const file = fc.tuple(fc.constantFrom('100644', '100755', '120000', '160000'), fc.constantFrom(0 as const, 1 as const));
const { folder } = fc.letrec<{ folder: Folder; entry: Folder | readonly [string, 0 | 1] }>((tie) => ({
  entry: fc.oneof({ maxDepth: 3 }, file, tie('folder')),
  folder: fc.dictionary(name, tie('entry'), { maxKeys: 5, noNullPrototype: true }),
}));

function write(tree: Folder): string {
  const entries = Object.entries(tree).map(([name, value]) =>
    Array.isArray(value)
      ? ([value[0] as string, name, blobs[value[1] as number] as string] as const)
      : (['40000', name, write(value as Folder)] as const),
  );
  const key = ([mode, name]: readonly [string, string, string]) =>
    Buffer.from(`${name}${mode === '40000' ? '/' : '\0'}`, 'latin1');
  const sorted = entries.sort((a, b) => Buffer.compare(key(a), key(b)));
  return repository.rawTree(sorted.map(([mode, name, oid]) => [mode, Buffer.from(name, 'latin1'), oid]));
}

test('two trees differ as git says they differ', async () => {
  await fc.assert(
    fc.asyncProperty(folder, folder, async (before, after) => {
      const [from, to] = [write(before), write(after)];
      expect(await readDiff(clone, from, to)).toEqual(await diffBetween(clone.place, from, to));
    }),
    { numRuns: 40 },
  );
});

test('what is too much, missing or odd is left to git', async () => {
  const empty = write({});
  const wide = write(
    Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`d${i}`, { [`n${i}`]: ['100644', 0] } as Folder])),
  );
  expect(await readDiff(clone, empty, wide)).toBeNull();
  expect(await readDiff(clone, empty, 'f'.repeat(40))).toBeNull();
  const blob = blobs[0] as string;
  const unsorted = repository.rawTree([
    ['100644', 'b', blob],
    ['100644', 'a', blob],
  ]);
  expect(await readDiff(clone, empty, unsorted)).toBeNull();
  expect(await readDiff(clone, empty, repository.rawTree([['1006440', 'a', blob]]))).toBeNull();
});

test('a tree that is not what its id says breaks the link', async () => {
  const [from, to] = [write({}), write({ only: ['100644', 0] })];
  const other = write({ other: ['100644', 1] });
  const path = (oid: string) => join(root, '.git/objects', oid.slice(0, 2), oid.slice(2));
  rmSync(path(to), { force: true });
  copyFileSync(path(other), path(to));
  const fresh = new Clone({ gitDir: join(root, '.git') }, 'sha1');
  await expect(readDiff(fresh, from, to)).rejects.toBeInstanceOf(BrokenLink);
  fresh.close();
});

test('an ordinary clone is found without git, and only that', () => {
  const gitDir = join(root, '.git');
  expect(plainGitDir(root)).toBe(gitDir);
  expect(plainGitDir(join(root, 'a/b'))).toBe(gitDir);
  repository.git('commit', '-q', '--allow-empty', '-m', 'x');
  repository.git('worktree', 'add', '-q', 'linked');
  expect(plainGitDir(join(root, 'linked'))).toBeNull();
  repository.git('init', '-q', '--bare', 'bare.git');
  expect(plainGitDir(join(root, 'bare.git'))).toBeNull();
  repository.git('init', '-q', '--object-format=sha256', 'other');
  expect(plainGitDir(join(root, 'other'))).toBeNull();
  expect(plainGitDir('/')).toBeNull();
});
