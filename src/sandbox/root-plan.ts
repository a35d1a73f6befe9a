/** One guest's `/`: an empty folder of the box, and what is mounted into it. What does not stand here is not there. */
import { lstatSync, readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { Attribute, FolderPlan, GUEST_HOME, MountFlag, type Operation } from './mount-operations.ts';
import type { OutsidePlan } from './outside-plan.ts';
import type { Toolbox } from './sandbox.ts';

export interface RootPlan extends Omit<OutsidePlan, 'folders'> {
  /** `root`, `root-2`: its name in the box. */
  readonly name: string;
  readonly toolbox: Toolbox;
  /** `/etc/<name>` → content. */
  readonly etc: Readonly<Record<string, string>>;
  /** `/run/cordon/<name>` → content. */
  readonly files: Readonly<Record<string, string>>;
  /** Whether this view has what `planSecrets` put there, at `/run/secrets`. */
  readonly secrets?: boolean;
}

/** System files that programs cannot do without; each only where the host has it. */
const SYSTEM_FILES = ['/etc/ld.so.cache', '/etc/localtime'];
const SYSTEM_FOLDERS = ['/etc/alternatives', '/etc/ssl/certs', '/etc/java-17-openjdk', '/etc/perl'];

const LINKS = ['bin', 'sbin', 'lib', 'lib64', 'lib32', 'libx32'];
const FOLDERS = [
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
];

export function planRoot(plan: RootPlan): Operation[] {
  const root = new Root(plan.name, plan.toolbox.kind === 'list');
  for (const folder of FOLDERS) root.folder(folder);
  for (const [file, content] of Object.entries(plan.etc)) {
    root.folder(dirname(`/etc/${file}`));
    root.file(`/etc/${file}`, content);
  }
  for (const [file, content] of Object.entries(plan.files)) root.file(`/run/cordon/${file}`, content);
  addSystem(root);
  addToolbox(root, plan);
  addBound(root, plan);
  if (plan.secrets === true) {
    root.folder('/run/secrets');
    root.bind('secrets', '/run/secrets', Attribute.readOnly | Attribute.noExec);
  }
  root.bind('merged', '/workspace', root.unlisted);
  root.bind('tmp', '/tmp', root.unlisted);
  root.bind('tmp', '/var/tmp', root.unlisted);
  root.bind('home', GUEST_HOME, root.unlisted);
  root.bind('shm', '/run/shm', root.unlisted);
  return root.operations();
}

/** Gathers what is made in the new root, and what is mounted into it afterwards. */
class Root {
  readonly #name: string;
  readonly #folders: FolderPlan;
  readonly #made: Operation[];
  readonly #mounts: Operation[] = [];
  /** For what nobody listed: with a list, a copy of a tool, or one from memory of a file, is not the tool. */
  readonly unlisted: number;

  constructor(name: string, list: boolean) {
    this.#name = name;
    this.#folders = new FolderPlan(name);
    this.#made = [['mkdir', name, 0o755]];
    this.unlisted = list ? Attribute.noExec : 0;
  }

  folder(path: string): void {
    this.#made.push(...this.#folders.make(path));
  }

  /** A file that others are bound over has no content of its own. */
  file(path: string, content = ''): void {
    this.#made.push(['file', `${this.#name}${path}`, 0o644, content]);
  }

  link(path: string, target: string): void {
    this.#made.push(['link', target, `${this.#name}${path}`]);
  }

  /** `source`: absolute on the host, or one of the box's own folders. */
  bind(source: string, target: string, attributes: number, recursive = false): void {
    const at = `${this.#name}${target}`;
    this.#mounts.push(
      ['mount', source, at, '', recursive ? MountFlag.bind | MountFlag.recursive : MountFlag.bind, ''],
      ['attributes', at, attributes | Attribute.noSuid | Attribute.noDev, recursive ? 1 : 0],
    );
  }

  operations(): Operation[] {
    const name = this.#name;
    return [
      ...this.#made,
      // Over itself, to make `/` read-only without making the box so.
      ['mount', name, name, '', MountFlag.bind, ''],
      ...this.#mounts,
      ['attributes', name, Attribute.readOnly | Attribute.noSuid | Attribute.noDev, 0],
    ];
  }
}

/** The host's own system, as far as programs cannot do without. */
function addSystem(root: Root): void {
  for (const link of LINKS) {
    const found = lstatSync(`/${link}`, { throwIfNoEntry: false });
    if (found?.isSymbolicLink()) root.link(`/${link}`, readlinkSync(`/${link}`));
    else if (found?.isDirectory()) {
      root.folder(`/${link}`);
      root.bind(`/${link}`, `/${link}`, Attribute.readOnly | root.unlisted, true);
    }
  }
  root.bind('/usr', '/usr', Attribute.readOnly | root.unlisted, true);
  for (const file of SYSTEM_FILES) {
    if (lstatSync(file, { throwIfNoEntry: false }) === undefined) continue;
    root.file(file);
    root.bind(file, file, Attribute.readOnly | Attribute.noExec);
  }
  for (const folder of SYSTEM_FOLDERS) {
    if (!lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()) continue;
    root.folder(folder);
    root.bind(folder, folder, Attribute.readOnly | Attribute.noExec);
  }
}

/** Each file of a list over itself, so that it can be executed. */
function addToolbox(root: Root, { toolbox, outside }: RootPlan): void {
  if (toolbox.kind !== 'list') return;
  for (const { path } of [...toolbox.executables, ...toolbox.libraries]) {
    const index = outside.indexOf(path);
    if (index < 0) root.bind(path, path, Attribute.readOnly);
    else {
      root.folder(dirname(path));
      root.file(path);
      root.bind(`outside/${index}`, path, Attribute.readOnly);
    }
  }
  for (const { path, target } of toolbox.links) {
    if (underSystemFolder(path)) continue;
    root.folder(dirname(path));
    root.link(path, target);
  }
}

/** The trusted side's own files, programs and tools. */
function addBound(root: Root, { bound, programs, tools }: RootPlan): void {
  for (const [path, index] of Object.entries(bound)) {
    root.file(path);
    root.bind(`outside/${index}`, path, Attribute.readOnly | Attribute.noExec);
  }
  for (const [path, index] of Object.entries(programs)) {
    root.file(path);
    root.bind(`outside/${index}`, path, Attribute.readOnly);
  }
  for (const { guest, index, folder, listed } of tools) {
    const within = tools.some((other) => other.folder && guest.startsWith(`${other.guest}/`));
    if (folder) root.folder(guest);
    else if (!within) {
      root.folder(dirname(guest));
      root.file(guest);
    }
    root.bind(`outside/${index}`, guest, Attribute.readOnly | (listed ? 0 : root.unlisted));
  }
}

/** True where the guest sees the host's folder as it is, links included. */
function underSystemFolder(path: string): boolean {
  return ['/usr', '/bin', '/sbin', '/lib', '/lib64', ...SYSTEM_FOLDERS].some(
    (folder) => path === folder || path.startsWith(`${folder}/`),
  );
}
