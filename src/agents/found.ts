/** Where an agent is on this machine: installed by Cordon, else on the user's own PATH. */
import { access, constants, open, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { EnforcementError } from '../base/errors.ts';
import type { AgentProfile } from './agent.ts';
import { contentDigest, readTree, treeDigest, treeEntry } from './tree.ts';

export interface AgentPlaces {
  /** Cordon's own: `<agent>/<version>/`. */
  readonly tools: string;
  /** The user's `PATH`. */
  readonly path: string;
  /** The Node that runs this. */
  readonly node: string;
}

/** Something of the host at a path inside, read-only. */
export interface Mount {
  readonly host: string;
  readonly guest: string;
  readonly folder: boolean;
}

export interface FoundAgent {
  readonly source: 'installed' | 'host';
  readonly version: string;
  /** `sha256:…` over its files. */
  readonly tree: string;
  /** `sha256:…` of npm's lock file; null for one that Cordon did not install. */
  readonly lock: string | null;
  readonly mounts: readonly Mount[];
  /** The file on this machine that is executed first: the agent, or the Node that reads it. */
  readonly program: string;
  /** The same inside. */
  readonly launcher: readonly [string, ...string[]];
  /** The program that the first one starts; null where there is none, or nobody knows where. */
  readonly second: Program | null;
}

interface Program {
  /** The file on this machine. */
  readonly host: string;
  readonly guest: string;
}

/** Beside the tree, which is mounted: what it was when it was installed. */
export const MANIFEST = 'manifest.json';
export const TREE = 'tree';
/** Names the version that counts. */
export const CURRENT = 'current';

const GUEST_AGENT = '/run/cordon/agent';
const GUEST_NODE = '/run/cordon/node';

const manifestSchema = z.strictObject({
  format: z.literal(1),
  package: z.string(),
  version: z.string(),
  /** As the registry told for the package itself. */
  integrity: z.string().nullable(),
  lock: z.string(),
  tree: z.string(),
  files: z.array(treeEntry),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** Null when it is nowhere. Throws `EnforcementError` when its files are not what was installed. */
export async function findAgent(profile: AgentProfile, places: AgentPlaces): Promise<FoundAgent | null> {
  return (await findInstalled(profile, places)) ?? (await findOnPath(profile, places));
}

/** The version that `cordon agents install` put there last. */
async function installedVersion(profile: AgentProfile, tools: string): Promise<string | null> {
  const text = await readFile(join(tools, profile.name, CURRENT), 'utf8').catch(absent);
  return text !== null && VERSION.test(text.trim()) ? text.trim() : null;
}

export const VERSION = /^[0-9]+(\.[0-9A-Za-z-]+){0,8}$/;

async function findInstalled(profile: AgentProfile, places: AgentPlaces): Promise<FoundAgent | null> {
  const version = await installedVersion(profile, places.tools);
  if (version === null) return null;
  const folder = join(places.tools, profile.name, version);
  const manifest = await readManifest(folder, profile);
  const files = await readTree(join(folder, TREE), manifest.files);
  const now = treeDigest(files);
  if (now !== manifest.tree) throw changed(profile, folder, differing(manifest, files));
  const entry = profile.package.entry(process.arch);
  const mount = { host: join(folder, TREE), guest: GUEST_AGENT, folder: true };
  const { lock } = manifest;
  const started = startedBy(profile, places, mount, `node_modules/${entry}`);
  const also = profile.package.second?.(process.arch);
  const of = (place: string) => join(place, 'node_modules', also ?? '');
  const real = also === undefined ? null : await realpath(of(mount.host)).catch(absent);
  const second = real === null ? null : { host: real, guest: of(mount.guest) };
  return { source: 'installed', version, tree: now, lock, second, ...started };
}

async function readManifest(folder: string, profile: AgentProfile): Promise<Manifest> {
  try {
    return manifestSchema.parse(JSON.parse(await readFile(join(folder, MANIFEST), 'utf8')));
  } catch (cause) {
    throw changed(profile, folder, MANIFEST, cause);
  }
}

function changed({ name, title }: AgentProfile, folder: string, what: string, cause?: unknown): EnforcementError {
  return new EnforcementError('agent-files', `${title} in ${folder} is not what was installed: ${what}`, {
    cause,
    remedy: `cordon agents install ${name} --force`,
  });
}

function differing({ files }: Manifest, now: Manifest['files']): string {
  const before = new Map(files.map((entry) => [entry.path, entry]));
  const odd = now.find((entry) => {
    const same = before.get(entry.path);
    before.delete(entry.path);
    return same?.sha256 !== entry.sha256 || same.executable !== entry.executable || same.link !== entry.link;
  });
  return odd?.path ?? before.keys().next().value ?? MANIFEST;
}

function startedBy(profile: AgentProfile, places: AgentPlaces, mount: Mount, entry: string) {
  if (profile.package.runtime === 'native') {
    const launcher = [join(mount.guest, entry)] as const;
    return { mounts: [mount], program: join(mount.host, entry), launcher };
  }
  const node = { host: places.node, guest: GUEST_NODE, folder: false };
  return { mounts: [mount, node], program: places.node, launcher: [GUEST_NODE, join(mount.guest, entry)] as const };
}

/** An installation of npm's, or one program by itself. */
async function findOnPath(profile: AgentProfile, places: AgentPlaces): Promise<FoundAgent | null> {
  const program = await onPath(profile.program, places.path);
  if (program === null) return null;
  const { name, runtime, entry } = profile.package;
  const marker = `/node_modules/${name}/`;
  const at = program.lastIndexOf(marker);
  if (at < 0) {
    if (runtime !== 'native' || !(await isElf(program))) return null;
    const mount = { host: program, guest: `${GUEST_AGENT}-program`, folder: false };
    const file = {
      path: profile.program,
      executable: true,
      link: false,
      identity: '',
      sha256: await contentDigest(program),
    };
    const tree = treeDigest([file]);
    const launcher = [mount.guest] as const;
    return { source: 'host', version: 'unknown', tree, lock: null, mounts: [mount], program, launcher, second: null };
  }
  const own = program.slice(0, at + marker.length - 1);
  const file = entry(process.arch);
  const folder = await firstFolder(own, program.slice(0, at + '/node_modules'.length), file);
  if (folder === null) return null;
  const packageName = file
    .split('/')
    .slice(0, file.startsWith('@') ? 2 : 1)
    .join('/');
  const mount = { host: folder, guest: `${GUEST_AGENT}/node_modules/${packageName}`, folder: true };
  const tree = treeDigest(await readTree(folder));
  const rest = file.slice(packageName.length + 1);
  const started = startedBy(profile, places, mount, rest);
  return { source: 'host', version: await versionOf(own), tree, lock: null, second: null, ...started };
}

/** The folder of the package that the entry is in: the agent's own, or one beside or below it. */
async function firstFolder(own: string, modules: string, entry: string): Promise<string | null> {
  const packageName = entry
    .split('/')
    .slice(0, entry.startsWith('@') ? 2 : 1)
    .join('/');
  for (const place of [join(own, 'node_modules'), modules]) {
    if (await isFile(join(place, entry))) return join(place, packageName);
  }
  return null;
}

async function onPath(program: string, path: string): Promise<string | null> {
  for (const folder of path.split(':')) {
    if (!folder.startsWith('/')) continue;
    const file = await realpath(join(folder, program)).catch(absent);
    if (file === null || !(await isFile(file))) continue;
    const usable = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return file;
  }
  return null;
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(absent))?.isFile() === true;
}

async function isElf(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return buffer.equals(Buffer.from('\x7fELF', 'latin1'));
  } finally {
    await file.close();
  }
}

async function versionOf(folder: string): Promise<string> {
  try {
    return z
      .object({ version: z.string().regex(VERSION) })
      .parse(JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))).version;
  } catch {
    return 'unknown';
  }
}

function absent(error: unknown): null {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return null;
  throw error;
}
