import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FileLock } from './file-lock.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'cordon-lock-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('who waits in vain is told which process holds the lock, that it is stopped, and what to do', async () => {
  const path = join(dir, 'a.lock');
  // flock(1) holds the lock itself: the program that it runs is told of no descriptor (-o).
  const child = spawn('flock', ['-o', path, 'sh', '-c', 'echo held; read line'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const lock = new FileLock(path);
  try {
    await once(child.stdout, 'data');
    await expect(lock.acquire(0)).rejects.toMatchObject({
      message: expect.stringContaining(`held by process ${child.pid} (flock) `),
      remedy: expect.stringContaining(`kill ${child.pid}`),
    });
    child.kill('SIGSTOP');
    while (!/\) T /.test(readFileSync(`/proc/${child.pid}/stat`, 'latin1'))) await nextTurn();
    await expect(lock.acquire(0)).rejects.toMatchObject({
      message: expect.stringContaining(`process ${child.pid} (flock, which is stopped)`),
      remedy: expect.stringContaining(`kill -CONT ${child.pid}`),
    });
    child.kill('SIGCONT');
    child.stdin.end('\n');
    await once(child, 'close');
    await lock.acquire(10_000);
  } finally {
    child.kill('SIGKILL');
    lock.close();
  }
});
