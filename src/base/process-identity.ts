import { readFileSync } from 'node:fs';

/**
 * Names one process for ever: the id alone is given to another process some time after, the start time (clock ticks since
 * boot, field 22 of proc(5) stat) tells those apart, and the boot id tells apart the starts of the machine.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
  readonly bootId: string;
}

export function currentProcess(): ProcessIdentity {
  const startTime = startTimeOf(process.pid);
  if (startTime === null) throw new Error('/proc is not mounted: this process cannot be named');
  return { pid: process.pid, startTime, bootId: bootId() };
}

/** True while exactly that process exists and is more than a zombie. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identity.bootId === bootId() && startTimeOf(identity.pid) === identity.startTime;
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

function startTimeOf(pid: number): string | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return null;
  }
  // The name, field 2, may hold spaces and brackets: what follows its last bracket has fixed places.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  return state === 'Z' || state === 'X' ? null : (fields[19] ?? null);
}
