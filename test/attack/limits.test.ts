/** Attempts to take more of the machine than was given. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { bubblewrap } from '../../src/sandbox/drivers/bubblewrap.ts';
import { limitHost } from '../../src/sandbox/limits.ts';
import type { SandboxEvent } from '../../src/sandbox/sandbox.ts';
import { Installation, Project } from '../fakes/project.ts';
import { SandboxScene, smallLimits } from '../fakes/sandbox-scene.ts';
import { inCage, perl, standing } from './guest.ts';
import { descriptorsOf, findProcesses } from './host.ts';

const MiB = 1 << 20;
const scene = new SandboxScene(bubblewrap);
const grouped = limitHost().cgroups?.controllers.has('memory') ?? false;
afterEach(() => scene.close());
afterAll(() => scene.dispose());

type Hit = Extract<SandboxEvent, { type: 'limit' }>;

/** Which limits an attack hits in a small sandbox. */
async function hits(argv: readonly [string, ...string[]], limits = smallLimits): Promise<Hit[]> {
  const cage = await scene.create({ limits });
  await cage.run(...argv).catch(() => {});
  await cage.sandbox.quiesce().catch(() => {}); // its process 1 may have been the one the kernel chose
  return (await cage.end()).filter((event) => event.type === 'limit') as Hit[];
}

describe('memory', () => {
  const take = (mebibytes: number) =>
    perl(`my $x = 'x' x (${mebibytes} << 20); select undef, undef, undef, 0.5; say length $x`);

  test('of one process: within the limit it is given, beyond it everything is ended', async () => {
    expect(await hits(take(100))).toEqual([]);
    expect(await hits(take(800))).toMatchObject([{ limit: 'memory', stopped: true }]);
  });

  test('of many processes together', async () => {
    const found = await hits(
      perl("for (1 .. 12) { if (!fork) { my $x = 'x' x (60 << 20); sleep 30; exit } } 1 while wait != -1"),
    );
    expect(found).toMatchObject([{ limit: 'memory', stopped: true }]);
  });

  test.runIf(grouped)('in shared mappings, that no process counts as its own', async () => {
    const found = await hits(
      perl(
        "my $z = 'y' x (1 << 20); open my $f, '>', '/tmp/z'; print $f $z; close $f; open $f, '<', '/tmp/z'; for (1 .. 900) { my $a = S('mmap', 0, 1 << 20, 3, 0x21, -1, 0); S('pread64', fileno($f), $a, 1 << 20, 0) } sleep 2",
      ),
    );
    expect(found).toMatchObject([{ limit: 'memory', stopped: true }]);
  });

  test.runIf(grouped)('in System V segments, detached again', async () => {
    const found = await hits(
      perl(
        "open my $f, '<', '/dev/urandom'; for (1 .. 200) { my $i = S('shmget', 0, 8 << 20, 01600); my $a = S('shmat', $i, 0, 0); S('pread64', fileno($f), $a, 8 << 20, 0); S('shmdt', $a) } sleep 2",
      ),
    );
    expect(found).toMatchObject([{ limit: 'memory', stopped: true }]);
  });
});

describe('disk', () => {
  test('bytes, through every writable place together', async () => {
    const cage = await scene.create();
    await cage.run(
      '/bin/sh',
      '-c',
      'for d in /workspace /tmp /home/agent /dev/shm /var/tmp; do head -c 60M /dev/zero > $d/fill; done; true',
    );
    await cage.sandbox.quiesce();
    let written = 0;
    for await (const change of cage.sandbox.changes())
      written += change.path === 'fill' ? (await cage.sandbox.copyOut('fill', 100 * MiB)).length : 0;
    expect(written).toBeLessThanOrEqual(smallLimits.disk);
    expect((await cage.end()).filter((event) => event.type === 'limit')).toMatchObject([{ limit: 'disk' }]);
  });

  test('files and folders', async () => {
    const found = await hits(perl("mkdir '/tmp/n'; for (1 .. 30000) { open(my $f, '>', \"/tmp/n/$_\") or last }"), {
      ...smallLimits,
      inodes: 2000,
    });
    expect(found.map((hit) => hit.limit)).toContain('inodes');
  });

  test('a file that claims to be larger than the disk cannot be made', async () => {
    const cage = await scene.create();
    await cage.run(
      '/bin/sh',
      '-c',
      'cd /workspace; truncate -s 1T t; truncate -s 65M u; dd if=/dev/zero of=v bs=1 count=1 seek=1T; fallocate -l 1G w',
    );
    await cage.sandbox.quiesce();
    for (const name of ['t', 'u', 'v', 'w']) {
      const size = await cage.sandbox.copyOut(name, 2 ** 52).then(
        (bytes) => bytes.length,
        () => 0,
      );
      expect(size, name).toBe(0);
    }
  });
});

test('open files of one process', async () => {
  const cage = await scene.create({ limits: { ...smallLimits, openFiles: 64 } });
  await inCage(
    cage,
    standing(
      "S('prlimit64', 0, 7, my $l = pack('QQ', 4096, 4096), 0); my @f; for (1 .. 500) { open(my $f, '<', '/dev/null') or last; push @f, $f }",
      'opener',
    ),
  );
  expect(descriptorsOf(findProcesses('opener')[0]?.pid ?? 0).size).toBeLessThanOrEqual(64);
});

test.runIf(grouped)('a guest stands in the group of its run in every hierarchy, and cannot leave it', async () => {
  const cage = await scene.create();
  await inCage(
    cage,
    standing(
      "for my $g (glob '/sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs') { if (open my $f, '>', $g) { print $f $$ } } S('mkdir', my $d = '/tmp/cg', 0755); S('mount', my $a = 'x', $d, my $t = 'cgroup2', 0, 0)",
      'group-holder',
    ),
  );
  const [guest] = findProcesses('group-holder');
  const groups = readFileSync(`/proc/${guest?.pid}/cgroup`, 'utf8').split('\n');
  const limited = groups.filter((line) => /:(memory|pids|cpu)[:,]|^0::/.test(line) && line.includes(cage.sandbox.id));
  expect(limited.length, groups.join('\n')).toBeGreaterThanOrEqual(
    groups.some((line) => /:memory:/.test(line)) ? 3 : 1,
  );
});

describe('through a whole run', () => {
  const installation = new Installation();
  const project = new Project(join(installation.root, 'project')).write('a', 'x\n').commit();
  afterAll(() => installation.dispose());

  test('a program that never ends is stopped at the wall clock, with all it started', () => {
    const name = `spinner-${process.pid}`;
    const { status, result } = installation.run(
      project,
      `perl -e '$0 = "${name}"; fork; setpgrp; 1 while 1' & trap "" TERM; while :; do :; done`,
      '--timeout',
      '1s',
    );
    expect({ status, of: result.status }).toEqual({ status: 5, of: 'limit' });
    expect(result.stopReason).toContain('longer than');
    expect(findProcesses(name)).toEqual([]);
    expect(installation.leftovers()).toEqual([]);
  });

  test('a flood of output is kept within its bound', () => {
    const { status, result } = installation.run(
      project,
      'head -c 80M /dev/zero | tr "\\0" x; head -c 20M /dev/urandom >&2; echo done',
    );
    expect(status).toBe(0);
    const kept = sizeOf(join(installation.home, 'audit/content'));
    expect(result.usage.outputBytes).toBe(100 * MiB + 5);
    expect(kept).toBeLessThan(40 * MiB);
  });

  test('the log holds after all of it', () => expect(installation.verify()).toEqual([]));
});

function sizeOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}
