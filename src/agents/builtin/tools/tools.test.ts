/** Each tool against a real sandbox. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Cage, guestEnv, SandboxScene } from '../../../../test/fakes/sandbox-scene.ts';
import { sandboxDrivers } from '../../../sandbox/index.ts';
import { tools } from './index.ts';
import { describe as described, type ToolResult, type Workbench } from './tool.ts';

const scene = new SandboxScene(sandboxDrivers.bubblewrap());
let cage: Cage;
let bench: Workbench;

beforeAll(async () => {
  cage = await scene.over({
    'src/a.ts': 'one\ntwo\nthree\n',
    'src/twice.ts': 'same\nother\nsame\n',
    'dos.txt': 'one\r\ntwo\r\n',
    'binary.bin': new Uint8Array([0, 1, 2, 255, 254, 0, 10, 65]),
    'empty.txt': '',
    'long.txt': `${'x'.repeat(100_000)}\nlast`,
    'many.txt': Array.from({ length: 3_000 }, (_, i) => `line ${i + 1}`).join('\n'),
    'node_modules/p/index.js': 'needle',
  });
}, 60_000);
afterAll(async () => {
  await scene.close();
  scene.dispose();
});
beforeEach(() => {
  bench = {
    guest: cage.sandbox,
    env: guestEnv,
    signal: new AbortController().signal,
    shown: 4_000,
    cwd: '/workspace',
    kept: 0,
    plan: [],
  };
});

function use(name: string, input: object): Promise<ToolResult> {
  const tool = tools.find((one) => one.name === name);
  if (tool === undefined) throw new Error(name);
  return tool.run(tool.schema.parse(input) as never, bench);
}

const content = (file: string) => cage.bash(`cat ${file}`);
/** How many sleep so long inside. */
const sleeping = (seconds: number) =>
  cage.bash(
    `for p in /proc/[0-9]*; do tr "\\0" " " < $p/cmdline; echo; done 2>/dev/null | grep -c "^sleep ${seconds} " || true`,
  );

describe('shell', () => {
  test('output of both streams in the order in which it was written, and the exit code', async () => {
    const result = await use('shell', { command: 'for i in 1 2 3 4; do echo out $i; echo err $i >&2; done; exit 3' });
    expect(result.ok).toBe(false);
    const lines = [1, 2, 3, 4].flatMap((i) => [`out ${i}`, `err ${i}`]);
    expect(result.text).toBe([...lines, '[exit code 3]'].join('\n'));
    expect((await use('shell', { command: 'true' })).text).toBe('[exit code 0]');
  });

  test('the working folder is kept, also over an exit, and is given back when it is gone', async () => {
    await use('shell', { command: 'mkdir -p "/tmp/a b"; cd "/tmp/a b"; exit 1' });
    expect(bench.cwd).toBe('/tmp/a b');
    expect((await use('shell', { command: 'pwd' })).text).toBe('/tmp/a b\n[exit code 0; working folder: /tmp/a b]');
    await use('shell', { command: 'rmdir "/tmp/a b"' });
    expect((await use('shell', { command: 'pwd' })).ok).toBe(false);
    expect((await use('shell', { command: 'pwd' })).text).toBe('/workspace\n[exit code 0]');
  });

  test('quotes, newlines and dollars mean what they mean to a shell', async () => {
    const command = `x='a "b" $c'\nprintf '%s|' "$x" "$((1+1))"`;
    expect((await use('shell', { command })).text).toBe('a "b" $c|2|\n[exit code 0]');
  });

  test('long output is cut in the middle, and is whole in a file inside', async () => {
    const result = await use('shell', { command: 'seq 1 200000' });
    expect(result.text.length).toBeLessThan(6_000);
    expect(result.text).toMatch(/^1\n2\n/);
    expect(result.text).toContain('200000');
    const [, file] = /all of it is in (\S+):/.exec(result.text) ?? [];
    expect(await content(`${file} | md5sum`)).toBe(
      await cage.bash('{ seq 1 200000; printf "\\036cwd:/workspace\\036"; } | md5sum'),
    );
    expect((await use('read', { path: file, from: 99_999, count: 2 })).text).toMatch(/^99999\t99999\n100000\t100000/);
  });

  test('output without end is bounded here and inside', async () => {
    const before = process.memoryUsage().rss;
    const result = await use('shell', { command: 'head -c 300000000 /dev/zero | tr "\\0" x', timeout: 100 });
    expect(result.text).toContain('bytes are not shown');
    expect(process.memoryUsage().rss - before).toBeLessThan(150e6);
    expect(Number(await cage.bash('stat -c %s /tmp/cordon/output-1'))).toBe(16 * 1024 * 1024);
  }, 120_000);

  test('binary output is said to be that', async () => {
    expect((await use('shell', { command: 'cat binary.bin' })).text).toMatch(/^\[binary output, \d+ bytes\]/);
  });

  test('colours and cursor movements do not reach the model', async () => {
    const { text } = await use('shell', { command: `printf '\\033[31mred\\033[0m\\033]0;title\\007\\033[2Jx'` });
    expect(text).toBe('redx\n[exit code 0]');
  });

  test('what takes too long is ended with all it started', async () => {
    const result = await use('shell', { command: 'echo begun; sleep 1234 & sleep 1234', timeout: 5 });
    expect(result.ok).toBe(false);
    expect(result.text).toContain('begun');
    expect(result.text).toContain('not done after 5.0 s');
    await expect.poll(() => sleeping(1234)).toBe('0\n');
  });

  test('what is left in the background goes on, and holds nobody up', async () => {
    const result = await use('shell', { command: 'sleep 300 & echo started' });
    expect(result.ok).toBe(true);
    expect(result.text).toContain('still running in the background');
    // It may have been left behind before it was even `sleep`.
    await expect.poll(() => sleeping(300)).toBe('1\n');
  });

  test('an interruption ends it at once', async () => {
    const stop = new AbortController();
    bench = { ...bench, signal: stop.signal };
    const running = use('shell', { command: 'sleep 4321' });
    setTimeout(() => stop.abort(new Error('stopped by somebody')), 200);
    await expect(running).rejects.toThrow('stopped by somebody');
    await expect.poll(() => sleeping(4321)).toBe('0\n');
  });
});

