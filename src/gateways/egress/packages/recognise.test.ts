import fc from 'fast-check';
import { expect, test } from 'vitest';
import { judgedPath } from '../target.ts';
import { recognise } from './recognise.ts';

const NPM = [{ name: 'Accept', lower: 'accept', value: 'application/vnd.npm.install-v1+json; q=1.0, */*' }];
const asked = (path: string, headers: typeof NPM = []) => recognise('GET', path, headers);

test.each([
  ['/lodash/-/lodash-4.17.21.tgz', 'lodash', '4.17.21', ''],
  ['/@acme/ui/-/ui-1.0.0-rc.1.tgz', '@acme/ui', '1.0.0-rc.1', ''],
  ['/repository/npm-group/@acme/ui/-/ui-1.0.0.tgz', '@acme/ui', '1.0.0', '/repository/npm-group'],
  [
    '/api/v4/projects/7/packages/npm/@acme/ui/-/@acme/ui-1.0.0.tgz',
    '@acme/ui',
    '1.0.0',
    '/api/v4/projects/7/packages/npm',
  ],
  ['/%40acme/ui/-/ui-1.0.0.tgz', '@acme/ui', '1.0.0', ''],
  ['/a-b/-/a-b-1.0.0.tgz', 'a-b', '1.0.0', ''],
] as const)('npm’s file %s', (path, name, version, base) =>
  expect(asked(path)).toEqual({ kind: 'file', ecosystem: 'npm', name, version, base, key: version }),
);

test.each([
  ['/p/good_thing-1.0-py3-none-any.whl', 'good-thing', '1.0'],
  ['/p/Good.Thing-1.0-2build-cp311-cp311-manylinux_2_17_x86_64.whl', 'good-thing', '1.0'],
  ['/p/torch-2.0.0%2Bcu118-cp310-cp310-linux_x86_64.whl', 'torch', '2.0.0+cu118'],
  ['/p/python-dateutil-2.8.2.tar.gz', 'python-dateutil', '2.8.2'],
  ['/p/old.name-1.0b2.zip', 'old-name', '1.0b2'],
] as const)('PyPI’s file %s', (path, name, version) =>
  expect(asked(path)).toMatchObject({ kind: 'file', ecosystem: 'pypi', name, version, base: '/p' }),
);

test.each([
  ['/lodash', 'npm', 'lodash', ''],
  ['/npm/lodash', 'npm', 'lodash', '/npm'],
  ['/npm/lodash/4.17.21', 'npm', 'lodash', '/npm'],
  ['/npm/lodash/latest', 'npm', 'lodash', '/npm'],
  ['/npm/@acme/ui', 'npm', '@acme/ui', '/npm'],
  ['/npm/@acme/ui/1.0.0', 'npm', '@acme/ui', '/npm'],
  ['/simple/Good_Thing/', 'pypi', 'good-thing', '/simple'],
  ['/root/pypi/+simple/good.thing', 'pypi', 'good-thing', '/root/pypi/+simple'],
  ['/pypi/good-thing/json', 'pypi', 'good-thing', '/simple'],
  ['/x/pypi/good-thing/1.0/json', 'pypi', 'good-thing', '/x/simple'],
] as const)('the index %s', (path, ecosystem, name, base) =>
  expect(asked(path, NPM)).toEqual({ kind: 'index', ecosystem, name, base }),
);

test.each([
  '/',
  '/-/ping',
  '/-/v1/search',
  '/-/npm/v1/security/advisories/bulk',
  '/simple/',
  '/npm/-/package/lodash/dist-tags',
])('a service, and no package: %s', (path) => expect(asked(path, NPM)).toEqual({ kind: 'other' }));

test('a name without a scope is an index only to a program that speaks npm', () => {
  expect(asked('/api/projects')).toEqual({ kind: 'other' });
  expect(asked('/npm/@acme/ui')).toMatchObject({ kind: 'index' });
});

test.each([
  '/x.tgz',
  '/lodash/-/lodash.tgz',
  '/lodash/-/underscore-1.0.0.tgz',
  '/lodash/-/lodash-1.0.tgz',
  '/-/lodash-1.0.0.tgz',
  '/@acme/ui/-/@evil/ui-1.0.0.tgz',
  '/p/a-b-c.tar.gz',
  '/p/foo-1.0-1.tar.gz',
  '/p/foo-1.0.tar.bz2',
  '/p/foo-1.0-py3.egg',
  '/p/foo-1.0.TGZ',
  '/p/%FF.tgz',
])('an archive that no rule names: %s', (path) => expect(asked(path)).toEqual({ kind: 'unknown' }));

test('what is put is no package that comes', () => {
  expect(recognise('PUT', '/@acme/ui', NPM)).toEqual({ kind: 'other' });
  expect(recognise('POST', '/lodash/-/lodash-1.0.0.tgz', NPM)).toEqual({ kind: 'other' });
});

test('every spelling of one path is one package', () => {
  const spelling = (path: string) => {
    const canonical = judgedPath(path);
    return canonical.ok ? asked(canonical.value, NPM) : null;
  };
  const plain = spelling('/npm/@acme/ui/-/ui-1.0.0.tgz');
  expect(plain).toMatchObject({ name: '@acme/ui' });
  const letters = [...'/npm/@acme/ui/-/ui-1.0.0.tgz'];
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: letters.length, maxLength: letters.length }), (escaped) => {
      const path = letters.map((letter, i) =>
        escaped[i] && letter !== '/' ? `%${letter.charCodeAt(0).toString(16)}` : letter,
      );
      expect(spelling(path.join(''))).toEqual(plain);
    }),
  );
  expect(spelling('/npm/@acme%2fui')).toEqual(spelling('/npm/@acme/ui'));
});

test('whatever path is asked for, it is a package with a whole name, or none', () => {
  const segment = fc.oneof(
    fc.constantFrom(
      '-',
      '@acme',
      'simple',
      'pypi',
      'json',
      'lodash',
      'a-1.0.0.tgz',
      'a-1.0.tar.gz',
      'a-1.0-py3-none-any.whl',
      '',
    ),
    fc.string({ maxLength: 12 }).map(encodeURIComponent),
  );
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 7 }), (segments) => {
      const path = judgedPath(`/${segments.join('/')}`);
      if (!path.ok) return;
      const found = asked(path.value, NPM);
      if (found.kind !== 'unknown' && found.kind !== 'other') expect(found.name).toMatch(/^(@[\w.~-]+\/)?[\w.~-]+$/);
      if (/\.(tgz|whl|tar\.gz|zip)$/i.test(path.value)) expect(['file', 'unknown']).toContain(found.kind);
    }),
    { numRuns: 2000 },
  );
});
