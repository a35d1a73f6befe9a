import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalCommandPath, canonicalSha256, matchCommand, parseCommandPath } from './commands.ts';
import { canonicalRef, parseBranchGlob } from './git-refs.ts';
import { canonicalPath, isGitFolder, matchPath, matchPathFolded, parsePathGlob, pathIn } from './paths.ts';
import { canonicalMethod, canonicalRequestPath, parseRequestPathGlob } from './request-paths.ts';

const path = (text: string) => {
  const result = parsePathGlob(text);
  if (!result.ok) throw new Error(result.message);
  return result.value;
};

describe('refs', () => {
  test.each([
    'refs/heads/main',
    'refs/heads/cordon/0123-x',
    'refs/tags/v1.0',
    'refs/heads/größe',
    'refs/heads/a+b@c#1',
  ])('%s is one', (ref) => {
    expect(canonicalRef(ref)).toEqual({ ok: true, value: ref });
  });

  test.each([
    'main',
    'HEAD',
    'refs/heads',
    'refs/heads/',
    'refs//heads/x',
    'refs/heads/cordon/../main',
    'refs/heads/cordon/./x',
    'refs/heads/.x',
    'refs/heads/x.',
    'refs/heads/x..y',
    'refs/heads/x.lock',
    'refs/heads/x.LOCK/y',
    'refs/heads/x@{1}',
    'refs/heads/@',
    'refs/heads/x y',
    'refs/heads/x~1',
    'refs/heads/x^',
    'refs/heads/x:y',
    'refs/heads/x*',
    'refs/heads/x?',
    'refs/heads/[x',
    'refs/heads/x\\y',
    'refs/heads/x\0',
    'refs/heads/x\n',
    'refs/heads/$(id)',
    'refs/heads/`id`',
    "refs/heads/'x",
    'refs/heads/x;y',
    'refs/heads/--upload-pack=x',
    'refs/heads/x/-y',
    'refs/heads/HEAD',
    'refs/heads/head',
    `refs/heads/${'a'.repeat(40)}`,
    'refs/heads/cordo\u0308n',
    'refs/heads/x\u202ey',
    'refs/heads/x\u200by',
    `refs/heads/${'x'.repeat(300)}`,
  ])('%j is none', (ref) => {
    expect(canonicalRef(ref).ok).toBe(false);
  });

  test('git takes every ref that is taken here', () => {
    const part = fc.string({
      unit: fc.constantFrom('a', '.', '-', '@', '{', 'x', '/', '~', 'lock', '+', '=', '#'),
      maxLength: 8,
    });
    fc.assert(
      fc.property(part, (text) => {
        const ref = `refs/heads/${text}`;
        if (canonicalRef(ref).ok) expect(() => execFileSync('git', ['check-ref-format', ref])).not.toThrow();
      }),
      { numRuns: 150 },
    );
  });

  test.each(['*', '**', '*/*', 'refs/tags/**', 'a b/**', 'a..b/*', '/x', 'x/../main'])(
    'the branch pattern %j is refused',
    (text) => {
      expect(parseBranchGlob(text).ok).toBe(false);
    },
  );
});

