/** Damaged lock files: the reader never throws, never takes half a hash for one, and no cut hides a bad entry that is still there. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatOf, readFormat } from '../../src/gateways/git/lockfiles/formats.ts';
import { fixtures } from '../../src/gateways/git/lockfiles/lockfiles.fixture.ts';

const files: readonly (readonly [keyof typeof fixtures, string])[] = [
  ['npm1', 'package-lock.json'],
  ['npm3', 'package-lock.json'],
  ['pnpm5', 'pnpm-lock.yaml'],
  ['pnpm6', 'pnpm-lock.yaml'],
  ['pnpm9', 'pnpm-lock.yaml'],
  ['yarnClassic', 'yarn.lock'],
  ['yarnBerry', 'yarn.lock'],
  ['requirements', 'requirements.txt'],
  ['poetry', 'poetry.lock'],
  ['uv', 'uv.lock'],
  ['pipfile', 'Pipfile.lock'],
  ['pylock', 'pylock.toml'],
];
const settings = [
  '.npmrc',
  '.yarnrc',
  '.yarnrc.yml',
  'pnpm-workspace.yaml',
  'pip.conf',
  '.pypirc',
  'pyproject.toml',
  'Pipfile',
];

function read(path: string, bytes: Buffer) {
  const format = formatOf(path);
  if (format === null) throw new Error(path);
  return readFormat(format, path, bytes);
}

/** Every entry is one that can be relied upon, whatever it was read from. */
function sound(path: string, bytes: Buffer) {
  const reading = read(path, bytes);
  for (const { name, version, hashes, kind, origins } of reading.entries) {
    expect(name).toMatch(/^[\w@~./-]+$/);
    expect(version).toMatch(/^[\w!.+-]+$/);
    if (kind !== 'bundled') expect(hashes.length).toBeGreaterThan(0);
    for (const hash of hashes) expect(hash).toMatch(/^sha(?:512-[\w+/]{86}==|384-[\w+/]{64}|256-[\w+/]{43}=)$/);
    for (const { host, port } of origins) {
      expect(host).toMatch(/^[a-z0-9_.[\]:-]+$/);
      expect(port).toBeGreaterThan(0);
    }
  }
  return reading;
}

const runs = { seed: 20_261_122, numRuns: 150 };
const PIECES = [
  '"',
  "'",
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
  '\n',
  '  ',
  '#',
  '\\',
  '&a ',
  '*a',
  '!!js ',
  '<<: ',
  '__proto__',
  '\0',
  '\r',
  '\u202e',
  'https://',
  '@',
  '\ufeff',
  '%',
  '---\n',
  '0x',
  '|\n',
  '=',
  '[[package]]\n',
];

describe.each(files)('%s', (name, path) => {
  const text = fixtures[name];

  test('with pieces of it changed, moved and doubled', () => {
    const cut = fc.tuple(fc.nat(text.length), fc.nat(40), fc.constantFrom(...PIECES, ''), fc.nat(text.length));
    fc.assert(
      fc.property(fc.array(cut, { minLength: 1, maxLength: 4 }), (cuts) => {
        let damaged: string = text;
        for (const [at, length, piece, from] of cuts)
          damaged =
            damaged.slice(0, at) +
            (piece === '' ? text.slice(from, from + length) : piece) +
            damaged.slice(at + length);
        sound(path, Buffer.from(damaged));
      }),
      runs,
    );
  });

  test('as bytes with some of them others', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(text.length), fc.nat(255)), { minLength: 1, maxLength: 6 }), (changes) => {
        const bytes = Buffer.from(text);
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
        sound(path, bytes);
      }),
      runs,
    );
  });

  test('cut anywhere, a bad entry that is still in it is found', () => {
    const hash = /(sha512-|sha256:|sha256 = "|10c0\/)\w{4}/;
    const evil = name === 'requirements' ? `evil==1.0\n${text}` : text.replace(hash, '$&!');
    const bad = name === 'requirements' ? 0 : text.search(hash) + 16;
    expect(read(path, Buffer.from(evil)).problems).not.toEqual([]);
    fc.assert(
      fc.property(fc.integer({ min: bad + 10, max: evil.length }), (at) => {
        expect(sound(path, Buffer.from(evil.slice(0, at))).problems).not.toEqual([]);
      }),
      runs,
    );
  });
});

test.each([...settings, ...new Set(files.map(([, path]) => path))])('%s of anything', (path) => {
  const line = fc.array(fc.oneof(fc.constantFrom(...PIECES, 'registry', 'index-url', 'lockfileVersion'), fc.string()), {
    maxLength: 30,
  });
  fc.assert(
    fc.property(line, (parts) => void sound(path, Buffer.from(parts.join('')))),
    runs,
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void sound(path, Buffer.from(bytes))),
    runs,
  );
});
