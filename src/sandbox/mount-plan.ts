/**
 * The file system of a sandbox, as a list of operations for the outer half of `cordon-init`. Absence over prohibition:
 * the root starts empty, and only what stands here is in it.
 *
 * The outer half mounts one tmpfs over its own (private) `/tmp`, the *box*, whose size is the run's disk limit:
 *
 *   /tmp (box)    upper work     what the run writes over its checkout
 *                 tmp home shm   the guest's other writable places
 *                 lower          the cached checkout, read-only
 *                 root           the guest's `/`, read-only, into which everything above is mounted
 *                 root-2 …       the same files with another toolbox
 *
 * The box is anonymous memory of these namespaces: it is gone with the last process, whatever ends it.
 */
import { lstatSync, readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Words } from './control-protocol.ts';
import type { Toolbox, ToolMount } from './sandbox.ts';

const BIND = 4096;
const REC = 16384;
const PRIVATE = 1 << 18;
const NOSUID = 2;
const NODEV = 4;
/** Attributes of mount_setattr, other numbers than the flags of mount. */
const Attribute = { readOnly: 1, noSuid: 2, noDev: 4, noExec: 8 } as const;
const CLONE_NEWNS = 0x20000;
const CLONE_NEWIPC = 0x8000000;
const CLONE_NEWUSER = 0x10000000;
const CLONE_NEWNET = 0x40000000;

const BOX = '/tmp';
export const GUEST_HOME = '/home/agent';
export const GUEST_UID = 1000;

