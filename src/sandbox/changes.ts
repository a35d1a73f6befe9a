/**
 * What a run changed, read from the upper directory of its overlay by trusted code: only when nothing runs inside any
 * more, without following a link, and bounded. Marks of deletion are those of overlayfs with `userxattr`
 * (Documentation/filesystems/overlayfs.rst): a character device 0/0 for a deleted name, and for a folder that hides
 * what was below it an extended attribute, which Node cannot read: such a folder is told by its name being absent
 * from the merged view.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  type Dir,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readlinkSync,
  readSync,
  type Stats,
} from 'node:fs';
import { sha256Hex } from '../base/digest.ts';
import { LimitError, OutsideError } from '../base/errors.ts';
import { printable } from './process-view.ts';
import type { FileChange } from './sandbox.ts';

/** The three views of a workspace, as paths of open folders (`/proc/self/fd/N`). `lower` is null when it began empty. */
interface Walk extends WorkspaceViews {
  /** Bytes that may still be read. */
  room: number;
}

export interface WorkspaceViews {
  readonly upper: string;
  readonly lower: string | null;
  readonly merged: string;
}

const MAX_DEPTH = 256;
/** Bytes of a folder's path: with a name behind it and our own prefix it still has to fit into PATH_MAX (4096). */
const MAX_FOLDER = 3800;

type Kind = FileChange['kind'];

/**
 * Changes below the workspace, sorted within each folder; `.git` is one entry, whatever happened in it.
 * Throws `LimitError` beyond `limit` entries, or when the files seem to hold more than `bytes` together: they lie in a
 * place no larger than that, so the rest is holes, and reading holes is all they would be there for.
 */
export function* workspaceChanges(given: WorkspaceViews, bytes: number, limit = 1_000_000): Generator<FileChange> {
  const views = { ...given, room: bytes };
  let count = 0;
  for (const changes of [walk(views, ROOT, 0), hidden(views, ROOT, 0)]) {
    for (const change of changes) {
      if (++count > limit) throw new LimitError('inodes', `more than ${limit} files changed`);
      yield change;
    }
  }
}

function* walk(views: Walk, folder: Buffer, depth: number): Generator<FileChange> {
  if (depth > MAX_DEPTH || folder.length > MAX_FOLDER)
    throw new LimitError(
      'inodes',
      `folders nested deeper than ${MAX_DEPTH}, or with a path of more than ${MAX_FOLDER} bytes`,
    );
  for (const name of names(join(views.upper, folder))) {
    if (depth === 0 && name.equals(GIT)) {
      yield { path: '.git', change: 'modified', kind: 'directory', before: null, after: null };
      continue;
    }
    const path = folder.length === 0 ? name : Buffer.concat([folder, SLASH, name]);
    const upper = kindOf(join(views.upper, path));
    const lower = views.lower === null ? null : kindOf(join(views.lower, path));
    const merged = kindOf(join(views.merged, path));
    if (merged === null) {
      if (lower !== null) yield* deleted(views, path, lower, depth);
    } else if (upper === 'directory') {
      if (lower !== null && lower !== 'directory') yield record(views, path, 'deleted', lower);
      if (lower !== 'directory') yield record(views, path, 'added', 'directory');
      yield* walk(views, path, depth + 1);
      if (lower === 'directory') yield* hidden(views, path, depth + 1);
    } else {
      if (lower === 'directory') yield* deleted(views, path, lower, depth);
      const change = record(views, path, lower === null || lower === 'directory' ? 'added' : 'modified', merged);
      const differs = change.before !== change.after || change.change === 'added' || lower !== merged;
      if (differs || (merged === 'file' && modeChanged(views, path))) yield change;
    }
  }
}

/** What a replaced folder hides: names of the checkout that are neither in the upper folder nor in the merged view. */
function* hidden(views: Walk, folder: Buffer, depth: number): Generator<FileChange> {
  if (views.lower === null) return;
  for (const name of names(join(views.lower, folder))) {
    const path = folder.length === 0 ? name : Buffer.concat([folder, SLASH, name]);
    if (kindOf(join(views.merged, path)) !== null || kindOf(join(views.upper, path)) !== null) continue;
    const lower = kindOf(join(views.lower, path));
    const inUpper = statOf(join(views.upper, path));
    if (lower !== null && inUpper === undefined) yield* deleted(views, path, lower, depth);
  }
}