describe('read', () => {
  test('lines with their numbers, from where and as many as asked', async () => {
    expect((await use('read', { path: 'src/a.ts' })).text).toBe('1\tone\n2\ttwo\n3\tthree');
    expect((await use('read', { path: '/workspace/src/a.ts', from: 2, count: 1 })).text).toBe(
      '2\ttwo\n[there may be more: read on with from: 3]',
    );
    expect((await use('read', { path: 'src/a.ts', from: 9 })).text).toContain('has 3 lines');
  });

  test('what is more than is shown says where to read on', async () => {
    const { text } = await use('read', { path: 'many.txt' });
    const [, next] = /read on with from: (\d+)/.exec(text) ?? [];
    expect(text.length).toBeLessThan(6_000);
    expect((await use('read', { path: 'many.txt', from: Number(next), count: 1 })).text).toMatch(
      `${next}\tline ${next}`,
    );
  });

  test('long lines, binary files, empty files, folders, what is not there', async () => {
    expect((await use('read', { path: 'long.txt' })).text).toMatch(
      /x{2000} \[… 98000 more bytes in this line\]\n2\tlast/,
    );
    expect((await use('read', { path: 'binary.bin' })).text).toContain('is a binary file');
    expect((await use('read', { path: 'empty.txt' })).text).toContain('is empty');
    expect(await use('read', { path: 'src' })).toMatchObject({ ok: false, text: expect.stringContaining('directory') });
    expect(await use('read', { path: 'none.txt' })).toMatchObject({
      ok: false,
      text: expect.stringContaining('No such'),
    });
    expect(await use('read', { path: '-n' })).toMatchObject({ ok: false });
  });

  test('a device without end is given up', async () => {
    expect((await use('read', { path: '/dev/zero' })).text).toContain('binary');
  }, 60_000);
});

