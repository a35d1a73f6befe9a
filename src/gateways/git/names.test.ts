import { posix } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { linkProblem, pathText } from './names.ts';

test.each([
  ['a', 'b', null],
  ['docs/a', '../README.md', null],
  ['docs/deep/a', '../../src', null],
  ['a', '.github/workflows', null],
  ['a', '..', /leaves/],
  ['a/b', '../..', /leaves/],
  ['a', '/etc', /absolute/],
  ['a', 'C:/Windows', /absolute/],
  ['a', '\\\\server\\share', /absolute/],
  ['a', '', /malformed/],
  ['a', 'x\0y', /malformed/],
  ['a', 'b/../c', /down and up/],
  ['a', '.git', /git's own folder/],
  ['d/a', '../.git/config', /git's own folder/],
  ['a', '.Git. /config', /git's own folder/],
])('%s → %s', (path, target, problem) => {
  const said = linkProblem(path.split('/'), Buffer.from(target));
  if (problem === null) expect(said).toBeNull();
  else expect(said).toMatch(problem);
});

test('a target that passes stays inside by the rules of the file system', () => {
  const name = fc.constantFrom('a', 'b', '..', '.', '', 'c.d');
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('x', 'y'), { minLength: 1, maxLength: 4 }),
      fc.array(name, { minLength: 1, maxLength: 8 }),
      (path, parts) => {
        const target = parts.join('/');
        if (linkProblem(path, Buffer.from(target)) !== null) return;
        const resolved = posix.normalize(posix.join(...path.slice(0, -1), target));
        expect(resolved.startsWith('..')).toBe(false);
        expect(posix.isAbsolute(target)).toBe(false);
      },
    ),
  );
});

test('a path is text, or a reason', () => {
  expect(pathText(['a', Buffer.from('ü').toString('latin1')])).toEqual({ ok: true, path: 'a/ü' });
  for (const bad of ['\xff', 'a\n', '.git', '.GIT', 'git~1', '\u00e2\u0080\u008b'])
    expect(pathText(['ok', bad]).ok).toBe(false);
});