function* deleted(views: Walk, path: Buffer, kind: Kind, depth: number): Generator<FileChange> {
  if (depth > MAX_DEPTH || views.lower === null) return;
  yield record(views, path, 'deleted', kind);
  if (kind !== 'directory') return;
  for (const name of names(join(views.lower, path))) {
    const child = Buffer.concat([path, SLASH, name]);
    const childKind = kindOf(join(views.lower, child));
    if (childKind !== null) yield* deleted(views, child, childKind, depth + 1);
  }
}

function record(views: Walk, path: Buffer, change: FileChange['change'], kind: Kind): FileChange {
  const before = change === 'added' || views.lower === null ? null : contentDigest(join(views.lower, path));
  const after = change === 'deleted' ? null : contentDigest(join(views.merged, path), views);
  return { path: printable(path), change, kind, before, after };
}

const ROOT = Buffer.alloc(0);
const SLASH = Buffer.from('/');
const GIT = Buffer.from('.git');

function join(base: string, path: Buffer): Buffer {
  return path.length === 0 ? Buffer.from(base) : Buffer.concat([Buffer.from(`${base}/`), path]);
}

function names(folder: Buffer): Buffer[] {
  let open: Dir;
  try {
    open = opendirSync(folder as unknown as string, { encoding: 'buffer' as BufferEncoding });
  } catch {
    return [];
  }
  const found: Buffer[] = [];
  try {
    for (let entry = open.readSync(); entry !== null; entry = open.readSync())
      found.push(entry.name as unknown as Buffer);
  } finally {
    open.closeSync();
  }
  return found.sort(Buffer.compare);
}

/** Undefined for what is not there, also when what the path takes for a folder is a file in this view. */
function statOf(path: Buffer): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Whether git would see another mode: the one bit of it that a commit keeps. */
function modeChanged(views: WorkspaceViews, path: Buffer): boolean {
  if (views.lower === null) return false;
  const [before, after] = [join(views.lower, path), join(views.merged, path)].map(
    (at) => (statOf(at)?.mode ?? 0) & 0o100,
  );
  return before !== after;
}

/** Null for what is not there, a mark of deletion included. */
function kindOf(path: Buffer): Kind | null {
  const stat = statOf(path);
  if (stat === undefined) return null;
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isSymbolicLink()) return 'symlink';
  return stat.isCharacterDevice() && stat.rdev === 0 ? null : 'special';
}

/** `walk`: for what the guest wrote. The checkout itself is as large as it is. */
function contentDigest(path: Buffer, walk?: Walk): string | null {
  const kind = kindOf(path);
  if (kind === 'symlink') return sha256Hex(readlinkSync(path, { encoding: 'buffer' }));
  if (kind !== 'file') return null;
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (walk !== undefined) {
      walk.room -= fstatSync(fd).size;
      if (walk.room < 0)
        throw new LimitError('disk', 'files seem to hold more than the disk limit: they are mostly holes');
    }
    const hash = createHash('sha256');
    const chunk = Buffer.allocUnsafe(65_536);
    for (let size = readSync(fd, chunk); size > 0; size = readSync(fd, chunk)) hash.update(chunk.subarray(0, size));
    return hash.digest('hex');
  } finally {
    closeSync(fd);
  }
}

/**
 * The bytes of one regular file of the workspace. Every folder on the way is opened without following links.
 * Throws `OutsideError` for anything but a regular file below the workspace, `LimitError` beyond `limit` bytes.
 */
export function copyOut(merged: string, path: string, limit: number): Buffer {
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) {
    throw new OutsideError(`${JSON.stringify(path)} is not a path inside the workspace`);
  }
  let folder = openSync(merged, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    parts.forEach((part, i) => {
      const last = i === parts.length - 1;
      const next = openNext(`/proc/self/fd/${folder}/${part}`, last ? 0 : constants.O_DIRECTORY, path);
      closeSync(folder);
      folder = next;
    });
    const stat = fstatSync(folder);
    if (!stat.isFile()) throw new OutsideError(`${JSON.stringify(path)} is not a regular file`);
    if (stat.size > limit)
      throw new LimitError('output', `${JSON.stringify(path)} has ${stat.size} bytes, more than ${limit}`);
    const bytes = Buffer.alloc(stat.size);
    const size = readSync(folder, bytes, 0, stat.size, 0);
    return bytes.subarray(0, size);
  } finally {
    closeSync(folder);
  }
}

/** One step on the way; a link, a socket, and what is not there are all refused by the kernel. */
function openNext(step: string, flags: number, path: string): number {
  try {
    return openSync(step, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | flags);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new OutsideError(`${JSON.stringify(path)} cannot be copied out of the workspace: ${code}`, { cause });
  }
}
