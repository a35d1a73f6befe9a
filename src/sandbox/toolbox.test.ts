import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sha256Hex } from '../base/digest.ts';
import { DocumentError } from '../base/errors.ts';
import { type FakeElf, fakeElf } from './elf.fixture.ts';
import { type LibrarySearch, librarySearch } from './elf-search.ts';
import type { Toolbox } from './sandbox.ts';
import { type CommandEntry, resolveCommand, resolveToolbox, toolboxPath } from './toolbox.ts';
import { companionsOf } from './toolbox-companions.ts';
import { FileDigests } from './toolbox-digests.ts';
import { resolvePath } from './toolbox-path.ts';

type ListToolbox = Extract<Toolbox, { kind: 'list' }>;

let root = '';
let search: LibrarySearch;
const at = (...parts: string[]) => join(root, ...parts);

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'toolbox-')));
  for (const folder of ['bin', 'lib', 'etc', 'lib/git-core']) mkdirSync(at(folder));
  search = librarySearch(process.arch === 'arm64' ? 183 : 62, at('no-cache'), [at('lib')]);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function program(path: string, what: FakeElf = {}): string {
  writeFileSync(at(path), fakeElf(what), { mode: 0o755 });
  return at(path);
}

function script(path: string, text: string, mode = 0o755): string {
  writeFileSync(at(path), text, { mode });
  return at(path);
}

async function resolve(...paths: (string | CommandEntry)[]): Promise<ListToolbox> {
  const entries = paths.map((path) => (typeof path === 'string' ? { path } : path));
  const toolbox = await resolveToolbox(entries, { search, digests: new FileDigests() });
  if (toolbox.kind !== 'list') throw new Error('expected a list');
  return toolbox;
}

