/**
 * Lock files as a hostile agent would write them. An honest change of a lock file is pushed first, and must be permitted
 * under the same policy; each case then tries its attack on top of that, and the decision must be to deny.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { RecordedQuery } from '../../src/gateways/egress/packages/record.ts';
import { inspectPush } from '../../src/gateways/git/checks.ts';
import { explainRefusal } from '../../src/gateways/git/explain.ts';
import { decide } from '../../src/policy/index.ts';
import { compile } from '../../src/policy/policy.fixture.ts';
import { branch, pushScene, type Scene } from '../fakes/push-scene.ts';

const POLICY = `dependencies:
  registries: [packages.acme.example]
  deny: [event-stream]
  recorded: true`;
const HOST = 'https://packages.acme.example/npm';
const hash = (seed: string) => `sha512-${Buffer.from(seed.repeat(64).slice(0, 64)).toString('base64')}`;

type Entry = Record<string, unknown>;
const locked = (name: string, more: Entry = {}): Entry => ({
  version: '1.0.0',
  resolved: `${HOST}/${name}/-/${name}-1.0.0.tgz`,
  integrity: hash(name),
  ...more,
});
const HONEST = { 'node_modules/a': locked('a'), 'node_modules/b': locked('b') };
const lock = (packages: Record<string, Entry> = {}, more: Entry = {}) =>
  `${JSON.stringify({ name: 'x', lockfileVersion: 3, packages: { '': { name: 'x' }, ...HONEST, ...packages }, ...more }, null, 2)}\n`;

let scene: Scene;
let recorded: Set<string>;

/** What came through the gateway in this run. */
const seen = (name: string, integrity = hash(name)) => recorded.add(`npm:${name}@1.0.0 ${integrity}`);

async function verdict() {
  expect(await scene.push()).toMatchObject({ ok: true });
  const policy = await compile(POLICY);
  const head = await scene.quarantine.head(`refs/heads/${branch}`);
  const inspection = await inspectPush({
    quarantine: scene.quarantine,
    head: head ?? '',
    repository: 'acme/app',
    ref: `refs/heads/${branch}`,
    locks: {
      rules: policy.dependencies,
      isOpen: (_, port) => port === 8443,
      wasRecorded: ({ ecosystem, name, version, integrity }: RecordedQuery) =>
        recorded.has(`${ecosystem}:${name}@${version} ${integrity}`),
    },
  });
  if (inspection.facts === null)
    return { effect: 'deny', text: inspection.findings.map((each) => each.message).join('\n') };
  const decision = decide(policy, inspection.facts);
  const refused = inspection.findings.some(({ severity }) => severity === 'refuse');
  return { effect: refused ? 'deny' : decision.effect, text: explainRefusal(inspection, decision).join('\n') };
}

async function attack(file: string, text: string) {
  scene.guest.write(file, text);
  scene.guest.commit('attack');
  return verdict();
}

let honest: string;

beforeAll(async () => {
  recorded = new Set();
  scene = await pushScene({
    depth: 2,
    prepareUser: (user) => {
      user.write('package.json', '{"name": "x"}\n');
      user.write('package-lock.json', lock());
      user.write('web/package.json', '{"name": "web"}\n');
      user.write('web/package-lock.json', lock());
      user.commit('locks');
    },
  });
  seen('c');
  scene.guest.write('package-lock.json', lock({ 'node_modules/c': locked('c') }));
  scene.guest.commit('honest');
  honest = scene.guest.git('rev-parse', 'HEAD').trim();
  expect(await verdict()).toMatchObject({ effect: 'permit' });
});
beforeEach(async () => {
  recorded = new Set();
  seen('c');
  scene.guest.git('checkout', '-q', '-f', '-B', 'work', honest);
  scene.guest.git('clean', '-qfdx');
  await scene.guest.tryGit('branch', '-qD', 'side', 'turned');
});
afterAll(() => scene.close());

