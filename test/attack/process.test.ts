/** Attacks on other processes: of the host, of other runs, process 1 and the trusted side. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { bubblewrap } from '../../src/sandbox/drivers/bubblewrap.ts';
import { type Cage, finish, guestEnv, helpers, SandboxScene } from '../fakes/sandbox-scene.ts';
import { inCage, onHost, perl, standing } from './guest.ts';
import { findNamed, findProcesses, statusField, until } from './host.ts';

const scene = new SandboxScene(bubblewrap);
afterEach(() => scene.close());
afterAll(() => scene.dispose());

/** A trusted step in a fresh view of the sandbox still works, and nothing of the agent is left beside it. */
async function trustedStepWorks(cage: Cage): Promise<void> {
  await cage.sandbox.quiesce();
  const trusted = await cage.sandbox.sibling({ kind: 'usr' });
  const { out, exit } = await finish(await trusted.exec({ argv: ['/bin/sh', '-c', 'echo fine'], env: guestEnv }));
  expect({ out, exit }).toEqual({ out: 'fine\n', exit: { kind: 'exited', code: 0 } });
}

describe('processes of the host', () => {
  test('are not signalled, whatever number is tried', async () => {
    const victim = spawn('/bin/sleep', ['1000'], process.geteuid?.() === 0 ? { uid: 1_900_000_000 } : {});
    const code = `kill 'KILL', $_ for grep { $_ != $$ } 2 .. ${(victim.pid as number) + 5}; S('pidfd_send_signal', S('pidfd_open', ${victim.pid}, 0), 9, 0, 0)`;
    const cage = await scene.create();
    await cage.run(...perl(code));
    expect(statusField(victim.pid as number, 'State')).toMatch(/^[SDR]/);
    // The control: the same user outside ends it.
    await onHost(perl(`kill 'KILL', ${victim.pid}; say 'ready'`), { user: true });
    await until('the victim ends outside', () => victim.signalCode === 'SIGKILL');
  });

  test('are not traced, read or written', async () => {
    const victim = spawn('/bin/sleep', ['1000'], process.geteuid?.() === 0 ? { uid: 1_900_000_000 } : {});
    const cage = await scene.create();
    const attack = (pid: string) =>
      `S('ptrace', 16, ${pid}, 0, 0); S('ptrace', 0x4206, ${pid}, 0, 0); select undef, undef, undef, 0.05;`;
    await inCage(cage, standing(attack(String(victim.pid)), 'tracer'));
    expect(statusField(victim.pid as number, 'TracerPid')).toBe('0');
    victim.kill('SIGKILL');
  });
});