export type Operation = readonly [string, ...Words];

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
    ['mount', 'none', '/', '', REC | PRIVATE, ''],
    ...sources.map((source): Operation => ['open', source]),
    ['loopback'],
    ['synthetic-route'],
    ['root'],
    ['umask', 0],
    ['mount', 'box', BOX, 'tmpfs', NOSUID | NODEV, `${plan.tmpfs},mode=0755`],
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
      ['mount', `/proc/self/fd/${fd++}`, 'lower', '', BIND, ''],
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
          NOSUID | NODEV,
          'lowerdir=lower,upperdir=upper,workdir=work,userxattr',
        ]
      : ['mount', 'upper', 'merged', '', BIND, ''],
  );
  plan.outside.forEach((path, i) => {
    operations.push(
      plan.folders?.includes(path) ? ['mkdir', `outside/${i}`, 0o755] : ['file', `outside/${i}`, 0o644, ''],
      ['mount', `/proc/self/fd/${fd++}`, `outside/${i}`, '', BIND, ''],
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

export interface RootPlan {
  /** `root`, `root-2`: its name in the box. */
  readonly name: string;
  readonly toolbox: Toolbox;
  /** As given to {@link planBox}, in the same order. */
  readonly outside: readonly string[];
  /** `/etc/<name>` → content. */
  readonly etc: Readonly<Record<string, string>>;
  /** Guest path → index in `outside`. */
  readonly bound?: Readonly<Record<string, number>>;
  /** Likewise, for programs of Cordon's own: they can be executed, whatever the toolbox is. */
  readonly programs?: Readonly<Record<string, number>>;
  /** Folders and files with programs in them, by their index in `outside`. */
  readonly tools?: readonly (Omit<ToolMount, 'host'> & { readonly index: number })[];
  /** `/run/cordon/<name>` → content. */
  readonly files: Readonly<Record<string, string>>;
  /** Whether this view has what {@link planSecrets} put there, at `/run/secrets`. */
  readonly secrets?: boolean;
}

/** System files that programs cannot do without; each only where the host has it. */
const SYSTEM_FILES = ['/etc/ld.so.cache', '/etc/localtime'];
const SYSTEM_FOLDERS = ['/etc/alternatives', '/etc/ssl/certs', '/etc/java-17-openjdk', '/etc/perl'];

/** One guest's `/`. */
export function planRoot(plan: RootPlan): Operation[] {
  const { name, toolbox } = plan;
  const list = toolbox.kind === 'list';
  const at = (path: string) => `${name}${path}`;
  const folders = new FolderPlan(name);
  const operations: Operation[] = [['mkdir', name, 0o755]];
  for (const folder of [
    '/usr',
    '/proc',
    '/dev',
    '/tmp',
    '/workspace',
    GUEST_HOME,
    '/run/cordon',
    '/etc',
    '/var/tmp',
    '/run/shm',
  ]) {
    operations.push(...folders.make(folder));
  }
  for (const [file, content] of Object.entries(plan.etc)) {
    operations.push(...folders.make(dirname(`/etc/${file}`)), ['file', at(`/etc/${file}`), 0o644, content]);
  }
  for (const [file, content] of Object.entries(plan.files))
    operations.push(['file', at(`/run/cordon/${file}`), 0o644, content]);
  const system: Operation[] = [];
  const bind = (source: string, target: string, attributes: number, recursive = false) => {
    system.push(
      ['mount', source, at(target), '', recursive ? BIND | REC : BIND, ''],
      ['attributes', at(target), attributes | Attribute.noSuid | Attribute.noDev, recursive ? 1 : 0],
    );
  };
  for (const link of ['bin', 'sbin', 'lib', 'lib64', 'lib32', 'libx32']) {
    const found = lstatSync(`/${link}`, { throwIfNoEntry: false });
    if (found?.isSymbolicLink()) operations.push(['link', readlinkSync(`/${link}`), at(`/${link}`)]);
    else if (found?.isDirectory()) {
      operations.push(...folders.make(`/${link}`));
      bind(`/${link}`, `/${link}`, Attribute.readOnly | (list ? Attribute.noExec : 0), true);
    }
  }
  bind('/usr', '/usr', Attribute.readOnly | (list ? Attribute.noExec : 0), true);
  for (const file of SYSTEM_FILES) {
    if (lstatSync(file, { throwIfNoEntry: false }) === undefined) continue;
    operations.push(['file', at(file), 0o644, '']);
    bind(file, file, Attribute.readOnly | Attribute.noExec);
  }
  for (const folder of SYSTEM_FOLDERS) {
    if (!lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()) continue;
    operations.push(...folders.make(folder));
    bind(folder, folder, Attribute.readOnly | Attribute.noExec);
  }
  if (toolbox.kind === 'list') {
    for (const { path } of [...toolbox.executables, ...toolbox.libraries]) {
      const outside = plan.outside.indexOf(path);
      if (outside < 0) bind(path, path, Attribute.readOnly);
      else {
        operations.push(...folders.make(dirname(path)), ['file', at(path), 0o644, '']);
        bind(`outside/${outside}`, path, Attribute.readOnly);
      }
    }
    for (const { path, target } of toolbox.links) {
      if (!underSystemFolder(path)) operations.push(...folders.make(dirname(path)), ['link', target, at(path)]);
    }
  }
  const bound = Object.entries(plan.bound ?? {});
  for (const [path, index] of [...bound, ...Object.entries(plan.programs ?? {})]) {
    operations.push(['file', at(path), 0o644, '']);
    const noExec = plan.bound?.[path] === undefined ? 0 : Attribute.noExec;
    bind(`outside/${index}`, path, Attribute.readOnly | noExec);
  }
  for (const { guest, index, folder, listed } of plan.tools ?? []) {
    const within = plan.tools?.some((other) => other.folder && guest.startsWith(`${other.guest}/`));
    if (folder) operations.push(...folders.make(guest));
    else if (!within) operations.push(...folders.make(dirname(guest)), ['file', at(guest), 0o644, '']);
    bind(`outside/${index}`, guest, Attribute.readOnly | (list && !listed ? Attribute.noExec : 0));
  }
  if (plan.secrets === true) {
    operations.push(...folders.make('/run/secrets'));
    bind('secrets', '/run/secrets', Attribute.readOnly | Attribute.noExec);
  }
  const writable = list ? Attribute.noExec : 0; // a copy of a tool, or one from memory of a file, is not the tool
  bind('merged', '/workspace', writable);
  bind('tmp', '/tmp', writable);
  bind('tmp', '/var/tmp', writable);
  bind('home', GUEST_HOME, writable);
  bind('shm', '/run/shm', writable);
  return [
    ...operations,
    // Over itself, to make `/` read-only without making the box so.
    ['mount', name, name, '', BIND, ''],
    ...system,
    ['attributes', name, Attribute.readOnly | Attribute.noSuid | Attribute.noDev, 0],
  ];
}

/** True where the guest sees the host's folder as it is, links included. */
function underSystemFolder(path: string): boolean {
  return ['/usr', '/bin', '/sbin', '/lib', '/lib64', ...SYSTEM_FOLDERS].some(
    (folder) => path === folder || path.startsWith(`${folder}/`),
  );
}

/** Files of a toolbox that `/usr` does not bring, in the order {@link planBox} opens them. */
export function outsideFiles(toolbox: Toolbox): string[] {
  if (toolbox.kind === 'usr') return [];
  return [...toolbox.executables, ...toolbox.libraries].filter((file) => file.outsideUsr).map((file) => file.path);
}

/** Remembers which folders of a new root are there already. */
class FolderPlan {
  readonly #name: string;
  readonly #made = new Set<string>(['/']);

  constructor(name: string) {
    this.#name = name;
  }

  make(path: string): Operation[] {
    if (this.#made.has(path)) return [];
    this.#made.add(path);
    return [...this.make(dirname(path)), ['mkdir', `${this.#name}${path}`, 0o755]];
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
