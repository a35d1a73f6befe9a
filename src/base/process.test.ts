import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { runProgram } from './process.ts';

const dir = mkdtempSync(join(tmpdir(), 'cordon-process-'));
afterAll(() => rmSync(dir, { recursive: true }));

/** A shell that starts another program, writes down the process id of that, and waits for it. */
const family = (file: string) => ['-c', `sleep 1000 & echo $! > ${file}.new; mv ${file}.new ${file}; wait; echo done`];
const written = (file: string) => vi.waitFor(() => Number(readFileSync(file, 'utf8')), 30_000);

function lives(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

const gone = (pid: number) => vi.waitFor(() => expect(lives(pid)).toBe(false), 30_000);

test('one that is aborted ends with all that it started, and so does one that takes too long', async () => {
  const [a, b] = [join(dir, 'aborted'), join(dir, 'late')];
  const over = new AbortController();
  const aborted = expect(runProgram('sh', family(a), { signal: over.signal })).rejects.toThrow('not wanted any more');
  const child = await written(a);
  over.abort();
  await aborted;
  await gone(child);
  await expect(runProgram('sh', family(b), { timeout: 1_000 })).rejects.toThrow('took longer than 1000 ms');
  if (existsSync(b)) await gone(Number(readFileSync(b, 'utf8')));
  await expect(runProgram('true', [], { signal: over.signal })).rejects.toThrow('not wanted any more');
  await expect(runProgram('/nonexistent', [])).rejects.toThrow('could not be run');
});

test('one that is aborted may tidy up, and one that does not end then is ended', async () => {
  const [started, tidied, deaf] = [join(dir, 'started'), join(dir, 'tidied'), join(dir, 'deaf')];
  const over = new AbortController();
  const tidy = `trap 'echo 1 > ${tidied}; exit' TERM; echo 1 > ${started}; while :; do sleep 0.01; done`;
  const [, ignores] = family(deaf);
  const both = Promise.allSettled([
    runProgram('sh', ['-c', tidy], { signal: over.signal }),
    runProgram('sh', ['-c', `trap '' TERM; ${ignores}`], { signal: over.signal }),
  ]);
  await written(started);
  const child = await written(deaf);
  over.abort();
  expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(existsSync(tidied)).toBe(true);
  await gone(child);
});

test('a signal for the group of this process does not reach it; the end of this process does', async () => {
  const [file, script] = [join(dir, 'grandchild'), join(dir, 'caller.ts')];
  const program = JSON.stringify(join(import.meta.dirname, 'process.ts'));
  writeFileSync(
    script,
    `import { runProgram } from ${program};
let signals = 0;
process.on('SIGINT', () => (++signals === 2 ? process.exit(130) : console.log('heard')));
await runProgram('sh', ${JSON.stringify(family(file))});
`,
  );
  const caller = spawn(process.execPath, [script], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = new Promise((resolve) => caller.once('exit', resolve));
  const child = await written(file);
  const heard = new Promise((resolve) => caller.stdout.once('data', resolve));
  process.kill(-(caller.pid as number), 'SIGINT');
  await heard;
  expect(lives(child)).toBe(true);
  process.kill(-(caller.pid as number), 'SIGINT');
  expect(await exit).toBe(130);
  await gone(child);
});
