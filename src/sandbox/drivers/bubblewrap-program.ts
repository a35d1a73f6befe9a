/** bubblewrap itself: where it is, and how it is called. */
import { accessSync, constants } from 'node:fs';
import { EnforcementError } from '../../base/errors.ts';
import { BOX, GUEST_UID } from '../mount-operations.ts';

const BWRAP_PLACES = ['/usr/bin/bwrap', '/usr/local/bin/bwrap', '/bin/bwrap'];

/** Where bubblewrap is. Only root's places: a program in a user's own folder could be another one. */
export function findBubblewrap(): string {
  const path = BWRAP_PLACES.find(isExecutable);
  if (path !== undefined) return path;
  throw new EnforcementError('bubblewrap', `bubblewrap is not installed (looked at ${BWRAP_PLACES.join(', ')})`, {
    remedy: 'apt-get install bubblewrap',
  });
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The command line of bubblewrap over a planned root. Descriptor 4 is `cordon-init`, never visible to the guest. */
export function bubblewrapArguments(bwrap: string, root: string): [string, ...string[]] {
  return [
    bwrap,
    '--unshare-user',
    '--unshare-pid',
    '--unshare-ipc',
    '--unshare-uts',
    '--unshare-cgroup',
    '--disable-userns',
    '--uid',
    String(GUEST_UID),
    '--gid',
    String(GUEST_UID),
    '--hostname',
    'cordon',
    '--die-with-parent',
    '--new-session',
    '--cap-drop',
    'ALL',
    '--clearenv',
    '--bind',
    `${BOX}/${root}`,
    '/',
    '--proc',
    '/proc',
    '--remount-ro',
    '/proc', // the guest owns its namespaces, and with them settings below /proc/sys: pid_max, shmmax, mqueue
    '--dev',
    '/dev',
    '--bind',
    `${BOX}/${root}/run/shm`, // as mounted there: no-exec where the toolbox is a list
    '/dev/shm',
    '--remount-ro',
    '/dev', // a tmpfs without a size: nothing may be written to it
    '--chdir',
    '/workspace',
    '--as-pid-1',
    '--',
    '/proc/self/fd/4',
    'init',
  ];
}