describe('an entry that leads elsewhere', () => {
  test.each<[string, Entry | string, RegExp]>([
    ['another host', 'https://evil.example/d/-/d-1.0.0.tgz', /resolves to evil\.example/],
    [
      'the host as a subdomain of another',
      'https://packages.acme.example.evil.example/x.tgz',
      /resolves to packages\.acme\.example\.evil\.example/,
    ],
    ['the host as a user', 'https://packages.acme.example@evil.example/x.tgz', /user in it/],
    ['a user and a password', 'https://a:b@packages.acme.example/x.tgz', /user in it/],
    ['a trailing dot', 'https://packages.acme.example./x.tgz', /not in canonical form/],
    ['capital letters', 'https://PACKAGES.ACME.EXAMPLE/x.tgz', /not in canonical form/],
    ['letters of another script', 'https://packages.аcme.example/x.tgz', /not in canonical form/],
    ['a full stop of another script', 'https://packages｡acme.example/x.tgz', /not in canonical form/],
    ['their IDNA form', 'https://packages.xn--cme-6cd.example/x.tgz', /resolves to packages\.xn--cme-6cd\.example/],
    ['a backslash', 'https://packages.acme.example\\@evil.example/x.tgz', /character that no address has/],
    ['another port', 'https://packages.acme.example:9443/x.tgz', /resolves to packages\.acme\.example:9443/],
    ['plain http', 'http://packages.acme.example/x.tgz', /over http/],
    ['git over ssh', 'git+ssh://git@packages.acme.example/x.git#abc', /from git/],
    ['a shorthand of a forge', 'github:acme/x', /from git/],
    ['a file', 'file:../evil.tgz', /from a file/],
    ['a query', 'https://packages.acme.example/x.tgz?redirect=https://evil.example/', /with a query/],
    ['a fragment', 'https://packages.acme.example/x.tgz#//evil.example', /fragment/],
    ['another package of the registry', `${HOST}/evil/-/evil-1.0.0.tgz`, /resolves to evil@1\.0\.0/],
    ['a list', { resolved: ['https://evil.example'] }, /resolved is no text/],
    ['a hash of SHA-1 alone', { integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }, /no stronger hash than SHA1/],
    ['an empty hash', { integrity: '' }, /no integrity hash/],
    ['no hash', { integrity: undefined }, /no integrity hash/],
    ['a hash cut short', { integrity: hash('d').slice(0, 40) }, /malformed hash/],
    [
      'a good hash beside a bad one',
      { integrity: `${hash('d')} ${hash('evil')}` },
      /of which 1 are of files that did not come/,
    ],
    ['a bundle that is none', { inBundle: true, resolved: undefined, integrity: undefined }, /no integrity hash/],
    [
      'an alias of a denied package',
      { name: 'event-stream', resolved: undefined },
      /denied by .*dependencies\.deny|may not be installed/,
    ],
    ['a name that is none', { name: '../../evil' }, /a name that no package/],
    ['a link out of the repository', { link: true, resolved: '../../etc' }, /from a file/],
    ['a link to an address', { link: true, resolved: 'https://evil.example/x' }, /from a file/],
  ])('%s', async (_, what, why) => {
    seen('d');
    const entry = locked('d', typeof what === 'string' ? { resolved: what } : what);
    const { effect, text } = await attack('package-lock.json', lock({ 'node_modules/d': entry }));
    expect({ effect, text }).toMatchObject({ effect: 'deny', text: expect.stringMatching(why) });
    expect(text).toMatch(/package-lock\.json:\d+/);
    expect(text).toMatch(/rule .*policy\.yaml:\d+ +dependencies\./);
  });

  test('below another package', async () => {
    const nested = { 'node_modules/a/node_modules/d': locked('d', { resolved: 'https://evil.example/d.tgz' }) };
    expect(await attack('package-lock.json', lock(nested))).toMatchObject({ effect: 'deny' });
  });

  test('in the part that only older programs read', async () => {
    const dependencies = { a: { version: '1.0.0', resolved: 'https://evil.example/a.tgz', integrity: hash('a') } };
    expect(await attack('package-lock.json', lock({}, { lockfileVersion: 2, dependencies }))).toMatchObject({
      effect: 'deny',
    });
  });

  test('with two parts of one file that disagree', async () => {
    const dependencies = { a: { version: '1.0.0', resolved: `${HOST}/a/-/a-1.0.0.tgz`, integrity: hash('z') } };
    seen('a', hash('z'));
    const { effect, text } = await attack('package-lock.json', lock({}, { lockfileVersion: 2, dependencies }));
    expect({ effect, text }).toMatchObject({
      effect: 'deny',
      text: expect.stringContaining('a@1.0.0 has another hash than at package-lock.json'),
    });
  });

  test('with keys that mean something to JavaScript', async () => {
    const text = lock().replace(
      '"": {',
      '"__proto__": {"version": "1.0.0", "resolved": "https://evil.example/x.tgz", "integrity": ""}, "": {',
    );
    expect(await attack('package-lock.json', text)).toMatchObject({ effect: 'deny' });
  });

  test('with a key twice, of which one is honest', async () => {
    const text = lock().replace('"node_modules/a": {', '"node_modules/b": {"version": "1.0.0"}, "node_modules/a": {');
    expect(await attack('package-lock.json', text)).toMatchObject({
      effect: 'deny',
      text: expect.stringContaining('twice'),
    });
  });
});

