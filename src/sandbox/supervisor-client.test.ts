import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Supervisor } from './supervisor-client.ts';

describe('the thread is at its end when the process ends', () => {
  test.each([0, 20, 60, 120, 400])('stopped %i ms after it was started', async (after) => {
    const supervisor = new Supervisor(null);
    await sleep(after);
    expect(supervisor.stop()).toBe(true);
    expect(supervisor.stop()).toBe(true); // and again, by the end of this process
  });

  test.each([0, 50, 100, 150])('the exit code is the process’s own, %i ms after the start', (after) => {
    const script = `
      import { supervisorThread } from ${JSON.stringify(new URL('supervisor-client.ts', import.meta.url).href)};
      supervisorThread();
      setTimeout(() => process.exit(6), ${after});`;
    const { status, signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect({ status, signal, stderr }).toEqual({ status: 6, signal: null, stderr: '' });
  });
});
