import { expect, test } from 'vitest';
import { compilePolicy } from './compile.ts';
import { refuseAge, refusePackage } from './dependencies.ts';

const ORGANISATION = '/etc/cordon/policy.yaml';
const REPOSITORY = '.cordon/policy.yaml';

async function policy(repository: string, organisation?: string) {
  return compilePolicy({
    repository: { file: REPOSITORY, text: `version: 1\n${repository}` },
    ...(organisation === undefined
      ? {}
      : { organisation: { file: ORGANISATION, text: `version: 1\n${organisation}` } }),
  });
}
const npm = (name: string, version: string | null = '1.0.0') => ({ ecosystem: 'npm', name, version }) as const;
const NOW = Date.parse('2026-01-10T00:00:00Z');
const HOUR = 3_600_000;

test('without `dependencies` nothing is a registry, and nothing stands against a package', async () => {
  const { dependencies, warnings } = await policy('');
  expect(dependencies).toMatchObject({ inspected: [], registries: null, minimumAge: null, recorded: null });
  expect(refusePackage(dependencies, npm('anything'))).toBeNull();
  expect(refuseAge(dependencies, npm('anything'), { unknown: 'nobody asked' }, NOW)).toBeNull();
  expect(warnings).toEqual([]);
});

test('a name must be in every list of what is allowed, and in no layer’s list of what is not', async () => {
  const { dependencies } = await policy(
    'dependencies: {registries: [a.example], allow: ["@acme/*", lodash, evil], deny: ["@acme/old"]}',
    'dependencies: {registries: [a.example], allow: ["@acme/*", lodash@4.17.21, evil], deny: [evil]}',
  );
  expect(refusePackage(dependencies, npm('@acme/ui'))).toBeNull();
  expect(refusePackage(dependencies, npm('lodash', '4.17.21'))).toBeNull();
  expect(refusePackage(dependencies, npm('lodash', null))).toBeNull(); // its index is how the version is found
  expect(refusePackage(dependencies, npm('lodash', '4.17.20'))?.rule).toMatchObject({ file: ORGANISATION, line: 2 });
  expect(refusePackage(dependencies, npm('evil', null))?.rule.text).toBe('dependencies.deny: evil');
  expect(refusePackage(dependencies, npm('EVIL'))?.rule.text).toBe('dependencies.deny: evil');
  expect(refusePackage(dependencies, npm('@acme/old'))?.rule).toMatchObject({ file: REPOSITORY });
  expect(refusePackage(dependencies, npm('unlisted'))?.reason).toMatch(/npm:unlisted@1.0.0 is not in the list/);
});

test('an empty list of what is allowed allows nothing', async () => {
  const { dependencies } = await policy('dependencies: {registries: [a.example], allow: []}');
  expect(refusePackage(dependencies, npm('lodash'))).not.toBeNull();
});

test('the greater age holds, to the millisecond, and what is not known is refused', async () => {
  const { dependencies } = await policy(
    'dependencies: {registries: [a.example], minimum_age: 1h}',
    'dependencies: {registries: [a.example], minimum_age: 2h}',
  );
  const refuse = (published: Parameters<typeof refuseAge>[2]) => refuseAge(dependencies, npm('x'), published, NOW);
  expect(refuse({ at: NOW - 2 * HOUR })).toBeNull();
  const young = refuse({ at: NOW - 2 * HOUR + 1 });
  expect(young?.rule).toMatchObject({ file: ORGANISATION, text: 'dependencies.minimum_age: 2h' });
  expect(young?.reason).toBe(
    'npm:x@1.0.0 was published 1 hour ago (2026-01-09T22:00:00.001Z), and dependencies.minimum_age is 2h: it is old enough at 2026-01-10T00:00:00.001Z',
  );
  expect(refuse({ at: NOW + HOUR })?.reason).toContain('in the future');
  expect(refuse({ unknown: 'no index' })?.reason).toMatch(/is not known \(no index\)/);
});

test('more hosts are looked at, fewer may stand in lock files, and what is above the ceiling is named', async () => {
  const both = await policy(
    'dependencies: {registries: [a.example, b.example], minimum_age: 1h, allow: [lodash], recorded: true}',
    'dependencies: {registries: [b.example, c.example], minimum_age: 2h, allow: [underscore]}',
  );
  expect(both.dependencies.inspected).toEqual(['b.example', 'c.example', 'a.example']);
  expect(both.dependencies.registries).toEqual(['b.example']);
  expect(both.dependencies.recorded).toMatchObject({ file: REPOSITORY });
  expect(both.warnings.map(({ message }) => message.split(' is above')[0])).toEqual([
    'the registry a.example',
    'the package lodash',
    'dependencies.minimum_age: 1h',
  ]);
});

test('rules that no registry is held to are named as without effect', async () => {
  const { warnings } = await policy('dependencies: {minimum_age: 3d}');
  expect(warnings).toMatchObject([{ file: REPOSITORY, line: 2, message: expect.stringContaining('no effect') }]);
});

test('the digest of a policy covers what it says of packages', async () => {
  const digests = await Promise.all(
    ['', ', deny: [a]', ', deny: [b]', ', allow: [a]', ', minimum_age: 1h', ', recorded: true'].map(
      async (rest) => (await policy(`dependencies: {registries: [a.example]${rest}}`)).digest,
    ),
  );
  expect(new Set(digests).size).toBe(6);
});
