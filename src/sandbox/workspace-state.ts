/**
 * What the workspace holds over its checkout, read from the overlay's upper folder by trusted code, also while the guest is at work: every
 * folder is opened from its parent's descriptor and no link is ever followed, so that a name that becomes a link under the reader leads
 * nowhere. What is read is no more than the guest's word: it goes back into a sandbox, and to no other place.
 *
 * `.git` at the top is left out.
 */

import type { BigIntStats } from 'node:fs';
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { LimitError } from '../base/errors.ts';
import type { WorkspaceViews } from './changes.ts';

export interface WorkspaceEntry {
  /** Relative, the name's bytes as they are. */
  readonly path: Buffer;
  /** `gone`: the checkout has it, and the workspace no more. */
  readonly kind: 'file' | 'symlink' | 'directory' | 'gone';
  /** True when the checkout has something of another kind at that name. */
  readonly replaces: boolean;
  readonly mode: number;
  /** Milliseconds since 1970. */
  readonly mtime: number;
  readonly size: number;
  /** Another one when its content may be another: the guest cannot set what it is made of. */
  readonly stamp: string;
  /**
   * A file's bytes, or a link's target; null when it is gone, changes its kind, or holds more than so many bytes. Only until the next
   * entry is asked for.
   */
  read(most: number): Buffer | null;
}

const MAX_DEPTH = 256;
const MAX_ENTRIES = 500_000;
/** Bytes of a path: whoever puts it back names it whole, and the kernel takes 4096 (PATH_MAX). */
const MAX_PATH = 3_800;
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** Folders come before what is in them. Throws `LimitError` beyond its bounds. */
export function* workspaceState({ upper, lower, merged }: WorkspaceViews): Generator<WorkspaceEntry> {
  const walk = new Walk();
  const open = [upper, lower, merged].map((view) => (view === null ? null : openFolder(view)));
  try {
    const [up = null, low = null, all = null] = open;
    if (up !== null && all !== null) yield* walk.folder(up, low, all, Buffer.alloc(0), 0);
  } finally {
    for (const fd of open) if (fd !== null) closeSync(fd);
  }
}

class Walk {
  #count = 0;

  *folder(up: number, low: number | null, all: number, at: Buffer, depth: number): Generator<WorkspaceEntry> {
    if (depth > MAX_DEPTH) throw new LimitError('inodes', `folders nested deeper than ${MAX_DEPTH}`);
    const seen = new Set<string>();
    for (const name of names(up)) {
      if (depth === 0 && name.toString('latin1') === '.git') continue;
      seen.add(name.toString('latin1'));
      yield* this.#entry(up, low, all, at, name, depth);
    }
    if (low === null) return;
    // What a folder that took another's place hides is in neither of the other views.
    for (const name of names(low)) {
      if (depth === 0 && name.toString('latin1') === '.git') continue;
      if (seen.has(name.toString('latin1')) || statAt(all, name) !== null) continue;
      yield this.#gone(pathOf(at, name));
    }
  }

  *#entry(
    up: number,
    low: number | null,
    all: number,
    at: Buffer,
    name: Buffer,
    depth: number,
  ): Generator<WorkspaceEntry> {
    const stat = statAt(up, name);
    const below = low === null ? null : kindOf(statAt(low, name));
    const kind = kindOf(stat);
    const path = pathOf(at, name);
    if (kind === null || stat === null) {
      // A mark of deletion, a socket, a device: none of them comes back.
      if (below !== null) yield this.#gone(path);
      return;
    }
    this.#add();
    yield entry(up, name, path, kind, stat, below !== null && below !== kind);
    if (kind !== 'directory') return;
    const next = { up: openAt(up, name), low: below === 'directory' && low !== null ? openAt(low, name) : null };
    const allNext = openAt(all, name);
    try {
      if (next.up !== null && allNext !== null) yield* this.folder(next.up, next.low, allNext, path, depth + 1);
    } finally {
      for (const fd of [next.up, next.low, allNext]) if (fd !== null) closeSync(fd);
    }
  }

  #gone(path: Buffer): WorkspaceEntry {
    this.#add();
    return { path, kind: 'gone', replaces: false, mode: 0, mtime: 0, size: 0, stamp: 'gone', read: () => null };
  }

  #add(): void {
    if (++this.#count > MAX_ENTRIES) throw new LimitError('inodes', `more than ${MAX_ENTRIES} files changed`);
  }
}

type Kind = Exclude<WorkspaceEntry['kind'], 'gone'>;

function entry(
  up: number,
  name: Buffer,
  path: Buffer,
  kind: Kind,
  stat: BigIntStats,
  replaces: boolean,
): WorkspaceEntry {
  const { mode, size, mtimeMs, ino, ctimeNs } = stat;
  return {
    path,
    kind,
    replaces,
    mode: Number(mode & 0o7777n),
    mtime: Number(mtimeMs),
    size: kind === 'directory' ? 0 : Number(size),
    // A folder's times change with what is in it, which is told by itself.
    stamp: kind === 'directory' ? `directory ${mode} ${replaces}` : `${kind} ${mode} ${ino} ${ctimeNs} ${size}`,
    read: (most) => (kind === 'symlink' ? readLink(up, name) : kind === 'file' ? readFile(up, name, most) : null),
  };
}

const SLASH = Buffer.from('/');

function pathOf(at: Buffer, name: Buffer): Buffer {
  if (at.length + name.length >= MAX_PATH) throw new LimitError('inodes', `a path of more than ${MAX_PATH} bytes`);
  return at.length === 0 ? name : Buffer.concat([at, SLASH, name]);
}

function inside(folder: number, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${folder}/`), name]);
}

function names(folder: number): Buffer[] {
  try {
    return readdirSync(`/proc/self/fd/${folder}`, { encoding: 'buffer' }).sort(Buffer.compare);
  } catch {
    return []; // removed meanwhile, or not to be read
  }
}

function openFolder(path: string | Buffer): number | null {
  try {
    // A view itself is named through a descriptor, which is a link.
    return openSync(path, typeof path === 'string' ? FOLDER & ~constants.O_NOFOLLOW : FOLDER);
  } catch {
    return null;
  }
}

function openAt(folder: number, name: Buffer): number | null {
  return openFolder(inside(folder, name));
}

function statAt(folder: number, name: Buffer): BigIntStats | null {
  try {
    return lstatSync(inside(folder, name), { bigint: true });
  } catch {
    return null;
  }
}

function kindOf(stat: BigIntStats | null): Kind | null {
  if (stat?.isFile()) return 'file';
  if (stat?.isDirectory()) return 'directory';
  return stat?.isSymbolicLink() ? 'symlink' : null;
}

function readLink(folder: number, name: Buffer): Buffer | null {
  try {
    return readlinkSync(inside(folder, name), { encoding: 'buffer' });
  } catch {
    return null;
  }
}

/** As much as it held when it was opened: one that grows under the reader is read again the next time. */
function readFile(folder: number, name: Buffer, most: number): Buffer | null {
  let fd: number;
  try {
    fd = openSync(inside(folder, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return null;
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size > most) return null; // a size is the guest's word too: holes cost it nothing
    const bytes = Buffer.alloc(stat.size);
    let at = 0;
    for (let size = -1; size !== 0 && at < bytes.length; at += size)
      size = readSync(fd, bytes, at, bytes.length - at, at);
    return bytes.subarray(0, at);
  } finally {
    closeSync(fd);
  }
}
