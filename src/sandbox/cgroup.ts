import { accessSync, constants, existsSync, readFileSync, writeFileSync } from 'node:fs';

/** What a control group can limit here. */
export type Controller = 'memory' | 'pids' | 'cpu';

/** Base units; what the hierarchy has no controller for is left to its fallback. */
export interface CgroupSettings {
  /** Bytes of everything that is charged: anonymous pages, tmpfs, kernel memory. */
  readonly memory: number;
  readonly pids: number;
  /** Processors, fractions allowed. */
  readonly cpus: number;
}

export interface CgroupReading {
  /** Bytes charged now, and the most there ever were. */
  readonly memory: number;
  readonly memoryPeak: number;
  /** Bytes of anonymous pages (the heap and stack of processes), and of shared memory (tmpfs, System V, shared mappings). */
  readonly anonymous: number;
  readonly shared: number;
  readonly pids: number;
  readonly cpuMs: number;
  /** Processes that the kernel killed for want of memory, and forks it refused, since the group was made. */
  readonly oomKills: number;
  readonly pidsDenied: number;
}

/** One run's group. Files under it are written synchronously: they are kernel memory, and take microseconds. */
export interface Cgroup {
  /**
   * Files into which a process with one thread can write `0` to enter by itself; empty where it cannot. Moving another
   * process waits for all processors to pass a quiet point (an RCU grace period, about 10 ms on an idle machine);
   * a thread that moves only itself does not (Linux kernel/cgroup/cgroup.c, cgroup_procs_write_start).
   */
  readonly entry: readonly string[];
  /** Moves a process unless it is inside; what it forks from then on is born inside. Throws the system's error. */
  add(pid: number): void;
  read(): CgroupReading;
  /** Processes inside now. */
  processes(): number[];
  /** Refuses new processes and kills all there are. Resolves when none is left; throws `Error` when some will not die. */
  killAll(): Promise<void>;
  /** Idempotent. The group has to be empty of processes. */
  remove(): Promise<void>;
}

export interface CgroupBackend {
  readonly version: 'v1' | 'v2';
  readonly controllers: ReadonlySet<Controller>;
  /** What enforces each: `cgroup v2 memory.max`. */
  readonly mechanism: Readonly<Record<Controller, string>>;
  /** Throws the system's error when the group cannot be made; nothing is left behind then. */
  create(name: string, settings: CgroupSettings): Cgroup;
  /** Names of the groups that exist, of all processes that use this machine's folder. */
  names(): string[];
  /** An existing group, to end it. */
  open(name: string): Cgroup;
}

/** Folder of this product's groups in each hierarchy. */
export const CGROUP_FOLDER = 'cordon';

/** One mounted hierarchy (proc(5), mountinfo). */
export interface CgroupMount {
  readonly path: string;
  readonly version: 'v1' | 'v2';
  /** v1: the controllers it is mounted for. */
  readonly controllers: readonly string[];
}

/** True when this user may write the file or make entries in the folder. */
export function writable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** One of the numbers of a file with `name value` on each line; 0 when there is no such line. */
export function keyed(text: string, key: string): number {
  const lines = `\n${text}`;
  const at = lines.indexOf(`\n${key} `);
  return at < 0 ? 0 : Number.parseInt(lines.slice(at + key.length + 2), 10);
}

/** A file that is one number; 0 when the kernel has no such file. */
export function single(file: string): number {
  const value = Number.parseInt(readText(file), 10);
  return Number.isNaN(value) ? 0 : value;
}

export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Writes a setting that may not exist on every kernel (swap accounting). */
export function writeIfThere(file: string, value: string | number): void {
  if (existsSync(file)) writeFileSync(file, String(value));
}
