import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  CGROUP_FOLDER,
  type Cgroup,
  type CgroupBackend,
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
 * Version 2 (Linux Documentation/admin-guide/cgroup-v2): one tree. A group that hands controllers to its children may
 * hold no process itself, so a process that was given a subtree (systemd `Delegate=yes`) first moves into a leaf of it.
 *
 *   <our own group>/cordon-host        this process
 *   <our own group>/cordon/<name>      a run
 *
 * The root of the tree is exempt from that rule: root uses `<mount>/cordon/<name>` and stays where it is.
 */
const HOST_LEAF = 'cordon-host';
const NEEDED: readonly Controller[] = ['memory', 'pids', 'cpu'];

export function cgroupV2(mount: string, own: string | null, self: number): CgroupBackend | null {
  const place = findPlace(mount, own, self);
  if (place === null) return null;
  const { base, moveSelf } = place;
  const available = readText(join(base, 'cgroup.controllers')).trim().split(' ');
  const controllers = new Set(NEEDED.filter((name) => available.includes(name)));
  if (controllers.size === 0) return null;
  const enable = [...controllers].map((name) => `+${name}`).join(' ');
  const folder = join(base, CGROUP_FOLDER);
  return {
    version: 'v2',
    controllers,
    mechanism: {
      memory: 'cgroup v2 memory.max, and sampling of anonymous memory',
      pids: 'cgroup v2 pids.max',
      cpu: 'cgroup v2 cpu.max',
    },
    create(name, settings) {
      if (moveSelf) {
        mkdirSync(join(base, HOST_LEAF), { recursive: true });
        writeFileSync(join(base, HOST_LEAF, 'cgroup.procs'), String(self));
      }
      writeFileSync(join(base, 'cgroup.subtree_control'), enable);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'cgroup.subtree_control'), enable);
      makeFolders([join(folder, name)]);
      const group = new GroupV2(join(folder, name));
      group.configure(settings, controllers);
      return group;
    },
    names: () => childGroups(folder),
    open: (name) => new GroupV2(join(folder, name)),
  };
}

function findPlace(mount: string, own: string | null, self: number): { base: string; moveSelf: boolean } | null {
  const usable = (folder: string) =>
    writable(folder) && writable(join(folder, 'cgroup.procs')) && writable(join(folder, 'cgroup.subtree_control'));
  // Only a group that is not the root of the whole tree has a type.
  if (usable(mount) && !existsSync(join(mount, 'cgroup.type'))) return { base: mount, moveSelf: false };
  if (own === null) return null;
  const group = join(mount, own);
  if (basename(group) === HOST_LEAF && usable(dirname(group))) return { base: dirname(group), moveSelf: false };
  // Other processes in our group (a shell that started us) would have to move too: not ours to move.
  const alone = processesOf(group).every((pid) => pid === self);
  return usable(group) && alone ? { base: group, moveSelf: true } : null;
}

class GroupV2 implements Cgroup {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  configure({ memory, pids, cpus }: CgroupSettings, controllers: ReadonlySet<Controller>): void {
    const write = (file: string, value: string | number) => writeFileSync(join(this.#folder, file), String(value));
    if (controllers.has('memory')) {
      write('memory.max', memory);
      writeIfThere(join(this.#folder, 'memory.swap.max'), 0);
      // One victim would leave a run that half works; the run is what exceeded its limit.
      writeIfThere(join(this.#folder, 'memory.oom.group'), 1);
    }
    if (controllers.has('pids')) write('pids.max', pids);
    if (controllers.has('cpu')) write('cpu.max', `${cpuQuota(cpus)} ${CPU_PERIOD}`);
  }

  /** Version 2 moves whole processes only. */
  readonly entry: readonly string[] = [];

  add(pid: number): void {
    if (!this.processes().includes(pid)) writeFileSync(join(this.#folder, 'cgroup.procs'), String(pid));
  }

  read(): CgroupReading {
    const file = (name: string) => join(this.#folder, name);
    const stat = readText(file('memory.stat'));
    return {
      memory: single(file('memory.current')),
      memoryPeak: single(file('memory.peak')),
      anonymous: keyed(stat, 'anon'),
      shared: keyed(stat, 'shmem'),
      pids: single(file('pids.current')),
      cpuMs: Math.round(keyed(readText(file('cpu.stat')), 'usage_usec') / 1000),
      oomKills: keyed(readText(file('memory.events')), 'oom_kill'),
      pidsDenied: keyed(readText(file('pids.events')), 'max'),
    };
  }

  processes(): number[] {
    return processesOf(this.#folder);
  }

  async killAll(): Promise<void> {
    writeIfThere(join(this.#folder, 'cgroup.kill'), 1); // Linux 5.14; before that the loop alone
    await killUntilEmpty(this.#folder, () => this.processes());
  }

  async remove(): Promise<void> {
    await removeFolders([this.#folder]);
  }
}