describe('a lock file that is not what it seems', () => {
  test('bytes that were never fetched, under an honest address', async () => {
    const { effect, text } = await attack('package-lock.json', lock({ 'node_modules/d': locked('d') }));
    expect({ effect, text }).toMatchObject({
      effect: 'deny',
      text: expect.stringContaining('d@1.0.0 did not come through the gateway in this run'),
    });
  });

  test('an honest entry whose hash changes', async () => {
    const text = lock({ 'node_modules/a': locked('a', { integrity: hash('evil') }) });
    expect(await attack('package-lock.json', text)).toMatchObject({
      effect: 'deny',
      text: expect.stringContaining('a@1.0.0 did not come'),
    });
  });

  test('two lock files that disagree', async () => {
    seen('c', hash('other'));
    const { effect, text } = await attack(
      'npm-shrinkwrap.json',
      lock({ 'node_modules/c': locked('c', { integrity: hash('other') }) }),
    );
    expect({ effect, text }).toMatchObject({
      effect: 'deny',
      text: expect.stringContaining('c@1.0.0 has another hash than at npm-shrinkwrap.json'),
    });
  });

  test('deleted, with what it locked still there', async () => {
    scene.guest.git('rm', '-q', 'package-lock.json');
    expect(await attack('x', 'x\n')).toMatchObject({ effect: 'deny', text: expect.stringContaining('is deleted') });
  });

  test('renamed to what nobody reads', async () => {
    scene.guest.git('mv', 'web/package-lock.json', 'web/package-lock.json.orig');
    expect(await attack('x', 'x\n')).toMatchObject({
      effect: 'deny',
      text: expect.stringMatching(/web\/package-lock\.json.*is deleted/),
    });
  });

  test('deleted with all of its folder is nothing', async () => {
    scene.guest.git('rm', '-qr', 'web');
    expect(await attack('x', 'x\n')).toMatchObject({ effect: 'permit' });
  });

  test('moved to another folder, it is what it was', async () => {
    scene.guest.git('mv', 'web', 'site');
    expect(await attack('x', 'x\n')).toMatchObject({ effect: 'permit' });
  });

  test('a symbolic link', async () => {
    scene.guest.git('rm', '-q', 'package-lock.json');
    scene.guest.write('data.txt', lock({ 'node_modules/d': locked('d', { resolved: 'https://evil.example/d.tgz' }) }));
    scene.guest.git(
      '-c',
      'core.symlinks=true',
      'update-index',
      '--add',
      '--cacheinfo',
      `120000,${scene.guest.object('blob', 'data.txt')},package-lock.json`,
    );
    scene.guest.git('commit', '-qm', 'link');
    expect(await verdict()).toMatchObject({ effect: 'deny', text: expect.stringContaining('is a symbolic link') });
  });

  test('a link to a commit of another repository', async () => {
    scene.guest.git('update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},sub/package-lock.json`);
    scene.guest.git('commit', '-qm', 'sub');
    expect(await verdict()).toMatchObject({ effect: 'deny' });
  });

  test.each([
    'Package-Lock.json',
    'deep/er/PACKAGE-LOCK.JSON',
    'node_modules/x/package-lock.json',
    'npm-shrinkwrap.json',
  ])('by the name %s', async (path) => {
    const text = lock({ 'node_modules/d': locked('d', { resolved: 'https://evil.example/d.tgz' }) });
    expect(await attack(path, text)).toMatchObject({ effect: 'deny' });
  });

  test.each([
    ['nothing', ''],
    ['no JSON', '{"lockfileVersion": 3,'],
    ['two documents', `${lock()}${lock()}`],
    ['UTF-16', Buffer.from(lock(), 'utf16le').toString('latin1')],
    ['an unknown version', lock({}, { lockfileVersion: 99 })],
    ['a tower of brackets', `{"lockfileVersion":3,"packages":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}`],
  ])('that holds %s', async (_, text) => {
    expect(await attack('package-lock.json', text)).toMatchObject({
      effect: 'deny',
      text: expect.stringContaining('cannot be read'),
    });
  });

  test('other line ends and a byte order mark hide nothing, and are no offence', async () => {
    const text = (packages: Record<string, Entry>) => `\ufeff${lock(packages).replaceAll('\n', '\r\n')}`;
    expect(await attack('package-lock.json', text({ 'node_modules/c': locked('c') }))).toMatchObject({
      effect: 'permit',
    });
    const bad = text({ 'node_modules/d': locked('d', { resolved: 'https://evil.example/d.tgz' }) });
    expect(await attack('package-lock.json', bad)).toMatchObject({ effect: 'deny' });
  });

  test('of a hundred thousand entries, with one among them', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 100_000 }, (_, i) => [`node_modules/p${i}`, locked(`p${i}`, { integrity: hash('p') })]),
    );
    for (let i = 0; i < 100_000; i++) seen(`p${i}`, hash('p'));
    expect(await attack('package-lock.json', lock(many))).toMatchObject({ effect: 'permit' });
    many['node_modules/p70000'] = locked('p70000', { resolved: 'https://evil.example/x.tgz', integrity: hash('p') });
    const { effect, text } = await attack('package-lock.json', lock(many));
    expect({ effect, text }).toMatchObject({
      effect: 'deny',
      text: expect.stringContaining('p70000@1.0.0 resolves to evil.example'),
    });
  }, 240_000);
});

