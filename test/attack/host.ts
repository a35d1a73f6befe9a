/** What can be seen of a guest from outside: the only thing an attack is judged by. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface HostProcess {
  /** As the host counts. */
  readonly pid: number;
  /** As each nested pid namespace counts, the innermost last. */
  readonly pids: readonly number[];
}

/** Processes whose command line or name holds the text, but not this one. */
export function findProcesses(text: string): HostProcess[] {
  const found: HostProcess[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const line = `${read(`/proc/${name}/cmdline`)}\0${read(`/proc/${name}/comm`)}`;
    if (!line.includes(text)) continue;
    const status = read(`/proc/${name}/status`);
    const state = fieldOf(status, 'State');
    // Without a state it is gone since.
    if (state === '' || /^[ZX]/.test(state)) continue;
    found.push({ pid: Number(name), pids: fieldOf(status, 'NSpid').split('\t').map(Number) });
  }
  return found;
}

/** One line of `/proc/PID/status`; empty when the process is gone. */
export function statusField(pid: number, field: string): string {
  return fieldOf(read(`/proc/${pid}/status`), field);
}

function fieldOf(status: string, field: string): string {
  return new RegExp(`^${field}:\\t(.*)$`, 'm').exec(status)?.[1] ?? '';
}

/** Processes that call themselves so: not those whose arguments tell that somebody is to do it. */
export function findNamed(name: string): HostProcess[] {
  return findProcesses(name).filter(({ pid }) => read(`/proc/${pid}/cmdline`).startsWith(name));
}

/** What each descriptor of a process is, by number. */
export function descriptorsOf(pid: number): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      found.set(Number(fd), readlinkSync(`/proc/${pid}/fd/${fd}`));
    } catch {
      // closed meanwhile
    }
  }
  return found;
}

/** The namespaces a process is in: `user:[4026531837]`. */
function namespacesOf(pid: number): Readonly<Record<string, string>> {
  return Object.fromEntries(
    ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'].map((kind) => [
      kind,
      readlinkSync(`/proc/${pid}/ns/${kind}`),
    ]),
  );
}

export function mountsOf(pid: number): readonly string[] {
  return read(`/proc/${pid}/mountinfo`).trim().split('\n');
}

/** Everything a kernel attack could change about its own process. */
export function kernelState(pid: number) {
  return {
    descriptors: [...descriptorsOf(pid).values()].map((name) => name.replace(/\d{3,}/, 'N')).sort(),
    namespaces: namespacesOf(pid),
    mounts: mountsOf(pid),
    capabilities: ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((set) => statusField(pid, set)),
    noNewPrivileges: statusField(pid, 'NoNewPrivs'),
    filter: statusField(pid, 'Seccomp'),
    root: readlinkSync(`/proc/${pid}/root`),
    personality: read(`/proc/${pid}/personality`).trim(),
    host: read('/proc/sys/kernel/hostname'),
  };
}

export function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Resolves when it holds; rejects with what was waited for. Polls: what is judged is the end, not the time. */
export async function until(what: string, holds: () => boolean, patience = 50_000): Promise<void> {
  for (const end = performance.now() + patience; performance.now() < end; ) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`waited in vain for: ${what}`);
}
