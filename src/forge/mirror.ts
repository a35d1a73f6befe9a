import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256Hex } from '../base/digest.ts';
import { writeDurably } from '../base/durable-file.ts';
import { CancelledError, StorageError } from '../base/errors.ts';
import { FileLock } from '../base/file-lock.ts';
import { type GitPlace, gitBytes } from '../base/git.ts';
import { type Forge, ForgeError, type RefListing, type RemoteRef } from './forge.ts';
import { importPack, missingFrom } from './mirror-import.ts';

/**
 * Mirrors of remote repositories, shared by runs, one folder each below `$CORDON_HOME/mirrors`:
 *
 *     <id>.lock        flock, exclusive: who brings the mirror up to date
 *     <id>.use         flock, shared: who reads from it; exclusive: who packs it anew
 *     <id>/            a bare repository of ours: branches and tags in `packed-refs` alone, no hook, no remote, no configuration but its form
 *     <id>/incoming/   a fetch that is not done; rubbish when nobody holds the lock
 *
 * What arrives is checked (fsck, and that it is whole) beside the mirror, then its pack is renamed in, then `packed-refs` and `HEAD` are replaced:
 * SIGKILL at any moment leaves the mirror as it was, at most with a pack that nothing names yet.
 */
export interface MirrorRequest {
  /** `$CORDON_HOME/mirrors`; exists. */
  readonly root: string;
  readonly forge: Forge;
  /** Bytes that all objects of this mirror may take. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  /** Goes round everything that speaks to the forge, and is alone with this mirror meanwhile. */
  readonly crossing: (update: () => Promise<MirrorUpdate>) => Promise<MirrorUpdate>;
  readonly onProgress?: (text: string) => void;
  /** Packs that may lie beside each other before they are made one. Default 24. */
  readonly mostPacks?: number;
}

export interface MirrorUpdate {
  readonly listing: RefListing;
  /** Bytes of the pack that came; 0 when there was nothing new. */
  readonly received: number;
}

export interface Mirror extends MirrorUpdate {
  readonly place: GitPlace;
  readonly objectsDir: string;
  /** Nobody packs the mirror anew before that; also happens when this process dies. Idempotent. */
  release(): void;
}

const HOUR = 3_600_000;
const HAVES = 4_000;
const KNOWN = ['refs/heads/', 'refs/tags/'];

/** A folder's name that people recognise, and that two repositories never share. */
export function mirrorId(name: string): string {
  const readable = name
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .slice(-60)
    .replace(/^[.-]+/, '');
  return `${readable}-${sha256Hex(name).slice(0, 16)}`;
}

/**
 * Brings the mirror of a repository up to date and opens it. Throws `ForgeError` (nothing has changed then), `StorageError` when
 * it cannot be written.
 */
export async function openMirror(request: MirrorRequest): Promise<Mirror> {
  const dir = join(request.root, mirrorId(request.forge.repository.name));
  const lock = new FileLock(`${dir}.lock`);
  const use = new FileLock(`${dir}.use`);
  try {
    await acquire(lock, request.signal);
    const update = await request.crossing(() => bringUpToDate(dir, request));
    if (use.tryAcquire('exclusive')) await packAnew(dir, request);
    await use.acquire(HOUR, 'shared');
    return { ...update, place: { gitDir: dir }, objectsDir: join(dir, 'objects'), release: () => use.close() };
  } catch (error) {
    use.close();
    throw asStorage(error, dir);
  } finally {
    lock.close();
  }
}

function asStorage(error: unknown, dir: string): unknown {
  if (!(error instanceof Error) || !('syscall' in error)) return error;
  return new StorageError(`the mirror ${dir} could not be written: ${error.message}`, {
    cause: error,
    remedy: 'make room on that disk, or set CORDON_HOME to a folder on another one',
  });
}

async function acquire(lock: FileLock, signal: AbortSignal): Promise<void> {
  while (!lock.tryAcquire()) {
    if (signal.aborted) throw new CancelledError('cancelled by the requester');
    await sleep(20);
  }
}

async function bringUpToDate(dir: string, request: MirrorRequest): Promise<MirrorUpdate> {
  const { forge } = request;
  await rm(join(dir, 'incoming'), { recursive: true, force: true });
  const listing = await forge.listRefs(['HEAD', ...KNOWN]);
  const refs = listing.refs.filter(({ name }) => KNOWN.some((prefix) => name.startsWith(prefix)));
  await makeSkeleton(dir, listing);
  const place: GitPlace = { gitDir: dir };
  const wants = await missingFrom(place, [...new Set(refs.map(({ oid }) => oid))]);
  let received = 0;
  if (wants.length > 0) {
    const room = request.maxBytes - (await packedBytes(dir));
    const haves = await tips(place);
    const onProgress = request.onProgress ?? (() => {});
    const pack = forge.fetchPack({ objectFormat: listing.objectFormat, wants, haves, onProgress });
    received = await importPack({ place, pack, wants, room, name: forge.repository.name });
  }
  await writeRefs(dir, refs, listing.head);
  return { listing: { ...listing, refs }, received };
}

