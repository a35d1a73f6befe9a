/**
 * The file system of a sandbox, as a list of operations for the outer half of `cordon-init`. Absence over prohibition:
 * the root starts empty, and only what stands here is in it.
 *
 * The outer half mounts one tmpfs over its own (private) `/tmp`, the *box*, whose size is the run's disk limit:
 *
 *   /tmp (box)    upper work     what the run writes over its checkout
 *                 tmp home shm   the guest's other writable places
 *                 lower          the cached checkout, read-only
 *                 root           the guest's `/`, read-only, into which everything above is mounted (root-plan.ts)
 *                 root-2 …       the same files with another toolbox
 *
 * The box is anonymous memory of these namespaces: it is gone with the last process, whatever ends it.
 */
import { dirname } from 'node:path';
import { Attribute, BOX, FolderPlan, MountFlag, type Operation } from './mount-operations.ts';

const CLONE_NEWNS = 0x20000;
const CLONE_NEWIPC = 0x8000000;
const CLONE_NEWUSER = 0x10000000;
const CLONE_NEWNET = 0x40000000;

/** The first request: after it the trusted side writes the id maps. */
export const separate: readonly Operation[] = [['unshare', CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET]];

export interface BoxPlan {
  /** The cached checkout on the host; null for an empty workspace. */
  readonly checkout: string | null;
  /** Else the checkout is copied, where the kernel refuses an overlay. */
  readonly overlay: boolean;
  /** Options of the box's tmpfs: `size=…,nr_inodes=…`. */
  readonly tmpfs: string;
  /** Programs that lie outside /usr, by their path on the host. */
  readonly outside: readonly string[];
  /** Which of them are folders. */
  readonly folders?: readonly string[];
}

/** The first descriptor `open` yields: 0…2 are the standard ones, 3 the control socket. */
const FIRST_OPENED = 4;

/** Everything up to the box's folders. Sources are opened before the ids change: the new ids may not reach them. */
export function planBox(plan: BoxPlan): Operation[] {
  const sources = [...(plan.checkout === null ? [] : [plan.checkout]), ...plan.outside];
  const operations: Operation[] = [
    ['mount', 'none', '/', '', MountFlag.recursive | MountFlag.private, ''],
    ...sources.map((source): Operation => ['open', source]),
    ['loopback'],
    ['synthetic-route'],
    ['root'],
    ['umask', 0],
    ['mount', 'box', BOX, 'tmpfs', MountFlag.noSuid | MountFlag.noDev, `${plan.tmpfs},mode=0755`],
    ['cd', BOX],
    ['mkdir', 'upper', 0o755],
    ['mkdir', 'work', 0o700],
    ['mkdir', 'lower', 0o755],
    ['mkdir', 'tmp', 0o1777],
    ['mkdir', 'home', 0o700],
    ['mkdir', 'shm', 0o1777],
    ['mkdir', 'merged', 0o755],
    ['mkdir', 'outside', 0o700],
  ];
  let fd = FIRST_OPENED;
  if (plan.checkout !== null) {
    operations.push(
      ['mount', `/proc/self/fd/${fd++}`, 'lower', '', MountFlag.bind, ''],
      ['attributes', 'lower', Attribute.readOnly | Attribute.noSuid | Attribute.noDev, 0],
    );
  }
  operations.push(
    plan.checkout !== null && plan.overlay
      ? // Relative names: the guest reads its mounts' options, and they would tell the host's paths.
        [
          'mount',
          'workspace',
          'merged',
          'overlay',
          MountFlag.noSuid | MountFlag.noDev,
          'lowerdir=lower,upperdir=upper,workdir=work,userxattr',
        ]
      : ['mount', 'upper', 'merged', '', MountFlag.bind, ''],
  );
  plan.outside.forEach((path, i) => {
    operations.push(
      plan.folders?.includes(path) ? ['mkdir', `outside/${i}`, 0o755] : ['file', `outside/${i}`, 0o644, ''],
      ['mount', `/proc/self/fd/${fd++}`, `outside/${i}`, '', MountFlag.bind, ''],
    );
  });
  operations.push(['hand-over', 'upper'], ['hand-over', 'lower'], ['hand-over', 'merged']);
  return operations;
}

/** Copies the checkout into `upper`: by the outer half, whose ids are those the guest's files must have. */
export const copyCheckout: readonly Operation[] = [
  ['run', '/usr/bin/cp', '-dR', '--preserve=mode,timestamps,links', '--', 'lower/.', 'upper/.'],
];

/**
 * Secret files of the main view, in the box's memory only: one request each, as each may be as long as a message has room for.
 * They belong to the guest, since ssh and others refuse a key that anybody else could read.
 */
export function planSecrets(files: Readonly<Record<string, Buffer>>): Operation[][] {
  return [
    [['mkdir', 'secrets', 0o755]],
    ...Object.entries(files).map(([name, bytes]): Operation[] => [['file', `secrets/${name}`, 0o400, bytes]]),
  ];
}

/** Files of the guest's home, which belong to it: one request each, as for secrets. */
export function planHome(files: Readonly<Record<string, string>>): Operation[][] {
  const folders = new FolderPlan('home');
  return Object.entries(files).map(([path, content]): Operation[] => [
    ...folders.make(dirname(`/${path}`)),
    ['file', `home/${path}`, 0o644, content],
  ]);
}
