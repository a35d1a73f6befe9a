/**
 * The same boundary when an ordinary user runs Cordon: no root to make anything with, and the guest's user is the
 * user's own. Started as root, the test takes a user that nobody is.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Installation, Project } from '../fakes/project.ts';
import { Canary, perl } from './guest.ts';
import { findNamed, findProcesses, kernelState, statusField, until } from './host.ts';

const cordon = join(import.meta.dirname, '../../cordon');
const uid = process.geteuid?.() === 0 ? 54_321 : null;
const installation = new Installation(uid);
const canary = new Canary();
let project: Project;

beforeAll(() => {
  project = new Project(join(installation.root, 'project')).write('a', 'x\n').commit();
  if (uid !== null) execFileSync('chown', ['-R', `${uid}:${uid}`, installation.root]);
});
afterAll(() => {
  installation.dispose();
  canary.dispose();
});

/** Not the trusted side, whose own command line tells what the guest is to do. */
const inside = (name: string) => findProcesses(name).filter(({ pids }) => pids.length > 1);

const quoted = (argv: readonly string[]) => argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');

test('a run delivers, and every required control is in force or has its fallback', () => {
  const { status, result, stderr } = installation.run(project, 'echo changed > a');
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(project.git('show', `${result.branch}:a`)).toBe('changed');
  const shown = installation.cordon('audit', 'show', '--run', result.runId, '--json').stdout;
  for (const control of ['namespaces', 'seccomp', 'exec-recorder', 'limit.memory', 'limit.pids'])
    expect(shown).toContain(`"${control}"`);
  expect(shown).not.toContain('"state":"missing"');
});

describe('from inside', () => {
  test('nothing of the user is there: files, processes, environment', () => {
    const secret = join(installation.root, 'own-secret');
    execFileSync('/bin/sh', ['-c', `echo ${canary.secret} > ${secret}; chown ${uid ?? process.geteuid?.()} ${secret}`]);
    const { result } = installation.run(
      project,
      `for f in ${secret} ${canary.file} ${installation.home}/keys/audit.key; do cat $f /proc/1/root$f /proc/self/root$f; echo pwned > $f; done > found 2>/dev/null; env >> found; ls /home /root ${installation.root} >> found 2>/dev/null; cat /proc/[0-9]*/environ >> found; true`,
    );
    expect(result.status).toBe('succeeded');
    const found = project.git('show', `${result.branch}:found`);
    expect(found).not.toContain(canary.secret);
    expect(found).not.toMatch(/CORDON_HOME|audit\.key|pwned/);
    expect(execFileSync('cat', [secret]).toString().trim()).toBe(canary.secret);
  });

  test('a guest has no capability, a filter, namespaces of its own, and what it leaves is ended', async () => {
    const name = `ordinary-${process.pid}`;
    const running = installation.start(
      project,
      // The one that is looked at stands until it is told to go; the one that it leaves does not hear that.
      `${quoted(perl(`$0 = '${name}'; $SIG{USR1} = 'IGNORE'; if (!fork) { S('setsid'); sleep 1000 } $SIG{USR1} = sub { exit 0 }; print STDERR 'it stands', chr 10; sleep 1 while 1`))}`,
    );
    await running.says('it stands');
    const [guest] = findNamed(name);
    const state = kernelState(guest?.pid ?? 0);
    expect(state).toMatchObject({ capabilities: Array(5).fill('0000000000000000'), noNewPrivileges: '1', filter: '2' });
    const own = kernelState(process.pid).namespaces;
    for (const [kind, namespace] of Object.entries(state.namespaces)) expect(namespace, kind).not.toBe(own[kind]);
    if (uid !== null) expect(statusField(guest?.pid ?? 0, 'Uid').split('\t')).toEqual(Array(4).fill(String(uid)));
    for (const { pid } of findNamed(name)) process.kill(pid, 'SIGUSR1');
    expect((await running.done).status).toBe(0);
    await until('all of it is gone', () => inside(name).length === 0);
    expect(installation.leftovers()).toEqual([]);
  });

  test('the doors of the kernel are shut', () => {
    const attack = perl(`
      my $bad = 0;
      $bad++ if S('unshare', 0x10000000) == 0;
      $bad++ if S('mount', my $a = 'x', my $b = '/tmp', my $c = 'tmpfs', 0, 0) == 0;
      for my $fd (S('io_uring_setup', 4, my $p = chr(0) x 256), S('memfd_create', my $n = 'x', 0), S('socket', 17, 3, 0), S('userfaultfd', 1)) { $bad++ if $fd >= 0 }
      open my $o, '>', 'opened'; print $o $bad; close $o
    `);
    const { result } = installation.run(project, quoted(attack));
    expect(project.git('show', `${result.branch}:opened`)).toBe('0');
  });

  test('processes that hide from others of their user (not dumpable) are recorded all the same', () => {
    const { result, status } = installation.run(
      project,
      `${quoted(perl("S('prctl', 4, 0, 0, 0, 0); if (!fork) { S('prctl', 4, 0, 0, 0, 0); exec '/usr/bin/printf', 'hidden' } wait; sleep 0"))}`,
      '--deliver',
      'none',
    );
    expect({ status, of: result.status }).toEqual({ status: 0, of: 'succeeded' });
    const commands = installation.cordon('runs', 'commands', result.runId, '--json').stdout;
    expect(commands).toMatch(/"printf","hidden"|printf.*hidden/);
  });

  test('a memory bomb and a fork bomb end the run, not the machine', () => {
    const memory = installation.run(
      project,
      quoted(perl("my @x; push @x, 'x' x (8 << 20) for 1 .. 200; sleep 5")),
      '--memory',
      '128m',
    );
    expect([1, 5]).toContain(memory.status);
    const forks = installation.run(
      project,
      quoted(perl('1 while defined fork; sleep 1')),
      '--pids',
      '40',
      '--timeout',
      '5s',
    );
    expect([0, 1, 5]).toContain(forks.status);
    expect(installation.leftovers()).toEqual([]);
  });
});

