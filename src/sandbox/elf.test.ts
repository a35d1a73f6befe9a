import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fakeElf } from './elf.fixture.ts';
import { ElfError, type ElfFile, readElf } from './elf.ts';
import { librarySearch, readCache } from './elf-search.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'elf-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function read(bytes: Uint8Array): ElfFile | null {
  const path = join(folder, 'file');
  writeFileSync(path, bytes);
  const fd = openSync(path, 'r');
  try {
    return readElf(fd);
  } finally {
    closeSync(fd);
  }
}

const sample = { interpreter: '/lib64/ld.so', needed: ['liba.so.1', 'libb.so'], rpath: '/one:$ORIGIN/two' };

describe('readElf', () => {
  test('reads loader, libraries and search paths', () => {
    expect(read(fakeElf(sample))).toEqual({
      machine: 62,
      interpreter: '/lib64/ld.so',
      needed: ['liba.so.1', 'libb.so'],
      rpath: ['/one', '$ORIGIN/two'],
      runpath: [],
    });
    expect(read(fakeElf({ runpath: '/r' }))).toMatchObject({ interpreter: null, needed: [], runpath: ['/r'] });
  });

  test('a real program of this machine', () => {
    const elf = read(readFileSync('/bin/ls'));
    expect(elf?.interpreter).toMatch(/^\/lib.*ld-/);
    expect(elf?.needed.length).toBeGreaterThan(0);
  });

  test('what is not ELF is null', () => {
    for (const text of ['', '#!/bin/sh\n', '\x7fEL', 'MZ']) expect(read(Buffer.from(text))).toBeNull();
  });

  test.each([
    ['32-bit', 4, 1],
    ['big endian', 5, 2],
    ['a core dump', 16, 4],
    ['odd program headers', 54, 32],
  ])('%s is refused', (_, at, value) => {
    const bytes = fakeElf(sample);
    bytes[at] = value;
    expect(() => read(bytes)).toThrow(ElfError);
  });

  test('damage is an ElfError, never another error and never a hang', () => {
    const good = fakeElf(sample);
    const change = fc.tuple(fc.nat(good.length - 1), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), fc.nat(good.length), (changes, cut) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        try {
          read(cut % 3 === 0 ? bytes.subarray(0, cut) : bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ElfError);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('librarySearch', () => {
  const elf = (more: Partial<ElfFile>): ElfFile => ({
    machine: 62,
    interpreter: null,
    needed: [],
    rpath: [],
    runpath: [],
    ...more,
  });

  test('own search path, then the cache, then the built-in folders; every hit', () => {
    for (const name of ['own', 'program', 'default', 'cached']) mkdirSync(join(folder, name), { recursive: true });
    for (const name of ['own', 'program', 'default', 'cached']) writeFileSync(join(folder, name, 'libx.so'), '');
    const cache = join(folder, 'cache');
    writeFileSync(cache, cacheFile([[0x303, 'libx.so', join(folder, 'cached/libx.so')]]));
    const search = librarySearch(62, cache, [join(folder, 'default')]);
    const program = elf({ rpath: ['$ORIGIN/program'] });
    const find = (by: ElfFile) =>
      search
        .candidates('libx.so', by, join(folder, 'own/liby.so'), program, join(folder, 'bin'))
        .map((p) => p.slice(folder.length + 1));
    expect(find(elf({}))).toEqual(['program/libx.so', 'cached/libx.so', 'default/libx.so']);
    // RUNPATH switches the RPATHs off (ld.so(8))
    expect(find(elf({ runpath: [`\${ORIGIN}`], rpath: ['/nope'] }))).toEqual([
      'own/libx.so',
      'cached/libx.so',
      'default/libx.so',
    ]);
    expect(find(elf({ runpath: ['.', 'relative', '$PLATFORM', '$ORIGINAL'] }))).toEqual([
      'cached/libx.so',
      'default/libx.so',
    ]);
    expect(search.candidates('libnone.so', program, '/x', program, '/x')).toEqual([]);
  });

  test('the cache of another architecture, a damaged one and none are empty', () => {
    const file = join(folder, 'cache2');
    writeFileSync(file, cacheFile([[0x0a03, 'libx.so', '/x']]));
    expect(readCache(file, 0x303).size).toBe(0);
    expect(readCache(file, 0x0a03).get('libx.so')).toEqual(['/x']);
    const whole = cacheFile([[0x303, 'libx.so', '/x']]);
    for (let cut = 0; cut < whole.length; cut++) {
      writeFileSync(file, whole.subarray(0, cut));
      readCache(file, 0x303);
    }
    expect(readCache(join(folder, 'none'), 0x303).size).toBe(0);
  });
});

function cacheFile(entries: readonly [number, string, string][]): Buffer {
  const head = Buffer.alloc(48 + entries.length * 24);
  head.write('glibc-ld.so.cache1.1', 0, 'latin1');
  head.writeUInt32LE(entries.length, 20);
  let strings = '';
  entries.forEach(([flags, name, path], i) => {
    const at = 48 + i * 24;
    head.writeInt32LE(flags, at);
    head.writeUInt32LE(head.length + strings.length, at + 4);
    strings += `${name}\0`;
    head.writeUInt32LE(head.length + strings.length, at + 8);
    strings += `${path}\0`;
  });
  return Buffer.concat([head, Buffer.from(strings)]);
}
