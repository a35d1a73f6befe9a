import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dockerAllowed } from './docker-allowed.fixture.ts';
import {
  absentByDesign,
  auditArch,
  buildFilter,
  describeFilter,
  filterDigest,
  type SeccompArch,
  seccompArch,
  syscallNumbers,
} from './seccomp.ts';
import { branch, Op, op } from './seccomp-bpf.ts';
import { allowed, byArgument, refused } from './seccomp-rules.ts';
import { type SimulatedVerdict, simulateFilter } from './seccomp-simulate.ts';

const arches: readonly SeccompArch[] = ['x86_64', 'arm64'];
const EPERM = { errno: 1 };
const EINVAL = { errno: 22 };
const ENOSYS = { errno: 38 };
const EPROTONOSUPPORT = { errno: 93 };
const EAFNOSUPPORT = { errno: 97 };
const HIGH = 0xdeadbeef_00000000n;

const programs = { x86_64: buildFilter({ arch: 'x86_64' }), arm64: buildFilter({ arch: 'arm64' }) };

function call(arch: SeccompArch, name: string, ...args: (number | bigint)[]): SimulatedVerdict {
  const nr = syscallNumbers[arch][name];
  if (nr === undefined) throw new Error(`${arch} has no ${name}`);
  return simulateFilter(programs[arch], { arch: auditArch[arch], nr, args: args.map(BigInt) });
}

