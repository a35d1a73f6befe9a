import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import { join } from 'node:path';
import { EnforcementError } from '../base/errors.ts';
import type { Limits } from '../policy/limits.ts';
import type { CgroupBackend } from './cgroup.ts';
import { findCgroups } from './cgroup-find.ts';
import type { Control } from './sandbox.ts';

/** What is asked of the machine; tests give another one. */
export interface LimitHost {
  /** Default `/proc`. */
  readonly proc: string;
  readonly cgroups: CgroupBackend | null;
  /** `6.1.0-13-amd64`. */
  readonly kernel: string;
  readonly processors: number;
  /** Whether `systemd-run --user` can hand this user a delegated group. */
  readonly userSystemd: boolean;
}

/** One resource limit for the sandbox's first process to set on itself; all others inherit it and cannot raise it. */
export interface ResourceLimit {
  readonly name: 'RLIMIT_FSIZE' | 'RLIMIT_DATA' | 'RLIMIT_CORE' | 'RLIMIT_NPROC' | 'RLIMIT_NOFILE';
  /** The number of linux/resource.h (the same on x86-64 and arm64). */
  readonly resource: number;
  readonly soft: number;
  readonly hard: number;
}

export interface LimitPlan {
  readonly limits: Limits;
  readonly cgroups: CgroupBackend | null;
  readonly rlimits: readonly ResourceLimit[];
  /** Mount options of the one tmpfs that holds everything the guest can write. */
  readonly tmpfs: string;
  /** Processors to pin every process to, where no group can share them out; then `sched_setaffinity` has to be refused. */
  readonly affinity: readonly number[] | null;
  /** Watched by sampling because no group counts them. */
  readonly sampled: { readonly memory: boolean; readonly pids: boolean };
  readonly controls: readonly Control[];
}

const RESOURCE = { RLIMIT_FSIZE: 1, RLIMIT_DATA: 2, RLIMIT_CORE: 4, RLIMIT_NPROC: 6, RLIMIT_NOFILE: 7 } as const;

/** The sandbox's own: the outer helper, and bubblewrap with process 1 for each of two views, with one to spare. */
export const OWN_PROCESSES = 6;

const CGROUP_REMEDY =
  'give this user a delegated control group (start Cordon with `systemd-run --user --scope -p Delegate=yes cordon …`) or run as root';

/** Looks at the real machine. Costs a few file reads. */
export function limitHost(proc = '/proc'): LimitHost {
  const runtime = `/run/user/${process.getuid?.() ?? 0}`;
  return {
    proc,
    cgroups: findCgroups(proc),
    kernel: release(),
    processors: availableParallelism(),
    userSystemd: existsSync('/usr/bin/systemd-run') && existsSync(join(runtime, 'systemd/private')),
  };
}

/**
 * The words to start this process again under, so that it owns a delegated control group; null when that is not needed
 * or not possible. Once per process (about 30 ms), not once per run.
 */
export function scopeCommand(host: LimitHost = limitHost()): readonly string[] | null {
  if (host.cgroups?.controllers.size === 3 || !host.userSystemd) return null;
  return ['/usr/bin/systemd-run', '--user', '--scope', '--quiet', '--collect', '--property=Delegate=yes', '--'];
}

/**
 * How each limit is enforced on this machine. Makes nothing yet.
 * Throws `EnforcementError` naming the control when a limit can be enforced by nothing.
 */
export async function planLimits(limits: Limits, host: LimitHost = limitHost()): Promise<LimitPlan> {
  const has = host.cgroups?.controllers;
  const [memory, pids, cpu] = [has?.has('memory') ?? false, has?.has('pids') ?? false, has?.has('cpu') ?? false];
  if (!pids && !countsProcessesPerNamespace(host.kernel)) {
    throw new EnforcementError(
      'limit.pids',
      `the number of processes cannot be limited: no control group, and Linux ${host.kernel} is older than 5.14`,
      {
        remedy: CGROUP_REMEDY,
      },
    );
  }
  const affinity = cpu ? null : pinned(limits.cpus, allowedProcessors(host));
  const openFiles = Math.min(limits.openFiles, hardOpenFiles(host.proc));
  const rlimits = [
    rlimit('RLIMIT_CORE', 0),
    rlimit('RLIMIT_NOFILE', openFiles),
    rlimit('RLIMIT_FSIZE', limits.disk),
    ...(memory ? [] : [rlimit('RLIMIT_DATA', limits.memory)]),
    // Counted in the innermost user namespace, where of ours there is only process 1: below what sampling ends the run for.
    ...(pids ? [] : [rlimit('RLIMIT_NPROC', limits.pids + 1)]),
  ];
  return {
    limits,
    cgroups: memory || pids || cpu ? host.cgroups : null,
    rlimits,
    tmpfs: `size=${limits.disk},nr_inodes=${limits.inodes}`,
    affinity,
    sampled: { memory: !memory, pids: !pids },
    controls: controls(host, affinity, { memory, pids, cpu }),
  };
}

function controls(
  host: LimitHost,
  affinity: readonly number[] | null,
  by: Record<'memory' | 'pids' | 'cpu', boolean>,
): Control[] {
  const mechanism = host.cgroups?.mechanism;
  const grouped = (name: 'memory' | 'pids' | 'cpu', what: string, fallback: string): Control => ({
    name: `limit.${name}`,
    what,
    state: by[name] ? 'enforced' : 'fallback',
    mechanism: by[name] ? (mechanism?.[name] ?? '') : fallback,
    required: true,
    ...(by[name] ? {} : { remedy: CGROUP_REMEDY }),
  });
  const direct = (name: string, what: string, how: string): Control => ({
    name: `limit.${name}`,
    what,
    state: 'enforced',
    mechanism: how,
    required: true,
  });
  return [
    grouped(
      'memory',
      'memory of all processes together',
      'RLIMIT_DATA of each process, and sampling of all (killed when over)',
    ),
    grouped(
      'cpu',
      'processors',
      `pinned to ${affinity?.length ?? 0} of ${host.processors} processors (whole ones only)`,
    ),
    grouped('pids', 'processes and threads', 'RLIMIT_NPROC of the user namespace, and sampling'),
    direct('open_files', 'open files of one process', 'RLIMIT_NOFILE'),
    direct('disk', 'bytes written', 'tmpfs size=, RLIMIT_FSIZE'),
    direct('inodes', 'files and folders made', 'tmpfs nr_inodes='),
    direct('wall_clock', 'time', 'timer of the trusted side'),
  ];
}

function rlimit(name: ResourceLimit['name'], value: number): ResourceLimit {
  return { name, resource: RESOURCE[name], soft: value, hard: value };
}

/** RLIMIT_NPROC counts per user namespace since 5.14; before, one run's forks would count against all of the user's. */
function countsProcessesPerNamespace(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  return major > 5 || (major === 5 && minor >= 14);
}

/** Whole processors, rounded up, taken from the end: the first ones serve most interrupts. */
function pinned(cpus: number, allowed: readonly number[]): readonly number[] {
  return allowed.slice(-Math.max(1, Math.ceil(cpus)));
}

/** `Cpus_allowed_list: 0-3,8` of proc(5). */
function allowedProcessors(host: LimitHost): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(read(join(host.proc, 'self/status')))?.[1];
  if (list === undefined) return Array.from({ length: host.processors }, (_, i) => i);
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** Nobody but root raises a hard limit. */
function hardOpenFiles(proc: string): number {
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(read(join(proc, 'self/limits')))?.[1];
  return hard === undefined ? Number.MAX_SAFE_INTEGER : Number(hard);
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
