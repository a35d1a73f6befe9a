import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StorageError } from './errors.ts';
import { FileLock } from './file-lock.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cordon-lock-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('excludes another holder, also within one process, until released', async () => {
  const a = new FileLock(join(dir, 'lock'));
  const b = new FileLock(join(dir, 'lock'));
  await a.acquire(1000);
  expect(b.tryAcquire()).toBe(false);
  await expect(b.acquire(5)).rejects.toThrow(StorageError);
  const waiting = b.acquire(10_000);
  a.release();
  await waiting;
  expect(a.tryAcquire()).toBe(false);
  b.close();
  expect(a.tryAcquire()).toBe(true);
  a.close();
  a.close();
  expect(() => a.tryAcquire()).toThrow(StorageError);
});

test('the kernel releases it when the holder is killed', async () => {
  const path = join(dir, 'lock');
  const source = `import { FileLock } from ${JSON.stringify(new URL('./file-lock.ts', import.meta.url).href)};
    const lock = new FileLock(${JSON.stringify(path)}); await lock.acquire(1000); console.log('held'); setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  const lock = new FileLock(path);
  expect(lock.tryAcquire()).toBe(false);
  holder.kill('SIGKILL');
  await lock.acquire(30_000);
  lock.close();
});

test('does not follow a link that somebody planted', () => {
  symlinkSync('/dev/null', join(dir, 'lock'));
  expect(() => new FileLock(join(dir, 'lock'))).toThrow(expect.objectContaining({ code: 'ELOOP' }));
});

test('says so when the file was removed or replaced under it', () => {
  const lock = new FileLock(join(dir, 'lock'));
  rmSync(join(dir, 'lock'));
  expect(() => lock.tryAcquire()).toThrow(StorageError);
  writeFileSync(join(dir, 'lock'), '');
  expect(() => lock.tryAcquire()).toThrow(StorageError);
});
