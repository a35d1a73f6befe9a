import { statfsSync } from 'node:fs';
import { EnforcementError } from '../base/errors.ts';
import { isRunId } from '../base/ids.ts';
import type { Cgroup, CgroupBackend } from './cgroup.ts';
import { kill } from './cgroup-group.ts';
import { type LimitHost, type LimitPlan, limitHost, OWN_PROCESSES } from './limits-plan.ts';
import { ProcessTree } from './limits-tree.ts';

export {
  type LimitHost,
  type LimitPlan,
  limitHost,
  planLimits,
  type ResourceLimit,
  scopeCommand,
} from './limits-plan.ts';

/**
 * Limits of a running sandbox.
 *
 * Memory is limited twice. Everything the guest writes lies on a tmpfs, whose pages are charged to the same group as the
 * memory of its processes; one hard limit has to leave room for both, and is `memory + disk`: the kernel holds that
 * line. The line at `memory` itself, for the processes, is held by sampling what of the charge is not files.
 */
export interface Usage {
  readonly memory: number;
  readonly memoryPeak: number;
  readonly pids: number;
  readonly cpuMs: number;
  readonly oomKills: number;
  readonly pidsDenied: number;
}

export interface LimitHit {
  readonly limit: 'memory' | 'pids' | 'disk' | 'inodes';
  /** One sentence for a person. */
  readonly detail: string;
  /** True when everything inside was killed for it; otherwise a call inside failed (EAGAIN, ENOSPC) and the guest lives. */
  readonly stopped: boolean;
}

export interface AppliedLimits {
  readonly plan: LimitPlan;
  /** Files a new process may write `0` into to enter by itself, before `addProcess` sees to it: see {@link Cgroup.entry}. */
  readonly entry: readonly string[];
  /** Before the process starts others: what it forks from then on is limited too. Throws `EnforcementError`. */
  addProcess(pid: number): void;
  read(): Usage;
  /** Names the folder of the run's tmpfs, so that a full one is noticed too. */
  observeDisk(folder: string): void;
  /** Reports each kind of hit once. Sampling starts here and ends with `remove`. */
  watch(onLimit: (hit: LimitHit) => void): void;
  /** Looks now, without waiting for the next sample: call it when a run has ended, before it is judged. */
  check(): void;
  killAll(): Promise<void>;
  /** Idempotent; the processes have to be gone (`killAll`). */
  remove(): Promise<void>;
}

/** Milliseconds between samples. A sample costs about 0.1 ms. */
const SAMPLE = 200;
const NAME = /^[0-9a-z-]{1,64}$/;

/** Makes the run's group. Throws `EnforcementError` when the machine refuses what the plan counted on. */
export async function applyLimits(
  plan: LimitPlan,
  runId: string,
  host: LimitHost = limitHostOf(plan),
): Promise<AppliedLimits> {
  if (!NAME.test(runId)) throw new TypeError(`${JSON.stringify(runId)} cannot name a control group`);
  const { limits, cgroups } = plan;
  const settings = { memory: limits.memory + limits.disk, pids: limits.pids + OWN_PROCESSES, cpus: limits.cpus };
  const group =
    cgroups === null ? null : enforce('control-group', () => cgroups.create(`${runId}.${process.pid}`, settings));
  return new Applied(plan, group, new ProcessTree(host.proc));
}

function limitHostOf(plan: LimitPlan): LimitHost {
  return { proc: '/proc', cgroups: plan.cgroups, kernel: '', processors: 0, userSystemd: false };
}

/**
 * Ends and removes the groups of runs that nobody owns any more: `isAlive` says which runs still have an owner. A group
 * that is no run's (a probe's) is stale when its process is gone. Returns the names removed.
 */
export async function removeStale(
  isAlive: (runId: string) => boolean,
  cgroups: CgroupBackend | null = limitHost().cgroups,
): Promise<string[]> {
  const removed: string[] = [];
  for (const name of cgroups?.names() ?? []) {
    const [runId = '', pid = ''] = name.split('.');
    const owned = isRunId(runId) ? isAlive(runId) : exists(Number(pid));
    if (owned || cgroups === null) continue;
    const group = cgroups.open(name);
    await group.killAll();
    await group.remove();
    removed.push(name);
  }
  return removed;
}

class Applied implements AppliedLimits {
  readonly plan: LimitPlan;
  readonly #group: Cgroup | null;
  readonly #tree: ProcessTree;
  readonly #reported = new Set<string>();
  #onLimit: ((hit: LimitHit) => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #disk: string | null = null;
  #peak = 0;
  #oomKills = 0;
  #removed = false;

  constructor(plan: LimitPlan, group: Cgroup | null, tree: ProcessTree) {
    this.plan = plan;
    this.#group = group;
    this.#tree = tree;
  }

  get entry(): readonly string[] {
    return this.#group?.entry ?? [];
  }

