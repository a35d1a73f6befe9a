import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { userRepository } from '../../test/fakes/push-scene.ts';
import { setIndexTimes } from './checkout-index.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cordon-index-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test.each(['sha1', 'sha256'] as const)(
  'git reads the index it gives, with the new times and nothing else changed (%s)',
  (format) => {
    const user = userRepository(join(root, 'user'), [`--object-format=${format}`]);
    // Names of every length modulo the padding, one beyond the 12 bits of its length field, and an extended entry.
    for (let length = 1; length < 20; length++) user.write('n'.repeat(length), 'x');
    user.write(
      Array.from({ length: 30 }, () => 'd'.repeat(150))
        .join('/')
        .slice(0, 3900),
      'x',
    );
    user.git('add', '-A');
    user.git('update-index', '--skip-worktree', 'README.md');
    const file = join(user.dir, '.git', 'index');
    const before = user.git('ls-files', '--stage', '-t');
    writeFileSync(file, setIndexTimes(readFileSync(file), 1_234_567_890, format));
    expect(user.git('ls-files', '--stage', '-t')).toBe(before);
    const times = user.git('ls-files', '--debug').match(/mtime: .*/g);
    expect(new Set(times)).toEqual(new Set(['mtime: 1234567890:0']));
    expect(user.git('fsck')).not.toMatch(/index/);
  },
);

test.each([
  ['nothing like it', Buffer.alloc(64)],
  ['version 4', Buffer.concat([Buffer.from('DIRC'), Buffer.from([0, 0, 0, 4]), Buffer.alloc(64)])],
  [
    'an entry cut off',
    Buffer.concat([Buffer.from('DIRC'), Buffer.from([0, 0, 0, 2, 0, 0, 0, 1]), Buffer.alloc(60, 1)]),
  ],
])('refuses %s', (_what, bytes) => {
  expect(() => setIndexTimes(bytes, 1, 'sha1')).toThrow(RangeError);
});
