import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CGROUP_FOLDER,
  type Cgroup,
  type CgroupBackend,
  type CgroupMount,
  type CgroupReading,
  type CgroupSettings,
  type Controller,
  keyed,
  readText,
  single,
  writable,
  writeIfThere,
} from './cgroup.ts';
import {
  CPU_PERIOD,
  childGroups,
  cpuQuota,
  killUntilEmpty,
  makeFolders,
  processesOf,
  removeFolders,
} from './cgroup-group.ts';

/**
 * Version 1 (Linux Documentation/admin-guide/cgroup-v1): one hierarchy per controller, so one folder in each, all with the
 * same name below `<mount>/cordon`. Only root may write them, and it may everywhere.
 */
/** The hierarchies used; `cpuacct` only counts. */
type Folders = Readonly<Partial<Record<Controller | 'cpuacct', string>>>;

export function cgroupV1(mounts: readonly CgroupMount[]): CgroupBackend | null {
  const found: [Controller | 'cpuacct', string][] = [];
  for (const controller of ['memory', 'pids', 'cpu', 'cpuacct'] as const) {
    const mount = mounts.find((m) => m.controllers.includes(controller));
    if (mount !== undefined && writable(mount.path) && writable(join(mount.path, 'cgroup.procs'))) {
      found.push([controller, join(mount.path, CGROUP_FOLDER)]);
    }
  }
  const bases: Folders = Object.fromEntries(found);
  const controllers = new Set(found.map(([name]) => name).filter((name) => name !== 'cpuacct'));
  if (controllers.size === 0) return null;
  const folders = (name: string): Folders =>
    Object.fromEntries(found.map(([controller, base]) => [controller, join(base, name)]));
  return {
    version: 'v1',
    controllers,
    mechanism: {
      memory: 'cgroup v1 memory.limit_in_bytes, and sampling of anonymous memory',
      pids: 'cgroup v1 pids.max',
      cpu: 'cgroup v1 cpu.cfs_quota_us',
    },
    create(name, settings) {
      for (const base of distinct(bases)) mkdirSync(base, { recursive: true });
      makeFolders(distinct(folders(name)));
      const group = new GroupV1(folders(name));
      group.configure(settings);
      return group;
    },
    names: () => [...new Set(distinct(bases).flatMap(childGroups))],
    open: (name) => new GroupV1(folders(name)),
  };
}

/** cpu and cpuacct are often mounted together: one folder then. */
function distinct(folders: Folders): string[] {
  return [...new Set(Object.values(folders))];
}

class GroupV1 implements Cgroup {
  readonly #folders: Folders;

  constructor(folders: Folders) {
    this.#folders = folders;
  }

  configure({ memory, pids, cpus }: CgroupSettings): void {
    const { memory: memoryFolder, pids: pidsFolder, cpu } = this.#folders;
    if (memoryFolder !== undefined) {
      writeFileSync(join(memoryFolder, 'memory.limit_in_bytes'), String(memory));
      // Memory and swap together: without it the limit is only where swapping begins.
      writeIfThere(join(memoryFolder, 'memory.memsw.limit_in_bytes'), memory);
    }
    if (pidsFolder !== undefined) writeFileSync(join(pidsFolder, 'pids.max'), String(pids));
    if (cpu !== undefined) {
      writeFileSync(join(cpu, 'cpu.cfs_period_us'), String(CPU_PERIOD));
      writeFileSync(join(cpu, 'cpu.cfs_quota_us'), String(cpuQuota(cpus)));
    }
  }

  get entry(): string[] {
    return distinct(this.#folders).map((folder) => join(folder, 'tasks'));
  }

  add(pid: number): void {
    for (const folder of distinct(this.#folders)) {
      if (!processesOf(folder).includes(pid)) writeFileSync(join(folder, 'cgroup.procs'), String(pid));
    }
  }

  read(): CgroupReading {
    const { memory = '', pids = '', cpuacct = '' } = this.#folders;
    const stat = readText(join(memory, 'memory.stat'));
    return {
      memory: single(join(memory, 'memory.usage_in_bytes')),
      memoryPeak: single(join(memory, 'memory.max_usage_in_bytes')),
      anonymous: keyed(stat, 'total_rss'),
      shared: keyed(stat, 'total_shmem'),
      pids: single(join(pids, 'pids.current')),
      cpuMs: Math.round(single(join(cpuacct, 'cpuacct.usage')) / 1e6),
      oomKills: keyed(readText(join(memory, 'memory.oom_control')), 'oom_kill'),
      pidsDenied: keyed(readText(join(pids, 'pids.events')), 'max'),
    };
  }

  processes(): number[] {
    return [...new Set(distinct(this.#folders).flatMap(processesOf))];
  }

  killAll(): Promise<void> {
    return killUntilEmpty(this.#folders.pids ?? '', () => this.processes());
  }

  async remove(): Promise<void> {
    await removeFolders(distinct(this.#folders));
  }
}
