/**
 * What the kernel could be asked to do. Each attack runs twice: outside of any sandbox, where the state of its process
 * as seen from outside must change (else the attack proves nothing, and is skipped with that reason), and inside, where
 * it must not.
 */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bubblewrap } from '../../src/sandbox/drivers/bubblewrap.ts';
import { type Cage, SandboxScene } from '../fakes/sandbox-scene.ts';
import { arch, doors, inCage, onHost, perl, standing } from './guest.ts';
import { findProcesses, kernelState, mountsOf, read, statusField } from './host.ts';

const root = process.geteuid?.() === 0;
const scene = new SandboxScene(bubblewrap);
let cage: Cage;
let count = 0;

beforeAll(async () => {
  cage = await scene.create();
});
afterAll(async () => {
  await scene.close();
  scene.dispose();
});

type State = ReturnType<typeof kernelState>;

function states(token: string): State[] {
  return findProcesses(token).map(({ pid }) => kernelState(pid));
}

async function inside(code: string): Promise<State[]> {
  const token = `attack-${process.pid}-${++count}.`;
  const execution = await inCage(cage, standing(code, token));
  try {
    return states(token);
  } finally {
    execution.kill();
    await execution.exit;
  }
}

async function outside(code: string): Promise<State[]> {
  const token = `control-${process.pid}-${++count}.`;
  // A mount namespace of its own: what the attack does to mounts must not stay on this machine.
  const own = root ? ['/usr/bin/unshare', '-m', '--'] : ['/usr/bin/unshare', '-Urm', '--'];
  const [first, ...rest] = [...own, ...standing(code, token)];
  const child = await onHost([first as string, ...rest]);
  try {
    return states(token).map((state) => ({ ...state, namespaces: { ...state.namespaces, mnt: '' } }));
  } finally {
    for (const { pid } of findProcesses(token)) process.kill(pid, 'SIGKILL');
    child.kill('SIGKILL');
  }
}

const INVALID = 'my $prog = pack("S x6 P", 1, pack("S C C L", 6, 0, 0, 0x7fff0000));';
const NO_NEW_PRIVILEGES = "S('prctl', 38, 1, 0, 0, 0);";