  addProcess(pid: number): void {
    this.#tree.add(pid);
    const group = this.#group;
    if (group !== null) enforce('control-group', () => group.add(pid));
  }

  read(): Usage {
    const { sampled } = this.plan;
    const group = this.#group?.read();
    const tree = group === undefined || sampled.memory || sampled.pids ? this.#tree.read() : null;
    const memory = sampled.memory || group === undefined ? (tree?.anonymous ?? 0) : group.memory;
    this.#peak = Math.max(this.#peak, memory, sampled.memory ? 0 : (group?.memoryPeak ?? 0));
    return {
      memory,
      memoryPeak: this.#peak,
      pids: sampled.pids || group === undefined ? (tree?.pids ?? 0) : group.pids,
      cpuMs: group?.cpuMs ?? tree?.cpuMs ?? 0,
      oomKills: group?.oomKills ?? 0,
      pidsDenied: group?.pidsDenied ?? 0,
    };
  }

  observeDisk(folder: string): void {
    this.#disk = folder;
  }

  watch(onLimit: (hit: LimitHit) => void): void {
    this.#onLimit = onLimit;
    this.#timer ??= setInterval(() => this.check(), SAMPLE).unref();
  }

  check(): void {
    if (this.#removed) return;
    this.#checkGroup();
    this.#checkTree();
    this.#checkDisk();
  }

  #checkGroup(): void {
    const { limits, sampled } = this.plan;
    if (this.#group === null) return;
    const now = this.#group.read();
    // Shared memory beyond what the tmpfs may hold is no file: System V segments and shared mappings.
    const processes = now.anonymous + Math.max(0, now.shared - limits.disk);
    if (!sampled.memory && now.oomKills > this.#oomKills) {
      this.#oomKills = now.oomKills;
      // Version 2 ends the whole group (memory.oom.group); version 1 picks one process and leaves half a run.
      this.#stop(
        'memory',
        `the kernel killed a process: ${mebibytes(limits.memory)} for processes and ${mebibytes(limits.disk)} for files did not suffice`,
      );
    } else if (!sampled.memory && processes > limits.memory) {
      this.#stop('memory', `the processes held ${mebibytes(processes)}, more than ${mebibytes(limits.memory)}`);
    }
    if (!sampled.pids && now.pidsDenied > 0) {
      this.#hit(
        'pids',
        `${now.pidsDenied} forks were refused: there were ${limits.pids} processes and threads already`,
        false,
      );
    }
  }

  #checkTree(): void {
    const { limits, sampled } = this.plan;
    if (!sampled.memory && !sampled.pids) return;
    const now = this.#tree.read();
    if (sampled.memory) this.#peak = Math.max(this.#peak, now.anonymous);
    const processes = now.anonymous + Math.max(0, now.shared - limits.disk); // as in a group
    if (sampled.memory && processes > limits.memory) {
      this.#stop('memory', `the processes held ${mebibytes(processes)}, more than ${mebibytes(limits.memory)}`);
    }
    if (sampled.pids && now.pids > limits.pids + OWN_PROCESSES) {
      this.#stop('pids', `there were ${now.pids} processes and threads, more than ${limits.pids}`);
    }
  }

  #checkDisk(): void {
    if (this.#disk === null || (this.#reported.has('disk') && this.#reported.has('inodes'))) return;
    try {
      const { bavail, ffree } = statfsSync(this.#disk);
      if (bavail === 0)
        this.#hit('disk', `${mebibytes(this.plan.limits.disk)} were written: the sandbox's disk is full`, false);
      if (ffree === 0)
        this.#hit('inodes', `${this.plan.limits.inodes} files and folders were made: no more can be`, false);
    } catch {
      this.#disk = null; // unmounted: the sandbox is ending
    }
  }

  #hit(limit: LimitHit['limit'], detail: string, stopped: boolean): void {
    if (this.#reported.has(limit)) return;
    this.#reported.add(limit);
    this.#onLimit?.({ limit, detail, stopped });
  }

  /** Killed first, told afterwards: what listens may take its time. */
  #stop(limit: LimitHit['limit'], detail: string): void {
    for (const pid of this.#group?.processes() ?? []) kill(pid);
    this.#tree.killAll();
    this.#hit(limit, detail, true);
  }

  async killAll(): Promise<void> {
    if (this.#removed) return;
    if (this.#group === null) this.#tree.killAll();
    else await this.#group.killAll();
  }

  async remove(): Promise<void> {
    if (this.#removed) return;
    this.check();
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#group?.remove();
    this.#removed = true;
  }
}

function enforce<T>(control: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw new EnforcementError(control, `the run's control group could not be used: ${(cause as Error).message}`, {
      cause,
      remedy: 'run `cordon doctor`: it says which control groups this user may use',
    });
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / (1024 * 1024))} MiB`;
}