describe('paths', () => {
  test.each([
    'a',
    'a/b c',
    'src/größe.ts',
    '.github/workflows/x.yml',
    '.gitignore',
    'a\nb',
    'pages/[id].tsx',
    'a\\x41',
  ])('%j is one', (text) => {
    expect(canonicalPath(text).ok).toBe(true);
  });

  test.each([
    '',
    '/a',
    'a//b',
    'a/',
    './a',
    'a/../b',
    '..',
    'a\0b',
    '.git/config',
    'a/.GIT/hooks/x',
    '.git /x',
    '.git./x',
    'GIT~1/x',
    '.g\u200cit/x',
    '.git::$INDEX_ALLOCATION/x',
    'a\\..\\b',
    '.git\\config',
    'a\ud800',
  ])('%j is refused', (text) => {
    expect(canonicalPath(text).ok).toBe(false);
  });

  test('a name without wildcard means what is in it too', () => {
    expect(matchPath(path('docs'), 'docs/a/b')).toBe(true);
    expect(matchPath(path('docs/'), 'docs/a')).toBe(true);
    expect(matchPath(path('docs'), 'docs2/a')).toBe(false);
    expect(matchPath(path('src/*'), 'src/a/b')).toBe(false);
  });

  test('composed and decomposed spellings are one; protection looks past letter case', () => {
    expect(matchPath(path('caf\u00e9/**'), 'cafe\u0301/x')).toBe(true);
    expect(matchPathFolded(path('.github/**'), '.GitHub/workflows/x')).toBe(true);
    expect(matchPath(path('.github/**'), '.GitHub/workflows/x')).toBe(false);
  });

  test.each([
    ['src/ci/**', '\u017frc/ci/deploy.yml'], // the long s
    ['CODEOWNERS', 'CODEOWNER\u017f'],
    ['stra\u00dfe/**', 'STRASSE/a'],
    ['src/ci/**', 'src/c\u0131/deploy.yml'], // the dotless i
    ['src/?.yml', 'src/\u00df.yml'],
    ['src/?.yml', 'SRC/\u00df.yml'],
  ])('%s protects %s, as macOS has it', (glob, name) => {
    expect(matchPathFolded(path(glob), name)).toBe(true);
  });

  test('an empty list has nothing, no list has all, every list must have it', () => {
    expect(pathIn([[]], 'a')).toBe(false);
    expect(pathIn([], 'a')).toBe(true);
    expect(pathIn([['a/**'], ['a/b/**']], 'a/b/c')).toBe(true);
    expect(pathIn([['a/**'], ['a/b/**']], 'a/c')).toBe(false);
  });

  test.each(['/src', './src', '.git/**', 'x/.GIT', 'a/../b', '[a]', ''])('the pattern %j is refused', (text) => {
    expect(parsePathGlob(text).ok).toBe(false);
  });

  test('no accepted path leaves the folder it is put into, on any system', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('.', '..', '/', '\\', 'a', '.git', ' ', ':'), maxLength: 12 }),
        (text) => {
          if (!canonicalPath(text).ok) return;
          const names = text.split(/[/\\]/);
          expect(names).not.toContain('..');
          expect(names.some(isGitFolder)).toBe(false);
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe('commands', () => {
  test('a path is absolute and has one spelling', () => {
    expect(canonicalCommandPath('/usr/bin/git').ok).toBe(true);
    for (const text of ['git', './git', '/usr/bin/../git', '/usr//bin/git', '/usr/bin/', '/', '/a\0b'])
      expect(canonicalCommandPath(text).ok).toBe(false);
    for (const text of ['/usr/bin/*', '/usr/bin/gi?', '/usr/bin/[g]it', '/a\nb'])
      expect(parseCommandPath(text).ok).toBe(false);
  });

  test('what is resolved is content, not a name', () => {
    const [mine, other] = ['a'.repeat(64), 'b'.repeat(64)];
    const sh = { path: '/bin/sh', sha256: null };
    const resolved = new Map([['/bin/sh', { path: '/usr/bin/dash', sha256: mine }]]);
    expect(matchCommand(sh, { path: '/usr/bin/dash', sha256: mine }, resolved)).toBe(true);
    expect(matchCommand(sh, { path: '/usr/bin/dash', sha256: other }, resolved)).toBe(false);
    expect(matchCommand(sh, { path: '/bin/sh', sha256: mine }, resolved)).toBe(false);
    expect(matchCommand({ path: '/bin/sh', sha256: other }, { path: '/usr/bin/dash', sha256: mine }, resolved)).toBe(
      false,
    );
    expect(matchCommand({ path: '/bin/unknown', sha256: null }, { path: '/bin/unknown', sha256: mine }, resolved)).toBe(
      false,
    );
    expect(matchCommand(sh, { path: '/bin/sh', sha256: mine }, undefined)).toBe(true);
  });

  test('a digest is 64 hex digits', () => {
    expect(canonicalSha256(`sha256:${'A'.repeat(64)}`)).toEqual({ ok: true, value: 'a'.repeat(64) });
    expect(canonicalSha256('a'.repeat(63)).ok).toBe(false);
  });
});

describe('request paths', () => {
  test.each([
    ['/a/b?x=1', '/a/b'],
    ['/%61/b', '/a/b'],
    ['/a%20b', '/a%20b'],
    ['/a%c3%a9', '/a%C3%A9'],
    ['/', '/'],
    ['/a/', '/a/'],
  ])('%s is %s', (text, form) => {
    expect(canonicalRequestPath(text)).toEqual({ ok: true, value: form });
  });

  test.each([
    '',
    'a',
    '/a/../b',
    '/a/%2e%2e/b',
    '/a/.%2E',
    '/a//b',
    '/a%2fb',
    '/a%5cb',
    '/a%00b',
    '/a%252e',
    '/a\\b',
    '/a b',
    '/a%zz',
    '/a\nb',
    '*',
    'https://x/',
  ])('%j has none', (text) => {
    expect(canonicalRequestPath(text).ok).toBe(false);
  });

  test('patterns and methods', () => {
    expect(parseRequestPathGlob('/repos/acme/**').ok).toBe(true);
    expect(parseRequestPathGlob('repos').ok).toBe(false);
    // One list with two paths and one path with a space must not read alike.
    expect(parseRequestPathGlob('/a /b').ok).toBe(false);
    expect(canonicalMethod('get')).toEqual({ ok: true, value: 'GET' });
    expect(canonicalMethod('GET /').ok).toBe(false);
  });
});
