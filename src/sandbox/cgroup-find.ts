import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupBackend, CgroupMount } from './cgroup.ts';
import { cgroupV1 } from './cgroup-v1.ts';
import { cgroupV2 } from './cgroup-v2.ts';

/**
 * The control groups this process may use: v2 when its own subtree is delegated to it or it owns the root, else v1 where
 * writable. Null when there is neither. Looks only; nothing is made before `create`.
 */
export function findCgroups(proc = '/proc'): CgroupBackend | null {
  const mounts = cgroupMounts(join(proc, 'self/mountinfo'));
  const unified = mounts.find((mount) => mount.version === 'v2');
  const v2 = unified === undefined ? null : cgroupV2(unified.path, ownGroup(proc), process.pid);
  if (v2 !== null && v2.controllers.size === 3) return v2;
  const v1 = cgroupV1(mounts.filter((mount) => mount.version === 'v1'));
  return v1 !== null && v1.controllers.size >= (v2?.controllers.size ?? 0) ? v1 : v2;
}

export function cgroupMounts(mountinfo: string): CgroupMount[] {
  let text: string;
  try {
    text = readFileSync(mountinfo, 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line): CgroupMount[] => {
    const [before, after] = line.split(' - ');
    const path = before
      ?.split(' ')[4]
      ?.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    const [type, , options = ''] = after?.split(' ') ?? [];
    if (path === undefined) return [];
    if (type === 'cgroup2') return [{ path, version: 'v2', controllers: [] }];
    return type === 'cgroup' ? [{ path, version: 'v1', controllers: options.split(',') }] : [];
  });
}

/** This process's group in the unified hierarchy, relative to its root: the line `0::/…` of /proc/self/cgroup. */
function ownGroup(proc: string): string | null {
  try {
    return /^0::(\/.*)$/m.exec(readFileSync(join(proc, 'self/cgroup'), 'utf8'))?.[1] ?? null;
  } catch {
    return null;
  }
}