async function problems(...paths: (string | CommandEntry)[]) {
  const error = await resolve(...paths).then(
    () => null,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(DocumentError);
  return (error as DocumentError).problems;
}

describe('resolveToolbox', () => {
  test('no list is /usr; an empty list is nothing, not everything', async () => {
    expect(await resolveToolbox(null)).toEqual({ kind: 'usr' });
    expect(await resolve()).toMatchObject({ kind: 'list', executables: [], libraries: [] });
  });

  test('a name leads through its links to one file with its content', async () => {
    const file = program('bin/mawk');
    symlinkSync('../etc/awk', at('bin/awk'));
    symlinkSync(file, at('etc/awk'));
    const { executables, links } = await resolve(at('bin/awk'), file);
    const { sha256 } = resolveCommand(file);
    expect(sha256).toBe(sha256Hex(fakeElf({})));
    expect(executables).toEqual([
      { path: file, sha256, outsideUsr: true, listed: [at('bin/awk'), file], companionOf: null, interpreter: null },
    ]);
    expect(links).toEqual([
      { path: at('bin/awk'), target: '../etc/awk' },
      { path: at('etc/awk'), target: file },
    ]);
  });

  test('libraries with all of theirs, the loader, and what the C library opens', async () => {
    program('lib/ld.so');
    program('lib/liba.so.1.2', { needed: ['libb.so', 'libmissing.so'] });
    symlinkSync('liba.so.1.2', at('lib/liba.so.1'));
    program('lib/libb.so', { needed: ['liba.so.1'] }); // a cycle
    program('lib/libnss_files.so.2');
    program('lib/libunused.so');
    const { libraries, executables } = await resolve(
      program('bin/tool', { interpreter: at('lib/ld.so'), needed: ['liba.so.1'] }),
    );
    expect(executables.map((f) => f.path)).toEqual([at('bin/tool')]);
    expect(libraries.map((f) => f.path)).toEqual(
      ['ld.so', 'liba.so.1.2', 'libb.so', 'libnss_files.so.2'].map((n) => at('lib', n)),
    );
  });

  test('a library for another processor is not taken', async () => {
    program('lib/libx.so', { machine: 3 });
    const { libraries } = await resolve(program('bin/tool', { needed: ['libx.so'] }));
    expect(libraries).toEqual([]);
  });

  test('the digest is over content and does not depend on order', async () => {
    const [one, two] = [program('bin/one'), program('bin/two', { needed: ['liba.so'] })];
    const first = await resolve(one, two);
    expect((await resolve(two, one)).digest).toBe(first.digest);
    program('bin/one', { needed: ['libz.so'] });
    const changed = await resolve(one, two);
    expect(changed.digest).not.toBe(first.digest);
    expect((await resolve(one)).digest).not.toBe(changed.digest);
  });

  test('git brings its transport helpers, and only what is there', async () => {
    const git = program('bin/git');
    program('lib/git-core/git');
    program('lib/git-core/git-remote-http');
    script('lib/git-core/git-submodule', '#!/bin/sh\n');
    const { executables } = await resolve(git);
    expect(executables.map((f) => [f.path, f.companionOf])).toEqual([
      [git, null],
      [at('lib/git-core/git'), git],
      [at('lib/git-core/git-remote-http'), git],
    ]);
  });

  test('python brings its own modules, not those of the workspace', () => {
    mkdirSync(at('lib/python3.11/lib-dynload'), { recursive: true });
    mkdirSync(at('lib/ruby'), { recursive: true });
    for (const path of ['lib/python3.11/lib-dynload/_ssl.so', 'lib/python3.11/x.py', 'lib/ruby/y.so']) script(path, '');
    symlinkSync('/', at('lib/python3.11/everything'));
    expect(companionsOf(at('bin/python3.11'))).toEqual({
      executables: [],
      modules: [at('lib/python3.11/lib-dynload/_ssl.so')],
    });
  });

  test('a script needs its interpreter listed', async () => {
    const sh = program('bin/sh');
    symlinkSync('sh', at('bin/link-to-sh'));
    const tool = script('bin/tool', `#! ${at('bin/link-to-sh')} -e\necho\n`);
    expect(await problems({ path: tool, rule: { file: 'policy.yaml', line: 7 } })).toEqual([
      expect.objectContaining({
        file: 'policy.yaml',
        line: 7,
        remedy: expect.stringContaining(`add "${at('bin/link-to-sh')}"`),
      }),
    ]);
    const { executables } = await resolve(tool, sh);
    expect(executables.find((f) => f.path === tool)?.interpreter).toBe(at('bin/link-to-sh'));
  });

  test('through env, the program it looks up has to be listed; env comes along', async () => {
    const env = program('bin/env');
    const tool = script('bin/npm', `#!${env} -S FOO=1 --flag node --x\n`);
    expect((await problems(tool))[0]?.message).toContain('a script for node');
    const { executables } = await resolve(tool, program('bin/node'));
    expect(executables.find((f) => f.path === env)).toMatchObject({ listed: [], companionOf: tool });
    expect(await problems(script('bin/odd', `#!${env}\n`))).toHaveLength(1);
  });

  test('everything that is wrong is said at once, with a remedy', async () => {
    symlinkSync('loop', at('bin/loop'));
    const list = await problems(
      at('bin/none'),
      at('bin'),
      at('bin/loop'),
      script('bin/data', 'text\n'),
      script('bin/plain', '#!/bin/sh\n', 0o644),
      program('bin/foreign', { machine: 3 }),
      script('bin/short', '\x7fELF'),
      join(script('bin/file', ''), 'below'),
    );
    expect(list.map((p) => p.message.slice(root.length + 5))).toEqual([
      'none does not exist',
      'is a folder',
      'loop is a link that leads in a circle',
      'data is neither a program nor a script with a #! line',
      'plain cannot be read and executed by this user',
      'foreign is built for another processor (ELF machine 3)',
      'short ends within its ELF header',
      'file/below leads through something that is not a folder',
    ]);
    for (const problem of list) expect(problem.remedy).toBeTruthy();
  });

  test('the machine itself: a listed shell script host and git', async () => {
    const toolbox = await resolveToolbox([{ path: '/bin/sh' }, { path: '/usr/bin/git' }]);
    if (toolbox.kind !== 'list') throw new Error('expected a list');
    expect(toolbox.libraries.some((f) => /\/ld-/.test(f.path))).toBe(true);
    expect(toolbox.libraries.some((f) => /\/libc\./.test(f.path))).toBe(true);
    expect(toolbox.executables.every((f) => !f.path.startsWith('/bin/'))).toBe(
      statSync('/bin').ino === statSync('/usr/bin').ino,
    );
    expect(toolboxPath(toolbox)).toEqual(expect.arrayContaining(['/usr/bin']));
  });
});

describe('resolvePath', () => {
  test('follows folders that are links, relative targets and ..', () => {
    symlinkSync('lib', at('lib64'));
    symlinkSync('../bin/../etc/x', at('lib/x'));
    writeFileSync(at('etc/x'), '');
    expect(resolvePath(at('bin/../lib64/./x'))).toEqual({
      path: at('etc/x'),
      links: [
        { path: at('lib64'), target: 'lib' },
        { path: at('lib/x'), target: '../bin/../etc/x' },
      ],
    });
    expect(() => resolvePath('bin/x')).toThrow(TypeError);
    expect(() => resolvePath(at('bin/none'))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });
});

describe('FileDigests', () => {
  const clock = { now: () => Date.now() + 60_000, monotonic: () => 0 };

  test('knows a file by its identity, not by its name', () => {
    const digests = new FileDigests(clock);
    script('bin/a', 'one');
    linkSync(at('bin/a'), at('bin/b'));
    expect(digests.ofFile(at('bin/a'))).toBe(sha256Hex('one'));
    expect(digests.ofFile(at('bin/b'))).toBe(sha256Hex('one'));
  });

  test('same size and modification time set back: other content is other content', () => {
    const digests = new FileDigests(clock);
    const before = statSync(script('bin/a', 'one'));
    expect(digests.ofFile(at('bin/a'))).toBe(sha256Hex('one'));
    // Until the kernel's tick has moved: within one tick nothing is remembered, which the next test shows.
    do {
      writeFileSync(at('bin/a'), 'two');
      utimesSync(at('bin/a'), before.atime, before.mtime);
    } while (statSync(at('bin/a')).ctimeMs === before.ctimeMs);
    expect(digests.ofFile(at('bin/a'))).toBe(sha256Hex('two'));
  });

  test('a file that has just changed is not remembered', async () => {
    const path = script('bin/a', 'one');
    const { ctimeMs } = statSync(path);
    const read = (ms: number) => new FileDigests({ now: () => Math.floor(ctimeMs) + ms, monotonic: () => 0 });
    const digests = read(2_500);
    digests.ofFile(path);
    await digests.save(at('cache'));
    expect(() => statSync(at('cache'))).toThrow();
    const later = read(2_501);
    later.ofFile(path);
    await later.save(at('cache'));
    expect(statSync(at('cache')).isFile()).toBe(true);
  });

  test('saved for the next process; a file that others can write or that is damaged is not believed', async () => {
    const digests = new FileDigests(clock);
    digests.ofFile(script('bin/a', 'one'));
    await digests.save(at('cache'));
    const forged = (mode: number, text = statSyncKey(at('bin/a'))) => {
      writeFileSync(at('cache'), text, { mode });
      chmodSync(at('cache'), mode);
      const next = new FileDigests(clock);
      next.load(at('cache'));
      return next.ofFile(at('bin/a'));
    };
    const lie = 'f'.repeat(64);
    expect(forged(0o600)).toBe(lie); // believed: the cache is the user's own
    expect(forged(0o666)).toBe(sha256Hex('one'));
    expect(forged(0o600, '{"version":1,"files":[["x","y"]]}')).toBe(sha256Hex('one'));
    expect(forged(0o600, '{')).toBe(sha256Hex('one'));
    rmSync(at('cache'));
    symlinkSync(at('bin/a'), at('cache'));
    const next = new FileDigests(clock);
    next.load(at('cache'));
    expect(next.ofFile(at('bin/a'))).toBe(sha256Hex('one'));

    function statSyncKey(path: string): string {
      const s = statSync(path, { bigint: true });
      return JSON.stringify({ version: 1, files: [[`${s.dev} ${s.ino} ${s.size} ${s.mtimeNs} ${s.ctimeNs}`, lie]] });
    }
  });

  test('only regular files', () => {
    expect(() => new FileDigests().ofFile('/dev/null')).toThrow(TypeError);
    expect(() => new FileDigests().ofFile(at('bin'))).toThrow(TypeError);
  });
});
