/** What a run waits for longest, begun while most of Cordon is still being loaded. */
import type { Paths } from '../config/paths.ts';
import { supervisorThread } from '../sandbox/supervisor-client.ts';
import { discover, type Found } from './discover.ts';
import type { RunRequest } from './request.ts';

/**
 * Asks git, and starts the sandbox's supervisor thread, which takes as long to come up as all the rest to load. git first:
 * to fork costs by the size of a process, and more while a thread of it is starting.
 */
export function begin(request: RunRequest, paths: Paths): Promise<Found | null> {
  const discovery = discover(request);
  try {
    supervisorThread(paths.digests);
  } catch {
    // Whoever makes the sandbox says what is wrong.
  }
  return discovery;
}
