import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kill } from './cgroup-group.ts';

export interface TreeReading {
  /** Bytes resident and not shared with a file or another process, of all processes together. */
  readonly anonymous: number;
  /** Bytes of shared memory resident in each process, added up: pages that several map count several times. */
  readonly shared: number;
  /** Processes and threads. */
  readonly pids: number;
  readonly cpuMs: number;
}

/** proc(5): pages of statm are 4 KiB on both architectures as Debian builds them; ticks of stat are 1/100 s always. */
const PAGE = 4096;
const TICK_MS = 10;
/** Bytes shared with files or others, most often libraries, below which a process holds no shared memory to speak of. */
const WORTH_A_LOOK = 32 * 1024 * 1024;

/**
 * All descendants of some processes, read from proc(5): the count where no control group counts. A process that leaves
 * its parent is handed to the first process of its pid namespace, and so stays a descendant of ours.
 */
export class ProcessTree {
  readonly #proc: string;
  readonly #roots = new Set<number>();

  constructor(proc: string) {
    this.#proc = proc;
  }

  add(pid: number): void {
    this.#roots.add(pid);
  }

  processes(): number[] {
    const found = new Set<number>();
    const queue = [...this.#roots];
    for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
      if (found.has(pid)) continue;
      found.add(pid);
      for (const thread of this.#threads(pid)) {
        queue.push(...this.#read(pid, `task/${thread}/children`).split(' ').filter(Boolean).map(Number));
      }
    }
    return [...found];
  }

  read(): TreeReading {
    let [anonymous, sharedMemory, pids, cpuMs] = [0, 0, 0, 0];
    for (const pid of this.processes()) {
      const [, resident = 0, shared = 0] = this.#read(pid, 'statm').split(' ').map(Number);
      const stat = this.#read(pid, 'stat');
      const fields = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .map(Number);
      anonymous += Math.max(0, resident - shared) * PAGE;
      if (shared * PAGE > WORTH_A_LOOK) {
        sharedMemory += 1024 * Number(/^RssShmem:\s*(\d+) kB$/m.exec(this.#read(pid, 'status'))?.[1] ?? 0);
      }
      pids += this.#threads(pid).length;
      cpuMs += ((fields[11] ?? 0) + (fields[12] ?? 0)) * TICK_MS;
    }
    return { anonymous, shared: sharedMemory, pids, cpuMs };
  }

  /** Again until nobody is left, so that a child born during the walk is met in the next. */
  killAll(): void {
    for (let round = 0; round < 100; round++) {
      const living = this.processes().filter(
        (pid) => this.#threads(pid).length > 0 && !/\) Z /.test(this.#read(pid, 'stat')),
      );
      if (living.length === 0) return;
      for (const pid of living) kill(pid);
    }
  }

  #threads(pid: number): string[] {
    try {
      return readdirSync(join(this.#proc, String(pid), 'task'));
    } catch {
      return [];
    }
  }

  #read(pid: number, file: string): string {
    try {
      return readFileSync(join(this.#proc, String(pid), file), 'utf8').trim();
    } catch {
      return ''; // ended between the look and the read
    }
  }
}