async function makeSkeleton(dir: string, { objectFormat }: RefListing): Promise<void> {
  for (const folder of ['objects/pack', 'objects/info', 'refs']) {
    await mkdir(join(dir, folder), { recursive: true, mode: 0o700 });
  }
  const config = configuration(objectFormat);
  const there = await readFile(join(dir, 'config'), 'utf8').catch(() => null);
  if (there === null) {
    await writeDurably(join(dir, 'HEAD'), 'ref: refs/heads/main\n');
    await writeDurably(join(dir, 'config'), config);
  } else if (there !== config) {
    throw new ForgeError('protocol', `the repository behind ${dir} names its objects otherwise than before`, {
      remedy: `if that is right, remove that mirror: rm -r ${dir}`,
    });
  }
}

function configuration(objectFormat: 'sha1' | 'sha256'): string {
  const sha256 = objectFormat === 'sha256';
  return [
    '[core]',
    `\trepositoryformatversion = ${sha256 ? 1 : 0}`,
    '\tbare = true',
    '\tlogallrefupdates = false',
    ...(sha256 ? ['[extensions]', '\tobjectFormat = sha256'] : []),
    '[gc]\n\tauto = 0',
    '',
  ].join('\n');
}

/** All refs at once, by one rename; what the remote no longer has is gone. No entry lies about what a tag points to: none says. */
async function writeRefs(dir: string, refs: readonly RemoteRef[], head: string | null): Promise<void> {
  const bytes = (name: string) => Buffer.from(name);
  const sorted = [...refs].sort((a, b) => Buffer.compare(bytes(a.name), bytes(b.name)));
  const packed = `# pack-refs with: sorted \n${sorted.map(({ oid, name }) => `${oid} ${name}\n`).join('')}`;
  const now = await readFile(join(dir, 'packed-refs'), 'utf8').catch(() => null);
  if (now !== packed) await writeDurably(join(dir, 'packed-refs'), packed);
  const target = `ref: ${head ?? 'refs/heads/main'}\n`;
  if ((await readFile(join(dir, 'HEAD'), 'utf8')) !== target) await writeDurably(join(dir, 'HEAD'), target);
}

/** What we tell the forge we have: every tip, and of the default branch some history, in case it was rewritten. */
async function tips(place: GitPlace): Promise<string[]> {
  const listed = await gitBytes(place, ['for-each-ref', '--format=%(objectname)'], { maxOutput: 256 * 1024 ** 2 });
  const all = [
    ...new Set(
      listed
        .toString()
        .split('\n')
        .filter((oid) => oid !== ''),
    ),
  ].slice(0, HAVES);
  if (all.length === 0) return [];
  const history = await gitBytes(place, ['rev-list', '--max-count=256', '--ignore-missing', '--stdin'], {
    stdin: `${all.slice(0, 200).join('\n')}\n`,
  }).catch(() => Buffer.alloc(0)); // tips that are no commits
  return [
    ...new Set([
      ...all,
      ...history
        .toString()
        .split('\n')
        .filter((oid) => oid !== ''),
    ]),
  ];
}

async function packs(dir: string): Promise<string[]> {
  return (await readdir(join(dir, 'objects', 'pack'))).filter((name) => name.endsWith('.pack'));
}

async function packedBytes(dir: string): Promise<number> {
  const sizes = (await packs(dir)).map(async (name) => (await stat(join(dir, 'objects', 'pack', name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** One pack instead of many, without what no ref names any more. Nobody else reads meanwhile. */
async function packAnew(dir: string, { onProgress, mostPacks = 24 }: MirrorRequest): Promise<void> {
  const folder = join(dir, 'objects', 'pack');
  for (const name of await readdir(folder)) {
    if (/^(\.?tmp|\.tmp)/.test(name)) await rm(join(folder, name), { force: true });
  }
  if ((await packs(dir)).length <= mostPacks) return;
  onProgress?.('packing the mirror anew');
  await gitBytes({ gitDir: dir }, ['repack', '-a', '-d', '-q', '--no-write-bitmap-index'], { timeout: HOUR });
}