describe('processes inside', () => {
  test('one guest process does not trace another, though it is its child', async () => {
    // By a name of this process: others may stand on this machine that somebody else's tests left there.
    const named = (what: string) => `${what}-${process.pid}.`;
    const code = (marker: string) =>
      `my $c = fork; if (!$c) { $0 = '${named(marker)}'; sleep 1000 } select undef, undef, undef, 0.1; S('ptrace', 0x4206, $c, 0, 0)`;
    const child = async (marker: string) => {
      await until('the child has its name', () => findNamed(named(marker)).length === 1);
      return findNamed(named(marker)).map(({ pid }) => statusField(pid, 'TracerPid'));
    };
    await onHost(standing(code('traced-outside'), named('tracer-outside')));
    expect(await child('traced-outside'), 'outside it works').toMatchObject([expect.stringMatching(/^[1-9]/)]);
    for (const what of ['tracer-outside', 'traced-outside'])
      for (const { pid } of findNamed(named(what))) process.kill(pid, 'SIGKILL');
    const cage = await scene.create();
    await inCage(cage, standing(code('traced-inside'), named('tracer-inside')));
    expect(await child('traced-inside')).toEqual(['0']);
  });

  test('process 1 does not die, stop or change by any signal', async () => {
    const cage = await scene.create();
    await cage.run(
      ...perl(
        "for my $s (1 .. 64) { kill $s, 1; S('tgkill', 1, 1, $s); S('rt_sigqueueinfo', 1, $s, my $i = chr(0) x 128) } S('pidfd_send_signal', S('pidfd_open', 1, 0), 9, 0, 0)",
      ),
    );
    await trustedStepWorks(cage);
  });

  test('process 1 cannot be starved of limits, priority or processors for a trusted step', async () => {
    const cage = await scene.create();
    await cage.run(
      ...perl(
        "S('setpriority', 0, 1, 19); S('sched_setscheduler', 1, 5, my $p = pack('L', 0)); S('sched_setaffinity', 1, 8, my $m = pack('Q', 1)); S('ioprio_set', 1, 1, 3 << 13); for my $r (0 .. 15) { S('prlimit64', 1, $r, my $z = pack('QQ', 0, 0), 0) }",
      ),
    );
    await trustedStepWorks(cage);
  });

  test('thousands of zombies and dead children are swept away', async () => {
    const cage = await scene.create();
    await cage.run(
      ...perl(
        "for (1 .. 3000) { my $p = fork; if (defined $p && !$p) { S('exit', 0) } last unless defined $p; } if (!fork) { if (!fork) { exit } exit }",
      ),
    );
    await trustedStepWorks(cage);
  });

  test('thousands of orphans that end at once do not drown process 1', async () => {
    const cage = await scene.create();
    await cage.run(
      ...perl(
        'for (1 .. 30) { for (1 .. 60) { my $p = fork; last unless defined $p; if (!$p) { if (!fork) { exit 1 } exit } } 1 while wait != -1 }',
      ),
    );
    await trustedStepWorks(cage);
  });
});

describe('what is left behind', () => {
  const STAYER = `stayer-${process.pid}`;
  const STAY: Record<string, string> = {
    'a daemon with its own session': `if (!fork) { S('setsid'); if (!fork) { $0 = '${STAYER}'; close STDOUT; close STDERR; sleep 1000 } exit } wait`,
    'one that ignores what can be ignored': `if (!fork) { $0 = '${STAYER}'; $SIG{$_} = 'IGNORE' for grep { !/KILL|STOP|NUM|RT/ } keys %SIG; close STDOUT; close STDERR; sleep 1 while 1 }`,
    'one that is stopped': `if (!fork) { $0 = '${STAYER}'; close STDOUT; close STDERR; kill 'STOP', $$ }`,
    'a subreaper with children': `S('prctl', 36, 1, 0, 0, 0); for (1 .. 3) { if (!fork) { if (!fork) { $0 = '${STAYER}'; close STDOUT; close STDERR; sleep 1000 } exit } } wait for 1 .. 3; if (!fork) { $0 = '${STAYER}'; close STDOUT; close STDERR; sleep 1000 }`,
    'one that forks away from every kill': `if (!fork) { close STDOUT; close STDERR; $0 = '${STAYER}'; $SIG{CHLD} = 'IGNORE'; while (1) { my $p = fork; if (defined $p && $p) { exit } select undef, undef, undef, 0.001 } }`,
    'a child of vfork': `my $p = S('vfork'); if ($p == 0) { exec { '/usr/bin/sleep' } '${STAYER}', '1000' }`,
  };
  for (const [name, code] of Object.entries(STAY)) {
    test(`${name} is gone after quiesce and after destroy`, async () => {
      for (const way of ['quiesce', 'destroy'] as const) {
        const cage = await scene.create();
        const execution = await cage.sandbox.exec({
          argv: perl(`${code}; select undef, undef, undef, 0.05`),
          env: guestEnv,
        });
        execution.stdout.resume();
        execution.stderr.resume();
        await until('it stays', () => findNamed(STAYER).length > 0);
        await cage.sandbox[way]();
        expect(findProcesses(STAYER)).toEqual([]);
      }
    });
  }

  test('a fork bomb stops at its limit, is ended, and nothing of it is left', async () => {
    const cage = await scene.create();
    const name = `bomb-${process.pid}`;
    const execution = await cage.sandbox.exec({
      argv: perl(`$0 = '${name}'; close STDOUT; close STDERR; 1 while defined fork; sleep 1000`),
      env: guestEnv,
    });
    execution.stdout.resume();
    execution.stderr.resume();
    await until('it has grown', () => findProcesses(name).length > 60);
    expect(findProcesses(name).length).toBeLessThanOrEqual(140);
    await trustedStepWorks(cage);
    await cage.end();
    expect(findProcesses(name)).toEqual([]);
    expect(helpers()).toEqual([]);
  });

  test('the death of the trusted side ends everything inside, daemons too', async () => {
    const name = `orphan-${process.pid}`;
    const source = new URL('../../src/', import.meta.url).href;
    const script = `
      import { bubblewrap } from '${source}sandbox/drivers/bubblewrap.ts';
      import { defaultLimits } from '${source}policy/limits.ts';
      import { mkdtempSync } from 'node:fs';
      const sandbox = await bubblewrap.create({ runId: 'attack-${process.pid}', runDir: mkdtempSync('${scene.root}/r-'), workspace: { kind: 'empty' }, toolbox: { kind: 'usr' }, limits: defaultLimits });
      const run = await sandbox.exec({ argv: ['/usr/bin/perl', '-e', "if (!fork) { setpgrp; if (!fork) { $0 = 'orphan-' . ${process.pid}; sleep 1000 } exit } sleep 1000"], env: {} });
      setInterval(() => {}, 1000);
    `;
    const file = `${scene.root}/trusted.ts`;
    writeFileSync(file, script);
    const trusted = spawn(process.execPath, [file], { stdio: 'inherit' });
    await until('the guest is up', () => findProcesses(name).length === 1);
    trusted.kill('SIGKILL');
    await until('the guest is gone', () => findProcesses(name).length === 0);
    const { removeStale } = await import('../../src/sandbox/limits.ts');
    await removeStale(() => true);
  });
});