describe.each(arches)('filter for %s', (arch) => {
  const table = syscallNumbers[arch];
  const program = programs[arch];

  test('fits the kernel and is the same each time', () => {
    expect(program.byteLength / 8).toBeLessThan(1024);
    expect(buildFilter({ arch })).toEqual(program);
    expect(filterDigest({ arch })).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test.each(Object.keys(table))('%s has the verdict its list says', (name) => {
    const verdict = call(arch, name);
    if (['execve', 'execveat', 'exit_group'].includes(name)) expect(verdict).toBe('notify');
    else if (Object.hasOwn(byArgument, name))
      expect(describeFilter({ arch }).find((r) => r.syscall === name)?.verdict).toMatch(/^allow: /);
    else if (allowed.includes(name)) expect(verdict).toBe('allow');
    else if (refused.includes(name)) expect(verdict).toEqual(EPERM);
    else expect(verdict).toEqual(ENOSYS);
  });

  test('allows nothing that Docker does not', () => {
    const more = describeFilter({ arch }).filter(
      (row) => !/^E[A-Z]+$/.test(row.verdict) && !dockerAllowed.has(row.syscall),
    );
    expect(more).toEqual([]);
  });

  test('what Docker allows and this refuses is the list that is documented', () => {
    const rows = describeFilter({ arch }).filter(
      (row) => /^E[A-Z]+$/.test(row.verdict) && dockerAllowed.has(row.syscall),
    );
    expect(rows.map((row) => `${row.syscall} ${row.verdict}`).sort()).toMatchSnapshot();
  });

  test('unknown numbers are ENOSYS, without gaps', () => {
    const known = new Set(Object.values(table));
    for (let nr = 0; nr < 1000; nr++) {
      if (!known.has(nr)) expect(simulateFilter(program, { arch: auditArch[arch], nr })).toEqual(ENOSYS);
    }
    expect(simulateFilter(program, { arch: auditArch[arch], nr: 0x3fffffff })).toEqual(ENOSYS);
    expect(simulateFilter(program, { arch: auditArch[arch], nr: 0xffffffff })).toEqual(ENOSYS);
  });

  test('other entries into the kernel end the process', () => {
    for (const foreign of [0x40000003, 0x40000028, 0, 0xc000003e, 0xc00000b7].filter((a) => a !== auditArch[arch])) {
      for (const nr of [0, 1, 11, 59, 221, 425]) expect(simulateFilter(program, { arch: foreign, nr })).toBe('kill');
    }
    for (const nr of [0, 59, 520, 545]) {
      expect(simulateFilter(program, { arch: auditArch[arch], nr: 0x40000000 + nr })).toBe('kill');
    }
    expect(simulateFilter(program, { arch: auditArch[arch], nr: 0x80000000 })).toBe('kill');
  });

  test('clone makes processes and threads, no namespaces', () => {
    expect(call(arch, 'clone', 17)).toBe('allow');
    expect(call(arch, 'clone', 0x3d0f00)).toBe('allow');
    expect(call(arch, 'clone', 0x4111)).toBe('allow');
    for (const bit of [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]) {
      expect(call(arch, 'clone', bit | 17)).toEqual(EPERM);
      expect(call(arch, 'clone', HIGH | BigInt(bit))).toEqual(EPERM);
    }
    expect(call(arch, 'clone3')).toEqual(ENOSYS);
    expect(call(arch, 'unshare')).toEqual(EPERM);
  });

  test('execveat only by path', () => {
    expect(call(arch, 'execveat', 3, 0, 0, 0, 0)).toBe('notify');
    expect(call(arch, 'execveat', 3, 0, 0, 0, 0x100)).toBe('notify');
    expect(call(arch, 'execveat', 3, 0, 0, 0, 0x1000)).toEqual(EPERM);
    expect(call(arch, 'execveat', 3, 0, 0, 0, 0x1100)).toEqual(EPERM);
    expect(call(arch, 'execveat', 3, 0, 0, 0, HIGH | 0x1000n)).toEqual(EPERM);
    expect(call(arch, 'execveat', 3, 0, 0, 0, 0x10000)).toEqual(EINVAL);
    expect(call(arch, 'execveat', 3, 0, 0, 0, 0x11000)).toEqual(EPERM);
  });

  test.each([0x5412, 0x541c, 0x5423])('ioctl 0x%s is refused, also with upper bits the kernel drops', (request) => {
    expect(call(arch, 'ioctl', 0, request)).toEqual(EPERM);
    expect(call(arch, 'ioctl', 0, HIGH | BigInt(request))).toEqual(EPERM);
    expect(call(arch, 'ioctl', HIGH, request)).toEqual(EPERM);
    expect(call(arch, 'ioctl', request, 0x5413)).toBe('allow');
  });

  test('sockets: unix, TCP, UDP, route netlink', () => {
    const CLOEXEC = 0o2000000 | 0o4000;
    for (const type of [1, 2, 5]) expect(call(arch, 'socket', 1, type | CLOEXEC, 0)).toBe('allow');
    for (const family of [2, 10]) {
      expect(call(arch, 'socket', family, 1 | CLOEXEC, 0)).toBe('allow');
      expect(call(arch, 'socket', family, 1, 6)).toBe('allow');
      expect(call(arch, 'socket', family, 2, 17)).toBe('allow');
      expect(call(arch, 'socket', family, 2, 6)).toEqual(EPROTONOSUPPORT);
      expect(call(arch, 'socket', family, 1, 262)).toEqual(EPROTONOSUPPORT); // MPTCP
      expect(call(arch, 'socket', family, 2, 1)).toEqual(EPROTONOSUPPORT); // ping
      expect(call(arch, 'socket', family, 3, 1)).toEqual(EPERM); // raw
      expect(call(arch, 'socket', family, 3 | CLOEXEC, 255)).toEqual(EPERM);
      expect(call(arch, 'socket', family, 10, 3)).toEqual(EPERM); // SOCK_PACKET
      expect(call(arch, 'socket', HIGH | BigInt(family), HIGH | 3n, 1)).toEqual(EPERM);
    }
    expect(call(arch, 'socket', 16, 3, 0)).toBe('allow');
    for (const protocol of [4, 6, 9, 12, 16]) expect(call(arch, 'socket', 16, 3, protocol)).toEqual(EAFNOSUPPORT);
    for (const family of [0, 3, 4, 9, 15, 17, 21, 30, 31, 38, 40, 41, 44]) {
      expect(call(arch, 'socket', family, 2, 0)).toEqual(EAFNOSUPPORT);
      expect(call(arch, 'socketpair', family, 1, 0)).toEqual(EAFNOSUPPORT);
    }
    expect(call(arch, 'socketpair', 1, 1, 0)).toBe('allow');
    expect(call(arch, 'socketpair', 2, 1, 0)).toEqual(EAFNOSUPPORT);
  });

  test('prctl, seccomp and personality by argument', () => {
    expect(call(arch, 'prctl', 35, 9)).toEqual(EPERM);
    expect(call(arch, 'prctl', HIGH | 35n)).toEqual(EPERM);
    expect(call(arch, 'prctl', 15)).toBe('allow');
    expect(call(arch, 'seccomp', 1, 0)).toBe('allow');
    expect(call(arch, 'seccomp', 1, 8)).toEqual(EPERM);
    expect(call(arch, 'seccomp', HIGH | 1n, HIGH | 0x28n)).toEqual(EPERM);
    expect(call(arch, 'seccomp', 2, 8)).toBe('allow');
    for (const persona of [0, 8, 0x20000, 0x20008, 0xffffffff])
      expect(call(arch, 'personality', persona)).toBe('allow');
    for (const persona of [0x40000, 0x400000, 1, 0x40008]) expect(call(arch, 'personality', persona)).toEqual(EPERM);
  });

  test('the upper half of no argument changes a verdict', () => {
    const names = Object.keys(byArgument).filter((name) => Object.hasOwn(table, name));
    const low = fc.oneof(fc.constantFrom(0, 1, 2, 8, 16, 35, 0x100, 0x1000, 0x5412, 0x10000000), fc.nat(0xffffffff));
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.array(low, { minLength: 6, maxLength: 6 }),
        fc.nat(0xffffffff),
        (name, args, high) => {
          const lifted = args.map((arg) => (BigInt(high) << 32n) | BigInt(arg));
          expect(call(arch, name, ...lifted)).toEqual(call(arch, name, ...args));
        },
      ),
    );
  });

  test('every path of the program ends in a return', () => {
    fc.assert(
      fc.property(
        fc.nat(0xffffffff),
        fc.nat(0xffffffff),
        fc.array(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { maxLength: 6 }),
        (nr, foreign, args) => {
          simulateFilter(program, { arch: auditArch[arch], nr, args });
          simulateFilter(program, { arch: auditArch[arch], nr: nr % 480, args });
          if (foreign !== auditArch[arch]) expect(simulateFilter(program, { arch: foreign, nr, args })).toBe('kill');
        },
      ),
    );
  });

  test('notify and refuse choose; a name that cannot come is a mistake', () => {
    const nr = table.sched_setaffinity as number;
    const pinned = buildFilter({ arch, notify: [], refuse: ['sched_setaffinity', 'ioctl'] });
    expect(simulateFilter(pinned, { arch: auditArch[arch], nr })).toEqual(EPERM);
    expect(simulateFilter(pinned, { arch: auditArch[arch], nr: table.ioctl as number })).toEqual(EPERM);
    expect(simulateFilter(pinned, { arch: auditArch[arch], nr: table.execve as number })).toBe('allow');
    expect(simulateFilter(pinned, { arch: auditArch[arch], nr: table.execveat as number })).toBe('allow');
    for (const name of ['ptrace', 'clone3', 'exceve'])
      expect(() => buildFilter({ arch, notify: [name] })).toThrow(RangeError);
    expect(() => buildFilter({ arch, refuse: ['toString'] })).toThrow(RangeError);
  });
});

