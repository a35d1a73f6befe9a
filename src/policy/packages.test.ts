import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalPackage, canonicalVersion, matchPackage, parsePackagePattern, sameVersion } from './packages.ts';

const name = (ecosystem: 'npm' | 'pypi', text: string) => {
  const result = canonicalPackage(ecosystem, text);
  return result.ok ? result.value : null;
};
const version = (ecosystem: 'npm' | 'pypi', text: string) => {
  const result = canonicalVersion(ecosystem, text);
  return result.ok ? result.value : null;
};

test.each([
  ['npm', 'lodash', 'lodash'],
  ['npm', '@acme/ui', '@acme/ui'],
  ['npm', 'JSONStream', 'JSONStream'],
  ['npm', '@acme', null],
  ['npm', '@acme/ui/x', null],
  ['npm', '.hidden', null],
  ['npm', '..', null],
  ['npm', 'a b', null],
  ['npm', '', null],
  ['npm', 'lodаsh', null], // a Cyrillic а
  ['pypi', 'Foo.Bar_-baz', 'foo-bar-baz'],
  ['pypi', 'zope.interface', 'zope-interface'],
  ['pypi', '-x', null],
  ['pypi', '@acme/ui', null],
] as const)('%s name %s', (ecosystem, text, expected) => expect(name(ecosystem, text)).toBe(expected));

test.each([
  ['npm', '1.2.3', '1.2.3'],
  ['npm', '1.2.3-beta.1+build.5', '1.2.3-beta.1+build.5'],
  ['npm', '01.2.3', null],
  ['npm', '1.2', null],
  ['npm', 'v1.2.3', null],
  ['pypi', 'v1.0', '1.0'],
  ['pypi', '1.0-ALPHA.1', '1.0a1'],
  ['pypi', '1!2.0c1', '1!2.0rc1'],
  ['pypi', '1.0-1', '1.0.post1'],
  ['pypi', '1.0.rev', '1.0.post0'],
  ['pypi', '2024.01.05', '2024.1.5'],
  ['pypi', '1.0.dev3+Ubuntu_1', '1.0.dev3+ubuntu.1'],
  ['pypi', '0!1.0', '1.0'],
  ['pypi', 'one', null],
  ['pypi', '1.0 ', null],
] as const)('%s version %s', (ecosystem, text, expected) => expect(version(ecosystem, text)).toBe(expected));

test('1.0 and 1.0.0 are one release of PyPI and not of npm', () => {
  expect(sameVersion('pypi', '1.0', '1.0.0')).toBe(true);
  expect(sameVersion('pypi', '1.0a1', '1.0.0a1')).toBe(true);
  expect(sameVersion('pypi', '10', '1')).toBe(false);
  expect(sameVersion('npm', '1.0.0', '1.0.0-0')).toBe(false);
});

const pypiText = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}[A-Za-z0-9]$/);

test('a canonical name is its own canonical form, and every spelling of PyPI has one', () => {
  fc.assert(
    fc.property(pypiText, fc.constantFrom('-', '_', '.', '--', '._-'), (text, separator) => {
      const form = name('pypi', text);
      expect(form).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
      expect(name('pypi', form ?? '')).toBe(form);
      expect(name('pypi', text.toUpperCase().replace(/[-_.]+/g, separator))).toBe(form);
    }),
  );
});

test('a canonical version is its own canonical form', () => {
  const part = fc.nat({ max: 99 });
  const suffix = fc.constantFrom('', 'a1', '-beta', '.rc02', '-3', '.post1', 'dev', '+local-1', 'B2.POST3.DEV4');
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), suffix, (release, more) => {
      const form = version('pypi', `${release.join('.')}${more}`);
      expect(form).not.toBeNull();
      expect(version('pypi', form ?? '')).toBe(form);
    }),
  );
});

test('whatever it is given, a name is refused or has no character that a path or a URL reads otherwise', () => {
  fc.assert(
    fc.property(fc.constantFrom('npm' as const, 'pypi' as const), fc.string({ unit: 'binary' }), (ecosystem, text) => {
      const form = name(ecosystem, text);
      if (form !== null) expect(form).toMatch(/^@?[A-Za-z0-9._~-]+(\/[A-Za-z0-9._~-]+)?$/);
    }),
  );
});

const matches = (text: string, ecosystem: 'npm' | 'pypi', wanted: string, release: string | null, loose = false) => {
  const pattern = parsePackagePattern(text);
  if (!pattern.ok) throw new Error(pattern.message);
  return matchPackage(pattern.value, { ecosystem, name: wanted }, release, loose);
};

test.each([
  ['lodash', 'npm', 'lodash', '1.0.0', true],
  ['lodash', 'pypi', 'lodash', '1.0', true],
  ['lodash', 'npm', '@acme/lodash', '1.0.0', false],
  ['lodash', 'npm', 'lodash-es', '1.0.0', false],
  ['lodash-*', 'npm', 'lodash-es', null, true],
  ['@acme/*', 'npm', '@acme/ui', '1.0.0', true],
  ['@acme/*', 'npm', '@acme-evil/ui', '1.0.0', false],
  ['@acme/*', 'npm', 'ui', '1.0.0', false],
  ['npm:*', 'npm', '@any/thing', '1.0.0', true],
  ['npm:*', 'pypi', 'thing', '1.0', false],
  ['pypi:Zope.*', 'pypi', 'zope-interface', '1.0', true],
  ['left-pad@1.3.0', 'npm', 'left-pad', '1.3.0', true],
  ['left-pad@1.3.0', 'npm', 'left-pad', '1.3.1', false],
  ['left-pad@1.3.0', 'npm', 'left-pad', null, false],
  ['pypi:requests@2.0', 'pypi', 'requests', '2.0.0', true],
] as const)('%s and %s %s %s: %s', (text, ecosystem, wanted, release, expected) =>
  expect(matches(text, ecosystem, wanted, release)).toBe(expected),
);

test('a denial looks past letter case, a permission does not', () => {
  expect(matches('jsonstream', 'npm', 'JSONStream', '1.0.0', true)).toBe(true);
  expect(matches('jsonstream', 'npm', 'JSONStream', '1.0.0')).toBe(false);
});

test.each(['*', '**', '', 'a b', '@acme', 'left-pad@^1.0.0', 'left-pad@', 'gem:rails', 'pypi:@acme/x', '@a/b/c'])(
  'no pattern: %s',
  (text) => expect(parsePackagePattern(text).ok).toBe(false),
);