describe('history', () => {
  const bad = lock({ 'node_modules/d': locked('d', { resolved: 'https://evil.example/d.tgz' }) });

  test('a bad state in between that a later commit mends', async () => {
    scene.guest.write('package-lock.json', bad);
    scene.guest.commit('bad');
    expect(await attack('package-lock.json', lock({ 'node_modules/c': locked('c') }))).toMatchObject({
      effect: 'deny',
    });
  });

  test.each(['ours', 'theirs'])('a merge that takes the bad lock file of %s', async (side) => {
    scene.guest.git('checkout', '-q', '-b', 'side');
    scene.guest.write('package-lock.json', bad);
    scene.guest.commit('bad');
    scene.guest.git('checkout', '-q', '-');
    scene.guest.write('other', 'x\n');
    scene.guest.commit('other');
    if (side === 'ours') scene.guest.git('checkout', '-q', '-B', 'turned', 'side');
    scene.guest.git('merge', '-q', '--no-ff', '-m', 'merge', side === 'ours' ? '@{-1}' : 'side');
    expect(await verdict()).toMatchObject({ effect: 'deny', text: expect.stringContaining('evil.example') });
  });

  test('a merge that brings in by itself what neither side has', async () => {
    scene.guest.git('checkout', '-q', '-b', 'side');
    scene.guest.write('other', 'x\n');
    scene.guest.commit('other');
    scene.guest.git('checkout', '-q', '-');
    scene.guest.git('merge', '-q', '--no-ff', '--no-commit', 'side');
    expect(await attack('package-lock.json', bad)).toMatchObject({ effect: 'deny' });
  });
});

describe('settings and other formats', () => {
  test.each([
    ['.npmrc', 'registry=https://evil.example/\n', '.npmrc:1: registry resolves to evil.example'],
    [
      'web/.npmrc',
      'audit=false\n@acme:registry=https://evil.example/\n',
      'web/.npmrc:2: @acme:registry resolves to evil.example',
    ],
    [
      'pip.conf',
      '[global]\nextra-index-url = https://evil.example/simple\n',
      'pip.conf:2: extra-index-url resolves to evil.example',
    ],
    [
      '.yarnrc.yml',
      'npmRegistryServer: "https://evil.example"\n',
      '.yarnrc.yml:1: npmRegistryServer resolves to evil.example',
    ],
    [
      'yarn.lock',
      '# yarn lockfile v1\n\n\na@^1.0.0:\n  version "1.0.0"\n  resolved "https://evil.example/a.tgz"\n',
      'yarn.lock:4: a@1.0.0 has no integrity hash',
    ],
    [
      'pnpm-lock.yaml',
      "lockfileVersion: '9.0'\npackages:\n  a@1.0.0:\n    resolution: {tarball: https://evil.example/a.tgz}\n",
      'pnpm-lock.yaml:3: a@1.0.0 has no integrity hash',
    ],
    ['requirements.txt', 'idna==3.7\n', 'requirements.txt:1: idna@3.7 has no integrity hash'],
    [
      'requirements.txt',
      `--index-url https://evil.example/simple\nidna==3.7 --hash=sha256:${'1'.repeat(64)}\n`,
      'requirements.txt:1: index resolves to evil.example',
    ],
    ['poetry.lock', '[[package]]\nname = "idna"\n', 'poetry.lock: cannot be read'],
  ])('%s %#', async (path, text, said) => {
    const { effect, text: answer } = await attack(path, text);
    expect({ effect, answer }).toMatchObject({ effect: 'deny', answer: expect.stringContaining(said) });
    expect(answer).toMatch(/because commit [0-9a-f]{12} /);
  });

  test('a port that the policy opens for the registry is the registry', async () => {
    seen('d');
    const entry = locked('d', { resolved: 'https://packages.acme.example:8443/npm/d/-/d-1.0.0.tgz' });
    expect(await attack('package-lock.json', lock({ 'node_modules/d': entry }))).toMatchObject({ effect: 'permit' });
  });
});
