import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Waits of `killAll` and `remove`, in ms: a killed process takes a moment to leave, longer with much memory to free. */
const STEP = 2;
const PATIENCE = 10_000;

/** Microseconds in which a group may use its {@link cpuQuota}. */
export const CPU_PERIOD = 100_000;

/** Microseconds of processors within each period; the kernel takes no fewer than a thousand. */
export function cpuQuota(cpus: number): number {
  return Math.max(1000, Math.round(cpus * CPU_PERIOD));
}

/** Names of the groups below a folder; none where there is no such folder. */
export function childGroups(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

/** Makes folders one after the other; when one fails, those made before it are removed again. */
export function makeFolders(folders: readonly string[]): void {
  const made: string[] = [];
  try {
    for (const folder of folders) {
      mkdirSync(folder);
      made.push(folder);
    }
  } catch (error) {
    for (const folder of made.reverse()) rmdirSync(folder);
    throw error;
  }
}

/** Processes of a group; none when it is gone. */
export function processesOf(folder: string): number[] {
  try {
    return readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/**
 * Kills until nobody is left. With forking refused first (`pids.max` 0) the number can only fall, so that no fork bomb
 * outruns the loop.
 */
export async function killUntilEmpty(folder: string, processes: () => number[]): Promise<void> {
  try {
    writeFileSync(join(folder, 'pids.max'), '0');
  } catch {
    // No pids controller in this hierarchy, or the group is gone: the loop below still ends it.
  }
  for (let waited = 0; ; waited += STEP) {
    const left = processes();
    if (left.length === 0) return;
    if (waited >= PATIENCE) throw new Error(`processes ${left.join(', ')} of ${folder} were killed and did not end`);
    for (const pid of left) kill(pid);
    await sleep(STEP);
  }
}

/** The kernel answers EBUSY for a moment after the last process has left. */
export async function removeFolders(folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    for (let waited = 0; ; waited += STEP) {
      const code = tryRemove(folder);
      if (code === null) break;
      if (code !== 'EBUSY' || waited >= PATIENCE)
        throw Object.assign(new Error(`${folder} cannot be removed: ${code}`), { code });
      await sleep(STEP);
    }
  }
}

function tryRemove(folder: string): string | null {
  try {
    rmdirSync(folder);
    return null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? null : (code ?? 'unknown');
  }
}

export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}