test.runIf(uid !== null)(
  'a program that may be executed and not read neither stops the recorder nor hides what follows',
  () => {
    const program = join(installation.root, 'unreadable');
    copyFileSync('/usr/bin/env', program);
    chmodSync(program, 0o711);
    chmodSync(installation.root, 0o755);
    const script = '/usr/bin/factor printf first; sleep 0.1; exec /usr/bin/factor printf second';
    const command = [cordon, 'run', '--json', '-w', project.dir, '--deliver', 'none', '--', 'sh', '-c', script];
    const become = ['setpriv', '--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--'];
    const { status, stdout, stderr } = spawnSync(
      '/usr/bin/unshare',
      ['-m', '--', '/bin/sh', '-c', `mount --bind ${program} /usr/bin/factor && exec "$@"`, 'x', ...become, ...command],
      { env: installation.env, cwd: installation.root, encoding: 'utf8' },
    );
    expect({ status, stderr }).toMatchObject({ status: 0 });
    const { runId } = JSON.parse(stdout) as { runId: string };
    const commands = installation.cordon('runs', 'commands', runId, '--json').stdout;
    expect(commands.match(/"\/usr\/bin\/factor"/g)?.length).toBeGreaterThanOrEqual(2);
    expect(
      commands.match(/"\/usr\/bin\/printf"/g)?.length,
      'what the unreadable program executes',
    ).toBeGreaterThanOrEqual(2);
  },
);

test('the checkout of Cordon itself was not written to', () => {
  const here = join(import.meta.dirname, '../..');
  if (uid === null) return;
  for (const name of readdirSync(here)) expect(statSync(join(here, name)).uid, name).not.toBe(uid);
});
