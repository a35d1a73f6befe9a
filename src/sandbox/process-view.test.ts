import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import koffi from 'koffi';
import { afterAll, describe, expect, test } from 'vitest';
import {
  ARGV_LIMIT,
  callArguments,
  commandLine,
  hasMark,
  mayExist,
  printable,
  processIds,
  runningFile,
  runningInode,
  workingFolder,
  zombieStatus,
} from './process-view.ts';

const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'cordon-view-')));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(scratch, { recursive: true });
});

async function sleeper(...argv: string[]): Promise<number> {
  const child = spawn('/bin/sh', ['-c', 'echo up; read line', ...argv], {
    cwd: scratch,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  children.push(child);
  await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data');
  return child.pid ?? 0;
}

const GONE = 4_194_304; // beyond pid_max of any 64-bit Linux

describe('a process', () => {
  test('is seen with its parent, its file, its words and its folder', async () => {
    const pid = await sleeper('name (with) brackets', '', 'ü');
    expect(processIds(pid)).toMatchObject({ process: pid, parent: process.pid });
    expect(commandLine(pid)).toEqual(['/bin/sh', '-c', 'echo up; read line', 'name (with) brackets', '', 'ü']);
    expect(workingFolder(pid)).toBe(scratch);
    const { dev, ino } = statSync('/bin/sh');
    expect(runningInode(pid)).toBe(`${dev}:${ino}`);
    expect(runningFile(pid)?.path).toBe(realpathSync('/bin/sh'));
    expect(zombieStatus(pid)).toBeUndefined();
  });

  test('that is gone is null everywhere', () => {
    expect(processIds(GONE)).toBeNull();
    expect(commandLine(GONE)).toBeNull();
    expect(workingFolder(GONE)).toBeNull();
    expect(runningInode(GONE)).toBeNull();
    expect(runningFile(GONE)).toBeNull();
    expect(zombieStatus(GONE)).toBeUndefined();
    expect(callArguments(GONE, 4096n, 4096n)).toBeNull();
    expect(hasMark(GONE, { address: 4096n, bytes: Buffer.from('x') })).toBe(false);
  });

  test('a file is looked for in its own view, and not through a link at the end', async () => {
    const pid = await sleeper();
    expect(mayExist(pid, '/bin/sh')).toBe(true);
    expect(mayExist(pid, '/no/such/file')).toBe(false);
    expect(mayExist(pid, 'no-such-file')).toBe(false);
    expect(mayExist(pid, '.')).toBe(true);
  });
});

describe('the arguments of a call, read from memory', () => {
  /** An execve's memory, in this very process. */
  function memory(path: string, argv: readonly (string | Buffer)[]) {
    const write = (data: Buffer) => {
      const address = koffi.alloc('uint8_t', Math.max(8, data.length)) as bigint;
      Buffer.from(koffi.view(address, data.length)).set(data);
      return address;
    };
    const text = (word: string | Buffer) => write(Buffer.concat([Buffer.from(word as string), Buffer.of(0)]));
    const vector = Buffer.alloc(8 * (argv.length + 1));
    argv.forEach((word, i) => {
      vector.writeBigUInt64LE(text(word), 8 * i);
    });
    return [text(path), write(vector)] as const;
  }
  const read = (path: string, argv: readonly (string | Buffer)[]) => callArguments(process.pid, ...memory(path, argv));

  test('as they are', () => {
    expect(read('/bin/echo', ['echo', '', 'a b', 'ü', Buffer.of(0xff)])).toMatchObject({
      path: '/bin/echo',
      argv: ['echo', '', 'a b', 'ü', '\\xff'],
      cut: false,
    });
    expect(read('/bin/true', [])).toMatchObject({ argv: [], cut: false });
  });

  test('many and long ones are cut, and it is said', () => {
    const many = read(
      '/bin/echo',
      Array.from({ length: 3_000 }, () => 'a'),
    );
    expect(many).toMatchObject({ cut: true });
    expect(many?.argv.length).toBeLessThanOrEqual(1_100);
    const long = read('/bin/echo', ['echo', 'x'.repeat(ARGV_LIMIT * 2), 'after']);
    expect(long).toMatchObject({ argv: ['echo'], cut: true });
  });

  test('none at all, and ones that cannot be read', () => {
    const [path] = memory('/bin/true', []);
    expect(callArguments(process.pid, path, 0n)).toMatchObject({ path: '/bin/true', argv: [], mark: null });
    expect(callArguments(process.pid, path, 8n)).toBeNull();
  });

  test('a mark is found again until the memory changes', () => {
    const [path, argv] = memory('/bin/true', ['true']);
    const mark = callArguments(process.pid, path, argv)?.mark;
    expect(mark).toBeTruthy();
    if (!mark) return;
    expect(hasMark(process.pid, mark)).toBe(true);
    Buffer.from(koffi.view(argv, 8)).writeBigUInt64LE(1n, 0);
    expect(hasMark(process.pid, mark)).toBe(false);
  });
});

test('printable: UTF-8 stays, other bytes are escaped, and no two byte strings look alike', () => {
  expect(printable(Buffer.from('a\\b ü\n'))).toBe('a\\b ü\n');
  expect(printable(Buffer.from([0x61, 0xff]))).toBe('a\\xff');
  expect(printable(Buffer.from('a\\xff'))).toBe('a\\x5cxff');
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 6 }),
    fc.array(fc.constantFrom(0x5c, 0x78, 0x66, 0x35, 0x63, 0xff, 0xc3, 0xbc), { maxLength: 10 }),
  );
  fc.assert(
    fc.property(bytes, bytes, (left, right) => {
      const [a, b] = [Buffer.from(left), Buffer.from(right)];
      expect(printable(a) === printable(b)).toBe(a.equals(b));
    }),
    { numRuns: 2_000 },
  );
});
