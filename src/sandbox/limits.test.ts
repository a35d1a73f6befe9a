import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { EnforcementError } from '../base/errors.ts';
import { newRunId } from '../base/ids.ts';
import { defaultLimits, type Limits } from '../policy/limits.ts';
import type { CgroupBackend } from './cgroup.ts';
import { findCgroups } from './cgroup-find.ts';
import {
  type AppliedLimits,
  applyLimits,
  type LimitHit,
  type LimitHost,
  planLimits,
  removeStale,
  scopeCommand,
} from './limits.ts';
import { OWN_PROCESSES } from './limits-plan.ts';

const MiB = 1024 * 1024;
const bare: LimitHost = { proc: '/proc', cgroups: null, kernel: '6.1.0-13-amd64', processors: 2, userSystemd: false };
const backend = findCgroups();
const grouped: LimitHost = { ...bare, cgroups: backend };

const applied: AppliedLimits[] = [];
const children: ChildProcess[] = [];
afterEach(async () => {
  for (const limits of applied.splice(0)) {
    await limits.killAll();
    await limits.remove();
  }
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** Holds so many MiB of its own memory until it is killed: tail keeps what may be the last bytes. */
const hold = (size: number) => `(head -c ${size}m /dev/zero; sleep 1000) | tail -c ${size}m`;

/** A shell that waits, is put under limits, and only then runs `script`. */
async function under(limits: Partial<Limits>, host: LimitHost, script: string) {
  const plan = await planLimits({ ...defaultLimits, ...limits }, host);
  const runId = newRunId(Date.now());
  const run = await applyLimits(plan, runId, host);
  applied.push(run);
  const child = spawn('/bin/sh', ['-c', `read go; ${script}`], { stdio: ['pipe', 'ignore', 'ignore'] });
  children.push(child);
  run.addProcess(child.pid as number);
  const exit = once(child, 'exit') as Promise<[number | null, string | null]>;
  const hit = new Promise<LimitHit>((resolve) => run.watch(resolve));
  child.stdin?.write('\n');
  return { run, runId, exit, hit };
}

describe('planLimits', () => {
  test('without control groups every limit has a named fallback', async () => {
    const plan = await planLimits({ ...defaultLimits, cpus: 1.5, openFiles: 256 }, bare);
    expect(plan.cgroups).toBeNull();
    expect(plan.tmpfs).toBe(`size=${defaultLimits.disk},nr_inodes=${defaultLimits.inodes}`);
    expect(plan.rlimits).toEqual([
      { name: 'RLIMIT_CORE', resource: 4, soft: 0, hard: 0 },
      { name: 'RLIMIT_NOFILE', resource: 7, soft: 256, hard: 256 },
      { name: 'RLIMIT_FSIZE', resource: 1, soft: defaultLimits.disk, hard: defaultLimits.disk },
      { name: 'RLIMIT_DATA', resource: 2, soft: defaultLimits.memory, hard: defaultLimits.memory },
      {
        name: 'RLIMIT_NPROC',
        resource: 6,
        soft: defaultLimits.pids + 1,
        hard: defaultLimits.pids + 1,
      },
    ]);
    expect(plan.affinity?.length).toBeGreaterThan(0);
    expect(plan.controls.map((c) => [c.name, c.state])).toEqual([
      ['limit.memory', 'fallback'],
      ['limit.cpu', 'fallback'],
      ['limit.pids', 'fallback'],
      ['limit.open_files', 'enforced'],
      ['limit.disk', 'enforced'],
      ['limit.inodes', 'enforced'],
      ['limit.wall_clock', 'enforced'],
    ]);
    for (const control of plan.controls) {
      expect(control.mechanism).not.toBe('');
      if (control.state === 'fallback') expect(control.remedy).toContain('systemd-run');
    }
  });

  test('with control groups they are used, and no per-process substitute', async () => {
    const cgroups = {
      controllers: new Set(['memory', 'pids', 'cpu']),
      mechanism: { memory: 'm', pids: 'p', cpu: 'c' },
    };
    const plan = await planLimits(defaultLimits, { ...bare, cgroups: cgroups as unknown as CgroupBackend });
    expect(plan.rlimits.map((r) => r.name)).toEqual(['RLIMIT_CORE', 'RLIMIT_NOFILE', 'RLIMIT_FSIZE']);
    expect(plan.affinity).toBeNull();
    expect(plan.controls.slice(0, 3).map((c) => `${c.state} ${c.mechanism}`)).toEqual([
      'enforced m',
      'enforced c',
      'enforced p',
    ]);
  });

  test('a limit that nothing enforces stops the run', async () => {
    const old = { ...bare, kernel: '5.10.0' };
    await expect(planLimits(defaultLimits, old)).rejects.toThrow(EnforcementError);
    await expect(planLimits(defaultLimits, old)).rejects.toMatchObject({
      control: 'limit.pids',
      remedy: expect.any(String),
    });
  });

  test('systemd is asked only where it helps', () => {
    expect(scopeCommand(bare)).toBeNull();
    expect(scopeCommand({ ...bare, userSystemd: true })).toContain('--property=Delegate=yes');
  });
});

describe('without control groups', () => {
  test('the memory of all processes is sampled, and what exceeds it is killed, children of children too', async () => {
    const script = `(${hold(96)} & wait) ; sleep 1000`;
    const { run, exit, hit } = await under({ memory: 32 * MiB, pids: 64 }, bare, script);
    expect(await hit).toMatchObject({ limit: 'memory', stopped: true });
    expect((await exit)[1]).toBe('SIGKILL');
    expect(run.read().memoryPeak).toBeGreaterThan(32 * MiB);
  });

  test('a full disk is told once for bytes and once for files', async () => {
    const run = await applyLimits(await planLimits(defaultLimits, bare), newRunId(Date.now()), bare);
    applied.push(run);
    const hits: LimitHit[] = [];
    run.watch((hit) => hits.push(hit));
    run.check();
    expect(hits).toEqual([]);
    run.observeDisk('/proc'); // a file system with nothing free
    run.check();
    run.check();
    expect(hits.map((hit) => [hit.limit, hit.stopped])).toEqual([
      ['disk', false],
      ['inodes', false],
    ]);
    run.observeDisk('/none');
    run.check();
  });

  test('killAll ends descendants', async () => {
    const { run, exit } = await under({ pids: 64 }, bare, 'sleep 1000 & sleep 1000');
    await run.killAll();
    expect((await exit)[1]).toBe('SIGKILL');
  });
});

const why = backend === null ? 'no control group is writable by this user' : '';
describe.skipIf(backend === null)(`with control groups of this machine (${why || backend?.version})`, () => {
  test('forks beyond the limit are refused and told', async () => {
    const { run, hit } = await under(
      { pids: 2 },
      grouped,
      'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; wait',
    );
    expect(await hit).toMatchObject({ limit: 'pids', stopped: false });
    const usage = run.read();
    expect(usage.pids).toBeLessThanOrEqual(2 + OWN_PROCESSES);
    expect(usage.pidsDenied).toBeGreaterThan(0);
  });

  test('memory of processes beyond the limit stops them, though the hard limit leaves room for files', async () => {
    const { exit, hit } = await under({ memory: 32 * MiB, disk: 512 * MiB }, grouped, `${hold(96)} & wait; sleep 1000`);
    expect(await hit).toMatchObject({ limit: 'memory', stopped: true });
    expect((await exit)[1]).toBe('SIGKILL');
  });

  test('memory beyond memory and disk together is the kernel’s to stop, and is found out at once', async () => {
    const { run, exit, hit } = await under({ memory: 16 * MiB, disk: 4 * MiB }, grouped, `${hold(300)}; sleep 1000`);
    expect(await hit).toMatchObject({ limit: 'memory', stopped: true });
    expect((await exit)[1]).toBe('SIGKILL');
    const usage = run.read();
    expect(usage.memoryPeak).toBeGreaterThan(16 * MiB);
    expect(usage.memoryPeak).toBeLessThan(40 * MiB);
  });

  test('killAll outruns a fork bomb, setsid children included; then the group is removed', async () => {
    const { run, runId, exit } = await under({ pids: 100 }, grouped, 'while :; do setsid sleep 1000 & done');
    while (run.read().pidsDenied === 0) await new Promise((resolve) => setImmediate(resolve));
    await run.killAll();
    await exit;
    expect(backend?.open(`${runId}.${process.pid}`).processes()).toEqual([]);
    await run.remove();
    await run.remove();
    expect(backend?.names().filter((name) => name.startsWith(runId))).toEqual([]);
  });

  test('a process that enters by itself is inside, and so is what it starts', async () => {
    const run = await applyLimits(await planLimits(defaultLimits, grouped), newRunId(Date.now()));
    applied.push(run);
    const enter = run.entry.map((file) => `echo 0 > ${file};`).join(' ');
    const child = spawn('/bin/sh', ['-c', `${enter} sleep 1000 & echo; wait`], { stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(child);
    await once(child.stdout, 'data');
    run.addProcess(child.pid as number);
    const exit = once(child, 'exit');
    expect(run.read().pids).toBe(run.entry.length === 0 ? 1 : 2);
    await run.killAll();
    expect((await exit)[1]).toBe('SIGKILL');
  });

  test('a dead owner’s group is ended and removed, a living one’s is not', async () => {
    const dead = await under({}, grouped, 'sleep 1000');
    const alive = await under({}, grouped, 'sleep 1000');
    const removed = await removeStale((runId) => runId !== dead.runId, backend);
    expect(removed.filter((name) => name.startsWith(dead.runId))).toHaveLength(1);
    expect((await dead.exit)[1]).toBe('SIGKILL');
    expect(alive.run.read().pids).toBeGreaterThan(0);
    expect(backend?.names().some((name) => name.startsWith(alive.runId))).toBe(true);
  });

  test('a name that is no name of a run makes no group', async () => {
    const plan = await planLimits(defaultLimits, grouped);
    for (const name of ['../x', '', 'a/b', '.', 'x'.repeat(65)])
      await expect(applyLimits(plan, name)).rejects.toThrow(TypeError);
    expect(existsSync('/sys/fs/cgroup/x')).toBe(false);
  });
});