describe('edit', () => {
  test('exactly one place, and the mode stays', async () => {
    await cage.bash('printf "a\\nb\\n" > e1 && chmod 755 e1');
    expect(await use('edit', { path: 'e1', old: 'b', new: '$& b\n' })).toMatchObject({ ok: true });
    expect(await content('e1')).toBe('a\n$& b\n\n');
    expect(await cage.bash('stat -c %a e1')).toBe('755\n');
  });

  test('no place, several places, all places', async () => {
    const several = await use('edit', { path: 'src/twice.ts', old: 'same', new: 'x' });
    expect(several).toMatchObject({ ok: false, text: expect.stringContaining('lines 1, 3') });
    expect(await use('edit', { path: 'src/twice.ts', old: 'nowhere', new: 'x' })).toMatchObject({ ok: false });
    expect((await use('edit', { path: 'src/a.ts', old: '  two', new: 'x' })).text).toContain(
      'line 2 is like its beginning',
    );
    expect((await use('edit', { path: 'dos.txt', old: 'one\ntwo', new: 'x' })).text).toContain('carriage return');
    expect(await use('edit', { path: 'src/twice.ts', old: 'same', new: 'x', all: true })).toMatchObject({ ok: true });
    expect(await content('src/twice.ts')).toBe('x\nother\nx\n');
  });

  test('a new file in a new folder, and never over another', async () => {
    expect(await use('edit', { path: 'new/folder/f.txt', old: '', new: 'content\n' })).toMatchObject({ ok: true });
    expect(await content('new/folder/f.txt')).toBe('content\n');
    expect(await use('edit', { path: 'new/folder/f.txt', old: '', new: 'other' })).toMatchObject({ ok: false });
    expect(await use('edit', { path: 'new/folder', old: '', new: 'other' })).toMatchObject({ ok: false });
    expect(await use('edit', { path: 'nothing.txt', old: 'a', new: 'b' })).toMatchObject({ ok: false });
    expect(await content('new/folder/f.txt')).toBe('content\n');
  });

  test('outside of what can be written nothing is', async () => {
    expect(await use('edit', { path: '/usr/bin/planted', old: '', new: 'x' })).toMatchObject({ ok: false });
    expect(await use('edit', { path: '/etc/passwd', old: 'root', new: 'x' })).toMatchObject({ ok: false });
    expect(await use('edit', { path: '~/in-home', old: '', new: 'x' })).toMatchObject({ ok: true });
  });
});

describe('search', () => {
  test('file, line and text; not in node_modules', async () => {
    expect((await use('search', { pattern: '^t(wo|hree)$' })).text.split('\n').sort()).toEqual([
      'src/a.ts:2:two',
      'src/a.ts:3:three',
    ]);
    expect((await use('search', { pattern: 'needle' })).text).toBe('nothing was found');
    expect((await use('search', { pattern: 'needle', path: 'node_modules' })).text).toContain(':1:needle');
    expect((await use('search', { pattern: 'two', files: '*.txt' })).text).not.toContain('a.ts');
  });

  test('more than is shown, long lines, and patterns that are none', async () => {
    const many = await use('search', { pattern: 'line', path: 'many.txt' });
    expect(many.text).toContain('there is more');
    expect((await use('search', { pattern: 'xxx', path: 'long.txt' })).text.length).toBeLessThan(400);
    expect(await use('search', { pattern: '(' })).toMatchObject({ ok: false });
    expect((await use('search', { pattern: '-r' })).text).toBe('nothing was found');
  });
});

test('the plan is kept, and finish ends', async () => {
  expect((await use('plan', { steps: [{ step: 'look', status: 'done' }, { step: 'change' }] })).text).toBe(
    '[x] 1. look\n[ ] 2. change',
  );
  expect(bench.plan).toHaveLength(2);
  expect(await use('finish', { summary: 's' })).toMatchObject({ finished: { summary: 's', success: true } });
});

test.each([
  ['shell', { command: 'a\0b' }],
  ['shell', { command: 'a', cwd: '/' }],
  ['shell', { command: '' }],
  ['read', { path: 'a\0' }],
  ['read', { path: 'a', from: 0 }],
  ['edit', { path: 'a', old: 'x\0', new: '' }],
  ['search', { pattern: '\0' }],
  ['plan', { steps: [] }],
  ['finish', {}],
] as const)('%s refuses %j', (name, input) => {
  expect(tools.find((tool) => tool.name === name)?.schema.safeParse(input).success).toBe(false);
});

test('models are told of each tool by a plain JSON schema', () => {
  for (const tool of tools) {
    expect(described(tool).parameters).toMatchObject({ type: 'object', additionalProperties: false });
  }
});