describe('the terminal', () => {
  test('a guest has none: no descriptor, no session, no /dev/tty of ours', async () => {
    const cage = await scene.create();
    const execution = await inCage(
      cage,
      standing("open my $t, '+<', '/dev/tty'; S('ioctl', 0, 0x5412, my $c = 'x')", 'no-terminal'),
    );
    const [guest] = findProcesses('no-terminal');
    const stat = readFileSync(`/proc/${guest?.pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    expect(fields[4], 'controlling terminal').toBe('0');
    expect(fields[3], 'a session of its own').toBe(String(guest?.pid));
    execution.kill();
    await execution.exit;
  });

  test('characters cannot be put into a terminal (TIOCSTI), even its own', async () => {
    // A pty of the guest's own: what is pushed back can be read from it by whoever holds its end.
    const code =
      "open my $m, '+<', '/dev/ptmx' or die; S('ioctl', fileno($m), 0x40045431, my $z = pack('L', 0)); S('ioctl', fileno($m), 0x80045430, my $n = pack('L', 0)); my $pts = '/dev/pts/' . unpack('L', $n); S('setsid'); open my $s, '+<', $pts or die; S('ioctl', fileno($s), 0x540e, 0); S('ioctl', fileno($s), 0x5412, my $c = 'q'); S('ioctl', fileno($s), 0x5412, my $l = chr 10); S('ioctl', fileno($s), 0x541b, my $w = pack('L', 0)); open my $o, '>', $ARGV[0]; print $o unpack('L', $w), \"\\n\"; close $o; say 'ready'";
    const cage = await scene.create();
    await finish(await cage.sandbox.exec({ argv: [...perl(code), '/workspace/pushed'], env: guestEnv }));
    await cage.sandbox.quiesce();
    expect((await cage.sandbox.copyOut('pushed', 10)).toString()).toBe('0\n');
    expect(existsSync('/workspace/pushed')).toBe(false);
  });
});
