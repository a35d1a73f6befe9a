import { readFileSync } from 'node:fs';
import type { Owner } from './outer.ts';

/**
 * The user the guest runs as, seen from the host, when Cordon runs as root: one that owns nothing. An ordinary user's
 * guest runs as that user (null): nobody but root can give it another id.
 * 1,900,000,000 lies in a range that systemd's table of ids leaves to nobody; in a container with fewer ids the last
 * one of its map is taken.
 */
export function guestOwner(): Owner | null {
  if (process.geteuid?.() !== 0) return null;
  return { uid: freeId('/proc/self/uid_map'), gid: freeId('/proc/self/gid_map') };
}

const PREFERRED = 1_900_000_000;

function freeId(map: string): number {
  let last = 65_533;
  for (const line of readFileSync(map, 'utf8').trim().split('\n')) {
    const [inside = 0, , count = 0] = line.trim().split(/\s+/).map(Number);
    if (inside <= PREFERRED && PREFERRED < inside + count) return PREFERRED;
    last = Math.max(0, inside + count - 3);
  }
  return last;
}
