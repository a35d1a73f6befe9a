import { describe, expect, test } from 'vitest';
import { formatOf, readFormat } from './formats.ts';
import { fixtures } from './lockfiles.fixture.ts';

type Fixture = keyof typeof fixtures;

const files: readonly (readonly [Fixture, string])[] = [
  ['npm1', 'package-lock.json'],
  ['npm3', 'npm-shrinkwrap.json'],
  ['pnpm5', 'pnpm-lock.yaml'],
  ['pnpm6', 'pnpm-lock.yaml'],
  ['pnpm9', 'pnpm-lock.yaml'],
  ['yarnClassic', 'yarn.lock'],
  ['yarnBerry', 'yarn.lock'],
  ['requirements', 'requirements-dev.txt'],
  ['poetry', 'poetry.lock'],
  ['uv', 'uv.lock'],
  ['pipfile', 'Pipfile.lock'],
  ['pylock', 'pylock.toml'],
];
const pathOf = new Map(files);

function read(path: string, text: string | Buffer) {
  const format = formatOf(path);
  if (format === null) throw new Error(`${path} has no format`);
  return readFormat(format, path, Buffer.from(text));
}

const said = (path: string, text: string | Buffer) =>
  read(path, text).problems.map(({ line, package: of, what }) => `${line ?? '-'} ${of ?? '-'} ${what}`);

/** The fixture with a text changed, which must be in it. */
function changed(name: Fixture, from: string | RegExp, to: string): string {
  const text = fixtures[name];
  const result = text.replace(from, to);
  if (result === text) throw new Error(`${name} does not hold ${from}`);
  return result;
}

describe('what the tools write', () => {
  test.each(files)('%s', (name, path) => {
    const { entries, problems, ecosystem } = read(path, fixtures[name]);
    expect(problems).toEqual([]);
    const names = entries.map((entry) => `${entry.name}@${entry.version}`).sort();
    expect(names).toEqual(
      ecosystem === 'npm'
        ? ['@sindresorhus/is@4.6.0', 'debug@4.4.3', 'left-pad@1.3.0', 'ms@2.1.3']
        : ['certifi@2024.7.4', 'idna@3.7'],
    );
    expect(entries.every(({ hashes }) => hashes.length > 0)).toBe(true);
    const hosts = entries.flatMap(({ origins }) => origins.map(({ host }) => host));
    expect(new Set(hosts).size).toBeLessThan(2);
    // With a byte order mark and other line ends it is the same.
    const other = read(path, `\ufeff${fixtures[name].replaceAll('\n', '\r\n')}`);
    expect(other.problems).toEqual([]);
    expect(other.entries.map((entry) => entry.hashes)).toEqual(entries.map((entry) => entry.hashes));
  });

  test('lines are those of the entries', () => {
    for (const [name, path] of files) {
      const lines = fixtures[name].split('\n');
      for (const { line, name: of } of read(path, fixtures[name]).entries) {
        expect(line, name).not.toBeNull();
        const near = lines.slice((line ?? 0) - 1, (line ?? 0) + 2).join('\n');
        expect(near).toContain(of === 'left-pad' && !near.includes('left-pad') ? 'renamed' : of);
      }
    }
  });
});

const LEFT_PAD = 'sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA==';
const HASH = /"integrity": "sha512-XI5[^"]*"/;