test('the lists name system calls that exist, each once', () => {
  const names = [...allowed, ...refused, ...absentByDesign, ...Object.keys(byArgument)];
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  const unknown = names.filter((name) => !arches.some((arch) => Object.hasOwn(syscallNumbers[arch], name)));
  expect(unknown).toEqual([]);
});

test('numbers that differ between the architectures are the right ones', () => {
  expect(syscallNumbers.x86_64).toMatchObject({
    read: 0,
    execve: 59,
    exit_group: 231,
    execveat: 322,
    seccomp: 317,
    fstat: 5,
  });
  expect(syscallNumbers.arm64).toMatchObject({
    read: 63,
    execve: 221,
    exit_group: 94,
    execveat: 281,
    seccomp: 277,
    fstat: 80,
  });
  for (const arch of arches)
    expect(syscallNumbers[arch]).toMatchObject({ clone3: 435, io_uring_setup: 425, open_tree_attr: 467 });
});

test('the simulator refuses what the kernel would not load', () => {
  const data = { arch: 0, nr: 0 };
  expect(() => simulateFilter(new Uint8Array(), data)).toThrow(RangeError);
  expect(() => simulateFilter(new Uint8Array([0x20, 0, 0, 0, 64, 0, 0, 0]), data)).toThrow(RangeError);
  expect(() => simulateFilter(new Uint8Array([0x99, 0, 0, 0, 0, 0, 0, 0]), data)).toThrow(RangeError);
});

test('a branch reaches a right side beyond 255 instructions', () => {
  const left = Array.from({ length: 300 }, () => op(Op.return, 1));
  const code = branch(7, left, [op(Op.return, 2)]);
  expect(code[0]).toEqual({ code: Op.jumpGreaterEqual, k: 7, jt: 0, jf: 1 });
  expect(code[1]).toEqual({ code: Op.jump, k: 300, jt: 0, jf: 0 });
  expect(() => op(Op.jumpEqual, 0, 256)).toThrow(RangeError);
});

test('only x64 and arm64 have a filter', () => {
  expect([seccompArch('x64'), seccompArch('arm64'), seccompArch('riscv64')]).toEqual(['x86_64', 'arm64', null]);
});
