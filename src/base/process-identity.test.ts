import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { currentProcess, isAlive } from './process-identity.ts';

test('this process is alive; the same id with another start or on another boot is not', () => {
  const me = currentProcess();
  expect(isAlive(me)).toBe(true);
  expect(isAlive({ ...me, startTime: '1' })).toBe(false);
  expect(isAlive({ ...me, bootId: '00000000-0000-0000-0000-000000000000' })).toBe(false);
});

test('a killed process is not alive, even before its parent has waited for it', async () => {
  const child = spawn(
    process.execPath,
    [
      '-e',
      `const fs=require('node:fs');const s=fs.readFileSync('/proc/self/stat','latin1');
       console.log(s.slice(s.lastIndexOf(')')+2).split(' ')[19]);setInterval(()=>{},1000)`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const identity = { ...currentProcess(), pid: child.pid as number, startTime: line };
  expect(isAlive(identity)).toBe(true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(isAlive(identity)).toBe(false);
});