/** Perl code, and whether any Linux this runs on shows the effect outside. */
const attacks: Record<string, { code: string; must?: boolean }> = {
  'a user namespace by unshare': { code: "S('unshare', 0x10000000)", must: true },
  'a user namespace by clone': { code: "S('clone', 0x10000000 | 17, 0, 0, 0, 0)", must: true },
  'a network namespace by unshare': { code: "S('unshare', 0x40000000)", must: true },
  'a mount namespace of its own, and a mount in it': {
    code: "S('unshare', 0x20000); S('mount', my $a = 'x', my $b = '/tmp', my $c = 'tmpfs', 0, 0)",
    must: true,
  },
  'a tmpfs over /tmp': { code: "S('mount', my $a = 'x', my $b = '/tmp', my $c = 'tmpfs', 0, 0)", must: true },
  'a system folder mounted again, writable': {
    code: "S('mount', my $a = '/usr', my $b = '/usr', 0, 4096, 0); S('mount', 0, $b, 0, 4128, 0)",
    must: true,
  },
  'mount attributes cleared': {
    code: "S('mount', my $a = '/usr', my $b = '/usr', 0, 4096, 0); my $m = pack('Q4', 0, 15, 0, 0); S('mount_setattr', -100, $b, 0, $m, 32)",
    must: true,
  },
  'a file system by fsopen': { code: "S('fsopen', my $a = 'tmpfs', 0)" },
  'a copy of a mount by open_tree': { code: "S('open_tree', -100, my $a = '/usr', 1)" },
  '/proc taken away': { code: "S('umount2', my $a = '/proc', 2)" },
  'another root': { code: "S('chroot', my $a = '/tmp')", must: true },
  'the namespaces of process 1': { code: "open my $f, '<', '/proc/1/ns/mnt'; S('setns', fileno($f), 0)" },
  io_uring: { code: "S('io_uring_setup', 4, my $p = chr(0) x 256)" },
  'a BPF map': { code: "S('bpf', 0, my $p = pack('L5', 2, 4, 4, 1, 0) . chr(0) x 100, 120)" },
  userfaultfd: { code: "S('userfaultfd', 1)" },
  'a performance counter': { code: "S('perf_event_open', my $p = pack('LLQ', 1, 112, 1) . chr(0) x 96, 0, -1, -1, 0)" },
  'a file in memory': { code: "S('memfd_create', my $n = 'x', 0)", must: true },
  'secret memory': { code: "S('memfd_secret', 0)" },
  fanotify: { code: "S('fanotify_init', 0, 0)" },
  'a descriptor of process 1': {
    code: "my $p = S('pidfd_open', 1, 0); for (0 .. 9) { S('pidfd_getfd', $p, $_, 0) } S('close', $p) if $p >= 0",
  },
  'a socket to the kernel crypto (AF_ALG)': { code: "S('socket', 38, 5, 0)" },
  'a socket to the hypervisor (AF_VSOCK)': { code: "S('socket', 40, 1, 0)" },
  'a packet socket': { code: "S('socket', 17, 3, 0x300)" },
  'a raw socket': { code: "S('socket', 2, 3, 1)", must: root },
  'an SCTP socket': { code: "S('socket', 2, 1, 132)" },
  'an MPTCP socket': { code: "S('socket', 2, 1, 262)" },
  'a netlink socket to the audit system': { code: "S('socket', 16, 3, 9)" },
  'a netlink socket for generic families': { code: "S('socket', 16, 3, 16)", must: true },
  'addresses that are not random': { code: "S('personality', 0x0040000)", must: true },
  'a seccomp listener of its own': { code: `${NO_NEW_PRIVILEGES} ${INVALID} S('seccomp', 1, 8, $prog)`, must: true },
};

describe('nothing of the kernel is to be had', () => {
  for (const [name, { code, must }] of Object.entries(attacks)) {
    test(name, async (context) => {
      const [[nothingOutside], done] = [await outside('1'), await outside(code)];
      const works = done.some(
        (state) =>
          JSON.stringify({ ...state, filter: '', noNewPrivileges: '' }) !==
          JSON.stringify({ ...nothingOutside, filter: '', noNewPrivileges: '' }),
      );
      if (must) expect(works, 'outside of the sandbox it works').toBe(true);
      else if (!works) context.skip('this kernel does not offer it even outside');
      const [nothing] = await inside('1');
      const after = await inside(code);
      expect(after.length).toBeGreaterThan(0);
      for (const state of after) expect(state).toEqual(nothing);
    });
  }
});

test('a guest has no capability, no way to gain one, a filter, and nobody of the host as its user', async () => {
  const [state] = await inside('1');
  expect(state).toMatchObject({ capabilities: Array(5).fill('0000000000000000'), noNewPrivileges: '1', filter: '2' });
  const own = kernelState(process.pid).namespaces;
  for (const [kind, name] of Object.entries(state?.namespaces ?? {})) expect(name, kind).not.toBe(own[kind]);
});

describe('the other doors into the kernel', () => {
  async function both(file: Buffer): Promise<{ host: number | NodeJS.Signals | null; guest: unknown }> {
    const guest = await scene.over({ door: file });
    const { exit } = await guest.run('/bin/sh', '-c', 'cp door /tmp/door; chmod 755 /tmp/door; exec /tmp/door');
    const { writeFileSync, mkdtempSync } = await import('node:fs');
    const dir = mkdtempSync(`${scene.root}/door-`);
    writeFileSync(`${dir}/door`, file, { mode: 0o755 });
    const { spawnSync } = await import('node:child_process');
    const host = spawnSync(`${dir}/door`);
    return { host: host.status ?? host.signal, guest: exit };
  }

  test.runIf(arch === 'x86_64')('the ordinary one is open: the hand-made program runs', async () => {
    expect(await both(doors.ordinary)).toEqual({ host: 42, guest: { kind: 'exited', code: 42 } });
  });

  test.runIf(arch === 'x86_64')('32-bit entry (int 0x80) kills', async (context) => {
    const { host, guest } = await both(doors.int80);
    if (host !== 42) context.skip('this kernel has no 32-bit entry');
    expect(guest).toEqual({ kind: 'signalled', signal: 31 });
  });

  test.runIf(arch === 'x86_64')('x32 numbers kill', async () => {
    const { host, guest } = await both(doors.x32);
    expect([42, 43]).toContain(host);
    expect(guest).toEqual({ kind: 'signalled', signal: 31 });
  });
});