const bad: readonly (readonly [Fixture, string | RegExp, string, RegExp])[] = [
  ['npm3', HASH, '"integrity": ""', /left-pad@1\.3\.0 has no integrity hash/],
  ['npm3', LEFT_PAD, 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=', /no stronger hash than SHA1/],
  ['npm3', LEFT_PAD, `${LEFT_PAD} sha512-x`, /malformed hash/],
  ['npm3', LEFT_PAD, LEFT_PAD.slice(0, -6), /malformed hash/],
  [
    'npm3',
    'https://packages.acme.example/npm/left-pad/-/left-pad-1.3.0.tgz',
    'git+ssh://git@forge.example/a/left-pad.git#1234',
    /comes from git/,
  ],
  [
    'npm3',
    'https://packages.acme.example/npm/left-pad/-/left-pad-1.3.0.tgz',
    'file:left-pad-1.3.0.tgz',
    /comes from a file/,
  ],
  ['npm3', 'https://packages.acme.example/npm/left-pad', 'http://packages.acme.example/npm/left-pad', /over http/],
  ['npm3', 'npm/left-pad/-/left-pad-1.3.0.tgz', 'npm/evil/-/evil-1.3.0.tgz', /resolves to evil@1\.3\.0/],
  ['npm3', '"lockfileVersion": 3', '"lockfileVersion": 4', /4 - cannot be read: its lockfileVersion/],
  ['npm3', '"lockfileVersion": 3', '"lockfileVersion": 3, "lockfileVersion": 3', /a key stands there twice/],
  ['npm3', '"node_modules/ms": {', '"node_modules/debug": {', /\d+ - cannot be read: a key stands there twice/],
  [
    'npm3',
    '"node_modules/ms": {',
    '"node_modules/ms": {"link": true, "resolved": "../out",',
    /comes from a file|twice/,
  ],
  [
    'npm3',
    '"node_modules/ms": {',
    '"node_modules/x": {"link": true, "resolved": "../out"}, "node_modules/ms": {',
    /x comes from a file/,
  ],
  [
    'npm3',
    '"node_modules/ms": {',
    '"node_modules/x": {"version": "1.0.0", "inBundle": true}, "node_modules/ms": {',
    /x@1\.0\.0 has no integrity hash/,
  ],
  ['npm3', '"node_modules/ms": {', '"node_modules/x": {"link": true}, "node_modules/ms": {', /x comes from a file/],
  [
    'npm3',
    '"node_modules/ms": {',
    '"node_modules/x/": {"version": "1.0.0"}, "node_modules/ms": {',
    /an entry has an odd place/,
  ],
  ['npm3', '"node_modules/ms": {', '"./a//b": {"version": "1.0.0"}, "node_modules/ms": {', /an entry has an odd place/],
  ['npm3', '"packages"', '"Packages"', /it has no packages/],
  ['npm3', '"version": "1.3.0"', '"version": "latest"', /has a version that no package/],
  ['npm1', 'npm:left-pad@1.3.0', 'git+https://forge.example/left-pad.git#123', /comes from git/],
  ['npm1', 'npm:left-pad@1.3.0', 'https://packages.acme.example/x.tgz', /an address in place of a version/],
  ['npm1', 'npm:left-pad@1.3.0', 'npm:evil@1.3.0', /evil@1\.3\.0 resolves to left-pad@1\.3\.0/],
  [
    'npm1',
    '"dev": true\n',
    '"dev": true, "bundled": true, "dependencies": {"x": {"version": "1.0.0"}}\n',
    /x@1\.0\.0 has no integrity/,
  ],
  ['pnpm5', LEFT_PAD, '""', /left-pad@1\.3\.0 has no integrity hash/],
  ['pnpm5', '/left-pad/1.3.0:\n', 'github.com/a/left-pad/1234567:\n', /github\.com|has a version|has a name/],
  ['pnpm5', `{integrity: ${LEFT_PAD}}`, '{type: git, repo: "https://forge.example/a", commit: abc}', /comes from git/],
  ['pnpm6', `{integrity: ${LEFT_PAD}}`, `{integrity: ${LEFT_PAD}, tarball: "file:left-pad.tgz"}`, /comes from a file/],
  ['pnpm9', `{integrity: ${LEFT_PAD}}`, '{directory: ../../../out, type: directory}', /comes from a file/],
  ['pnpm9', `{integrity: ${LEFT_PAD}}`, '{type: somewhere}', /unknown kind/],
  ['pnpm9', "lockfileVersion: '9.0'", "lockfileVersion: '10.0'", /1 - cannot be read: its lockfileVersion/],
  ['pnpm9', 'packages:\n', 'packages: &a\n', /anchor/],
  ['pnpm9', 'packages:\n', 'packages: !!map\n', /^$|anchor, an alias or a tag|no YAML/],
  ['pnpm9', 'snapshots:\n', 'snapshots:\n\n  evil@1.0.0: {}\n', /evil@1\.0\.0 has no entry in packages/],
  ['yarnClassic', `integrity ${LEFT_PAD}`, 'uid a', /no stronger hash than SHA1/],
  ['yarnClassic', `  integrity ${LEFT_PAD}\n`, `  integrity ${LEFT_PAD}\n  integrity ${LEFT_PAD}\n`, /twice/],
  ['yarnClassic', '# yarn lockfile v1', '# yarn lockfile v2', /no known version/],
  [
    'yarnClassic',
    '# yarn lockfile v1',
    '# yarn lockfile v1\n<<<<<<< HEAD',
    /3 - cannot be read: it is not as yarn writes it/,
  ],
  ['yarnClassic', 'ms@^2.1.3:', 'ms@^2.1.3, evil@^1:', /stands for several packages/],
  ['yarnClassic', '  version "1.3.0"', '\tversion "1.3.0"', /not as yarn writes it/],
  [
    'yarnBerry',
    /checksum: 10c0\/3fb[0-9a-f]*|checksum: 10c0\/[0-9a-f]*/,
    'conditions: os=darwin',
    /has no integrity hash/,
  ],
  ['yarnBerry', 'left-pad@npm:1.3.0', 'left-pad@https://forge.example/left-pad.git#commit=123', /comes from git/],
  ['yarnBerry', 'left-pad@npm:1.3.0', 'left-pad@exec:./make.js', /none of https/],
  ['yarnBerry', 'left-pad@npm:1.3.0', 'left-pad@file:./x#./x', /comes from a file/],
  [
    'yarnBerry',
    'left-pad@npm:1.3.0',
    'left-pad@npm:1.3.0::__archiveUrl=http%3A%2F%2Fevil.example%2Fx.tgz',
    /over http/,
  ],
  ['yarnBerry', 'left-pad@npm:1.3.0', 'left-pad@npm:1.3.0::other=1', /none of https|unknown place/],
  ['yarnBerry', 'version: 10', 'version: 11', /not one of 4 to 10/],
  ['requirements', /idna\[all\][^\n]*\\\n[^\n]*/, 'idna==3.7', /10 idna@3\.7 has no integrity hash/],
  ['requirements', /sha256:3+/, 'md5:d41d8cd98f00b204e9800998ecf8427e', /no stronger hash than MD5/],
  ['requirements', 'idna[all]==3.7', 'idna[all]>=3.7', /idna is not pinned/],
  ['requirements', 'idna[all]==3.7', 'idna==3.*', /idna is not pinned/],
  [
    'requirements',
    'idna[all]==3.7 ; python_version >= "3.8"',
    'idna @ git+https://forge.example/idna',
    /comes from git/,
  ],
  ['requirements', 'idna[all]==3.7 ; python_version >= "3.8"', 'https://evil.example/idna.whl', /is not pinned/],
  ['requirements', 'certifi==', '-r other.txt\ncertifi==', /includes a file/],
  ['requirements', 'certifi==', '-r https://evil.example/requirements.txt\ncertifi==', /comes from a file/],
  [
    'requirements',
    'certifi==',
    '--trusted-host evil.example\ncertifi==',
    /--trusted-host is an option that is not known/,
  ],
  ['requirements', 'certifi==', '--extra-index-url http://evil.example\ncertifi==', /index comes over http/],
  ['requirements', '#\n', '# -*- coding: utf-7 -*-\n', /1 - cannot be read: it asks for another encoding/],
  ['poetry', /hash = "sha256:3+"/, 'hash = ""', /idna@3\.7 has no integrity hash/],
  ['poetry', 'type = "legacy"', 'type = "git"', /comes from git/],
  ['poetry', 'lock-version = "2.0"', 'lock-version = "9.0"', /lock-version/],
  ['poetry', 'name = "idna"', 'name = "idna"\nname = "evil"', /no TOML/],
  [
    'uv',
    '"https://packages.acme.example/files/idna-3.7-py3-none-any.whl"',
    '"https://packages.acme.example/files/evil-3.7-py3-none-any.whl"',
    /idna@3\.7 resolves to evil@3\.7/,
  ],
  ['uv', /, hash = "sha256:3+"/, '', /file without a hash/],
  ['uv', '{ virtual = "." }', '{ git = "https://forge.example/x" }', /billing comes from git/],
  ['uv', '{ virtual = "." }', '{ path = "x.whl" }', /billing comes from a file/],
  ['uv', '{ virtual = "." }', '{ editable = "../../x" }', /billing comes from a file/],
  ['uv', 'version = 1\n', 'version = 2\n', /its version is not 1/],
  ['pipfile', '"pipfile-spec": 6', '"pipfile-spec": 7', /pipfile-spec/],
  ['pipfile', '"verify_ssl": true', '"verify_ssl": false', /7 source is not verified|source is not verified/],
  ['pipfile', '"version": "==3.7"', '"version": "*"', /has a version that no package/],
  ['pipfile', '"version": "==3.7"', '"git": "https://forge.example/idna"', /comes from git/],
  ['pylock', 'lock-version = "1.0"', 'lock-version = "2.0"', /lock-version/],
  ['pylock', /hashes = \{ sha256 = "3+" \}/, 'hashes = { }', /file without a hash/],
  [
    'pylock',
    'url = "https://packages.acme.example/files/idna-3.7-py3-none-any.whl"',
    'path = "./idna.whl"',
    /comes from a file/,
  ],
];

test.each(bad)('%s with %s as %s is a problem', (name, from, to, problem) => {
  const path = pathOf.get(name) ?? '';
  expect(said(path, changed(name, from, to)).join('\n')).toMatch(problem);
});

describe('what projects have of their own is not held to a registry', () => {
  test.each<[Fixture, string, string]>([
    [
      'npm3',
      '"node_modules/ms": {',
      '"packages/ui": {"version": "1.0.0"}, "node_modules/ui": {"resolved": "packages/ui", "link": true}, "node_modules/ms": {',
    ],
    [
      'npm3',
      '"node_modules/ms": {',
      '"node_modules/debug/node_modules/in": {"version": "1.0.0", "inBundle": true}, "node_modules/ms": {',
    ],
    ['npm3', '"https://packages.acme.example/npm/left-pad/-/left-pad-1.3.0.tgz"', 'null'],
    ['npm1', '"renamed": {', '"own": {"version": "file:packages/own"}, "renamed": {'],
    ['pnpm9', `{integrity: ${LEFT_PAD}}`, '{directory: packages/left-pad, type: directory}'],
    ['requirements', 'certifi==', '-e ./own\n-r requirements-base.txt\ncertifi=='],
    ['uv', '{ virtual = "." }', '{ editable = "packages/billing" }'],
  ])('%s: %s as %s', (name, from, to) => {
    expect(said(pathOf.get(name) ?? '', changed(name, from, to))).toEqual([]);
  });

  test('a folder above that is still within the repository', () => {
    const text = changed(
      'npm3',
      '"node_modules/ms": {',
      '"node_modules/ui": {"resolved": "../ui", "link": true}, "node_modules/ms": {',
    );
    expect(said('apps/web/package-lock.json', text)).toEqual([]);
    expect(said('package-lock.json', text)).toEqual([expect.stringContaining('ui comes from a file')]);
  });
});

describe('addresses', () => {
  const at = (url: string) =>
    said('package-lock.json', changed('npm3', 'https://packages.acme.example/npm/left-pad/-/left-pad-1.3.0.tgz', url));
  test.each([
    ['https://user:pw@packages.acme.example/x.tgz', 'user in it'],
    ['https://packages.acme.example@evil.example/x.tgz', 'user in it'],
    ['https://packages.acme.example./x.tgz', 'not in canonical form'],
    ['https://PACKAGES.acme.example/x.tgz', 'not in canonical form'],
    ['HTTPS://packages.acme.example/x.tgz', 'none of https'],
    ['https://packages。acme.example/x.tgz', 'not in canonical form'],
    ['https://ｐackages.acme.example/x.tgz', 'not in canonical form'],
    ['https://pаckages.acme.example/x.tgz', 'not in canonical form'],
    ['https://packages.acme.example\\\\@evil.example/x.tgz', 'a character that no address has'],
    ['https://packages.acme.example%2eevil.example/x.tgz', 'not in canonical form'],
    ['https://packages.acme.example:0443/x.tgz', 'no port'],
    ['https://packages.acme.example:99999/x.tgz', 'no port'],
    ['https:/packages.acme.example/x.tgz', 'none of https'],
    ['https:packages.acme.example/x.tgz', 'none of https'],
    ['//packages.acme.example/x.tgz', 'comes from a file'],
    ['https:///packages.acme.example/x.tgz', 'not in canonical form'],
    [' https://packages.acme.example/x.tgz', 'none of https'],
    ['https://packages.acme.example/x.tgz?to=https://evil.example', 'with a query'],
    ['https://packages.acme.example/x.tgz#@evil.example', 'fragment'],
    ['https://0x7f000001/x.tgz', 'not in canonical form'],
    ['https://[::ffff:127.0.0.1]/x.tgz', 'not in canonical form'],
    ['git@forge.example:a/b', 'comes from git'],
    ['github:a/b', 'comes from git'],
    ['a/b', 'none of https'],
    ['https://forge.example/a/b.git', 'comes from git'],
    ['ftp://packages.acme.example/x.tgz', 'none of https'],
    ['data:application/octet-stream;base64,AAAA', 'none of https'],
    ['https://packages.acme.example/\\u200bx.tgz', 'a character that no address has'],
    ['', 'none of https'],
  ])('%s', (url, what) => {
    expect(at(url)).toEqual([expect.stringContaining(what)]);
  });

  test('another port is another place', () => {
    const { entries } = read(
      'package-lock.json',
      changed('npm3', 'acme.example/npm/left-pad', 'acme.example:8443/npm/left-pad'),
    );
    expect(entries.at(-1)?.origins).toMatchObject([{ host: 'packages.acme.example', port: 8443 }]);
  });
});

describe('settings', () => {
  const places = (path: string, text: string) => {
    const reading = read(path, text);
    return [
      ...reading.places.map(({ line, what, origin }) => `${line} ${what} ${origin.host}:${origin.port}`),
      ...reading.problems.map(({ line, what }) => `${line} ${what}`),
    ];
  };
  test.each([
    ['.npmrc', '; registry=https://a.example\nregistry = https://evil.example/\n', ['2 registry evil.example:443']],
    ['.npmrc', '@acme:registry=https://evil.example:8443/npm', ['1 @acme:registry evil.example:8443']],
    ['.npmrc', '"registry" = "https://evil.example"\naudit=false', ['1 registry evil.example:443']],
    ['.npmrc', "'registry'='https://evil.example'", ['1 registry evil.example:443']],
    ['.npmrc', 'registry[]=https://evil.example', ['1 registry evil.example:443']],
    ['.npmrc', 'registry=\u0024{HOST}', ['1 has an address that is not known before it is used']],
    ['.npmrc', '\u0024{WHAT}=https://evil.example', ['1 has a key that is not known before it is used']],
    ['.npmrc', 'registry=http://packages.acme.example', ['1 comes over http: nothing protects it on its way']],
    [
      '.yarnrc',
      'registry "https://evil.example/"\n"@a:registry" "https://b.example"\n',
      ['1 registry evil.example:443', '2 @a:registry b.example:443'],
    ],
    [
      '.yarnrc.yml',
      'nodeLinker: node-modules\nnpmRegistryServer: "https://evil.example"\n',
      ['2 npmRegistryServer evil.example:443'],
    ],
    [
      '.yarnrc.yml',
      'npmScopes:\n  acme:\n    npmRegistryServer: https://evil.example\n',
      ['3 npmRegistryServer evil.example:443'],
    ],
    ['.yarnrc.yml', 'unsafeHttpWhitelist:\n  - "*"\n', ['2 opens plain http']],
    [
      'pnpm-workspace.yaml',
      'packages: [a]\nregistries:\n  default: https://evil.example\n',
      ['3 default evil.example:443'],
    ],
    [
      'pip.conf',
      '[global]\nindex-url = https://evil.example/simple\nextra_index_url:\n  https://a.example\n  https://b.example\n',
      ['2 index-url evil.example:443', '4 extra-index-url a.example:443', '5 extra-index-url b.example:443'],
    ],
    ['.pypirc', '[acme]\nrepository: https://evil.example/legacy/\n', ['2 repository evil.example:443']],
    [
      'pyproject.toml',
      '[tool.poetry]\nname = "x"\n[[tool.poetry.source]]\nname = "x"\nurl = "https://evil.example/simple"\n',
      ['5 source evil.example:443'],
    ],
    ['pyproject.toml', '[[tool.uv.index]]\nurl = "https://evil.example/simple"\n', ['2 index evil.example:443']],
    ['uv.toml', 'index-url = "https://evil.example/simple"\n', ['1 index-url evil.example:443']],
    [
      'Pipfile',
      '[[source]]\nurl = "http://evil.example/simple"\n',
      ['2 comes over http: nothing protects it on its way'],
    ],
    ['pyproject.toml', '[project]\nname = "x"\ndependencies = ["idna"]\n', []],
    ['pyproject.toml', '[project\n', ['1 cannot be read: it is no TOML']],
  ])('%s %#', (path, text, found) => {
    expect(places(path, text)).toEqual(found);
  });
});

test('names are looked for in any folder and any letter case', () => {
  for (const path of [
    'Package-Lock.JSON',
    'a/b/yarn.lock',
    'requirements/dev-requirements.txt',
    'REQUIREMENTS.txt',
    'pylock.dev.toml',
    'a/Pipfile.lock',
  ])
    expect(formatOf(path)?.kind, path).toMatch(/lock|list/);
  for (const path of ['package-lock.json.bak', 'package.json', 'docs/requirements.md', 'lock', 'yarn.lock/x'])
    expect(formatOf(path), path).toBeNull();
});

test('what no editor shows is refused, and so are other encodings', () => {
  expect(said('package-lock.json', Buffer.from(fixtures.npm3, 'utf16le'))[0]).toContain('cannot be read');
  expect(said('requirements.txt', Buffer.from([0xff, 0xfe, 0x61, 0]))).toEqual(['- - cannot be read: it is no UTF-8']);
  expect(said('.npmrc', 'audit=false\rregistry=https://evil.example')[0]).toContain(
    'a character that editors do not show',
  );
});

test('keys that mean something to JavaScript are keys like others', () => {
  const text = changed(
    'npm3',
    '"node_modules/ms": {',
    '"__proto__": {"version": "1.0.0"}, "node_modules/constructor": {"version": "1.0.0"}, "node_modules/ms": {',
  );
  expect(said('package-lock.json', text)).toEqual([expect.stringContaining('constructor@1.0.0 has no integrity hash')]);
  const toml = `${fixtures.uv}\n[[package]]\nname = "evil"\nversion = "1"\n[package.source.__proto__]\nregistry = "https://packages.acme.example"\n`;
  expect(said('uv.lock', toml)).toEqual([expect.stringContaining('evil comes from a place of an unknown kind')]);
});

test('towers of brackets and too many entries are refused', () => {
  expect(
    said('package-lock.json', `{"lockfileVersion": 3, "packages": ${'['.repeat(5000)}${']'.repeat(5000)}}`)[0],
  ).toContain('deep');
  expect(said('pnpm-lock.yaml', `a: ${'['.repeat(20_000)}`)[0]).toContain('cannot be read');
  expect(said('pnpm-lock.yaml', `a: ${'['.repeat(1000)}${']'.repeat(1000)}`)[0]).toContain('cannot be read');
  expect(said('uv.lock', `version = 1\na = ${'['.repeat(5000)}${']'.repeat(5000)}`)[0]).toContain('cannot be read');
  expect(said('pnpm-lock.yaml', '- '.repeat(5000))[0]).toContain('cannot be read');
});
