import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { keyed, single } from './cgroup.ts';
import { cgroupMounts } from './cgroup-find.ts';
import { cgroupV1 } from './cgroup-v1.ts';
import { cgroupV2 } from './cgroup-v2.ts';

let root = '';
const file = (...parts: string[]) => join(root, ...parts);
const content = (...parts: string[]) => readFileSync(file(...parts), 'utf8');
const settings = { memory: 1 << 30, pids: 64, cpus: 1.5 };

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cgroup-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** A folder that looks like a group; what the kernel would put into new ones is not there. */
function group(path: string, more: Record<string, string> = {}): void {
  mkdirSync(file(path), { recursive: true });
  const files = {
    'cgroup.procs': '',
    'cgroup.subtree_control': '',
    'cgroup.controllers': 'cpuset cpu io memory pids\n',
    ...more,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(file(path, name), text);
}

describe('version 2', () => {
  test('root of the tree: groups below it, nobody moved', () => {
    group('');
    const backend = cgroupV2(root, '/', 42);
    expect([...(backend?.controllers ?? [])]).toEqual(['memory', 'pids', 'cpu']);
    backend?.create('run.1', settings).add(77);
    expect(content('cgroup.subtree_control')).toBe('+memory +pids +cpu');
    expect(content('cordon', 'cgroup.subtree_control')).toBe('+memory +pids +cpu');
    expect(content('cordon/run.1', 'memory.max')).toBe(String(1 << 30));
    expect(content('cordon/run.1', 'pids.max')).toBe('64');
    expect(content('cordon/run.1', 'cpu.max')).toBe('150000 100000');
    expect(content('cordon/run.1', 'cgroup.procs')).toBe('77');
    expect(backend?.names()).toEqual(['run.1']);
    expect(existsSync(file('cordon-host'))).toBe(false);
  });

  test('a delegated group of our own: this process moves into a leaf first', () => {
    group('', { 'cgroup.type': 'domain' });
    group('user/cordon.scope', { 'cgroup.procs': '42\n' });
    const backend = cgroupV2(root, '/user/cordon.scope', 42);
    backend?.create('run.1', settings);
    expect(content('user/cordon.scope/cordon-host', 'cgroup.procs')).toBe('42');
    expect(content('user/cordon.scope/cordon/run.1', 'pids.max')).toBe('64');
    group('user/cordon.scope/cordon-host', { 'cgroup.procs': '42\n' });
    const again = cgroupV2(root, '/user/cordon.scope/cordon-host', 42);
    again?.create('run.2', settings);
    expect(again?.names().sort()).toEqual(['run.1', 'run.2']);
  });

  test('not usable: others in our group, no controllers, none of ours', () => {
    group('', { 'cgroup.type': 'domain' });
    group('session.scope', { 'cgroup.procs': '7\n42\n' });
    expect(cgroupV2(root, '/session.scope', 42)).toBeNull();
    group('bare.scope', { 'cgroup.controllers': '\n' });
    expect(cgroupV2(root, '/bare.scope', 42)).toBeNull();
    expect(cgroupV2(root, '/none.scope', 42)).toBeNull();
    expect(cgroupV2(root, null, 42)).toBeNull();
  });

  test('settings that only some kernels have are written where they are, and usage is read', () => {
    group('');
    const backend = cgroupV2(root, '/', 42);
    const made = backend?.create('run.1', settings);
    const files = {
      'memory.current': '1000\n',
      'memory.peak': '2000\n',
      'memory.stat': 'anon 300\nfile 5\nshmem 40\nanon_thp 9\n',
      'memory.events': 'low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n',
      'pids.current': '4\n',
      'pids.events': 'max 6\n',
      'cpu.stat': 'usage_usec 1234567\nuser_usec 1\n',
      'cgroup.procs': '',
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(file('cordon/run.1', name), text);
    const usage = {
      memory: 1000,
      memoryPeak: 2000,
      anonymous: 300,
      shared: 40,
      pids: 4,
      cpuMs: 1235,
      oomKills: 2,
      pidsDenied: 6,
    };
    expect(made?.read()).toEqual(usage);
    expect(existsSync(file('cordon/run.1', 'memory.swap.max'))).toBe(false);
  });

  test('killing refuses new processes first and uses cgroup.kill where there is one', async () => {
    group('');
    const made = cgroupV2(root, '/', 42)?.create('run.1', settings);
    writeFileSync(file('cordon/run.1', 'cgroup.kill'), '');
    await made?.killAll();
    expect(content('cordon/run.1', 'cgroup.kill')).toBe('1');
    expect(content('cordon/run.1', 'pids.max')).toBe('0');
  });
});

describe('version 1', () => {
  const mount = (...controllers: string[]) => {
    group(controllers.join(','));
    return { path: file(controllers.join(',')), version: 'v1' as const, controllers };
  };

  test('one folder in each hierarchy, cpu and cpuacct together once', () => {
    const backend = cgroupV1([mount('memory'), mount('pids'), mount('cpu', 'cpuacct'), mount('devices')]);
    backend?.create('run.1', settings).add(77);
    expect(content('memory/cordon/run.1', 'memory.limit_in_bytes')).toBe(String(1 << 30));
    expect(content('pids/cordon/run.1', 'pids.max')).toBe('64');
    expect(content('cpu,cpuacct/cordon/run.1', 'cpu.cfs_quota_us')).toBe('150000');
    for (const hierarchy of ['memory', 'pids', 'cpu,cpuacct'])
      expect(content(hierarchy, 'cordon/run.1/cgroup.procs')).toBe('77');
    expect(readdirSync(file('devices'))).not.toContain('cordon');
    expect(backend?.names()).toEqual(['run.1']);
  });

  test('a hierarchy that is missing is left to its fallback', () => {
    const backend = cgroupV1([mount('pids')]);
    expect([...(backend?.controllers ?? [])]).toEqual(['pids']);
    expect(cgroupV1([])).toBeNull();
  });

  test('a group that exists already is not taken over, and nothing is left behind', () => {
    const backend = cgroupV1([mount('memory'), mount('pids')]);
    mkdirSync(file('pids/cordon/run.1'), { recursive: true });
    expect(() => backend?.create('run.1', settings)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(existsSync(file('memory/cordon/run.1'))).toBe(false);
  });
});

test('mounts of both versions, with odd paths', () => {
  writeFileSync(
    file('mountinfo'),
    [
      '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory',
      '41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate',
      '23 1 8:1 / / rw - ext4 /dev/sda1 rw',
      '',
    ].join('\n'),
  );
  expect(cgroupMounts(file('mountinfo'))).toEqual([
    { path: '/sys/fs/cgroup/memory', version: 'v1', controllers: ['rw', 'memory'] },
    { path: '/sys/fs/cgroup/uni fied', version: 'v2', controllers: [] },
  ]);
  expect(cgroupMounts(file('none'))).toEqual([]);
});

test('numbers of the kernel’s files', () => {
  expect(keyed('oom 3\noom_kill 2\n', 'oom_kill')).toBe(2);
  expect(keyed('oom_kill 2', 'oom')).toBe(0);
  expect(keyed('max 7\n', 'max')).toBe(7);
  writeFileSync(file('n'), 'max\n');
  expect([single(file('n')), single(file('none'))]).toEqual([0, 0]);
});