describe('settings of the kernel', () => {
  const settings = () =>
    [
      'kernel/sysrq',
      'kernel/core_pattern',
      'kernel/pid_max',
      'kernel/shmmax',
      'vm/overcommit_memory',
      'kernel/hostname',
    ].map((name) => read(`/proc/sys/${name}`));

  test('/proc is mounted read-only: the guest is the owner of its own namespaces settings', async () => {
    const token = `sysctl-${process.pid}.`;
    const execution = await inCage(
      cage,
      standing("open(my $f, '>', '/proc/sys/kernel/shmmax'); print $f '1'; close $f", token),
    );
    const [guest] = findProcesses(token);
    const proc = mountsOf(guest?.pid ?? 0).filter((line) => / \/proc /.test(line));
    expect(proc).toHaveLength(1);
    expect(proc[0]).toMatch(/ \/proc ro,/);
    if (root) {
      const inNamespace = execFileSync('nsenter', ['-t', String(guest?.pid), '-i', 'cat', '/proc/sys/kernel/shmmax']);
      expect(inNamespace.toString().trim()).not.toBe('1');
    }
    execution.kill();
    await execution.exit;
  });

  test('no write reaches the host: sysrq, core pattern, clock, host name, modules', async () => {
    const before = { settings: settings(), modules: read('/proc/modules').split('\n').length };
    const drift = Date.now() - performance.now();
    await cage.run(
      ...perl(`
        for my $name (qw(kernel/sysrq kernel/core_pattern kernel/pid_max vm/overcommit_memory kernel/modprobe)) {
          if (open(my $f, '>', "/proc/sys/$name")) { print $f "|/tmp/x"; close $f }
        }
        if (open(my $f, '>', '/proc/sysrq-trigger')) { print $f 'h' }
        my $later = pack('QQ', time + 86400, 0);
        S('clock_settime', 0, $later); S('settimeofday', $later, 0); S('adjtimex', my $t = chr(1) x 208);
        S('sethostname', my $n = 'pwned', 5); S('init_module', my $m = 'x', 1, my $o = '');
        S('reboot', 0xfee1dead, 672274793, 0, 0); S('syslog', 5, 0, 0); S('acct', my $a = '/tmp/acct'); S('swapon', my $s = '/tmp/x', 0);
      `),
    );
    expect({ settings: settings(), modules: read('/proc/modules').split('\n').length }).toEqual(before);
    expect(Math.abs(Date.now() - performance.now() - drift)).toBeLessThan(60_000);
  });

  test('no key of the guest is in the kernel', async (context) => {
    const [nothing] = findProcesses('cordon-init');
    const uid = statusField(nothing?.pid ?? 0, 'Uid').split('\t')[0] ?? '';
    const keys = () =>
      read('/proc/key-users')
        .split('\n')
        .filter((line) => line.trim().startsWith(`${uid}:`));
    if (!root || uid === '0') context.skip('keys of the user who runs this cannot be told from the guest keys');
    const before = keys();
    await cage.run(
      ...perl(
        "S('add_key', my $t = 'user', my $d = 'x', my $v = 'secret', 6, -4); S('keyctl', 1, 0); S('request_key', my $u = 'user', my $e = 'x', 0, 0)",
      ),
    );
    expect(keys()).toEqual(before);
  });
});
