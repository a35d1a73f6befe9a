import {
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { type Disk, type DiskFile, realDisk } from '../../src/audit/disk.ts';

/** What a power cut leaves of the operation it hits and of those that were not synced yet. */
export type Fate =
  /** The cache had reached the disk, the operation at hand too. */
  | 'all kept'
  /** The cache had reached the disk; of a write at hand only half did, nothing of anything else. */
  | 'cut in half'
  /** Nothing that was not synced is there any more. */
  | 'unsynced lost';

class Crash extends Error {}

/**
 * A disk that loses power at its `at`-th change (from 1) and refuses everything afterwards. `count` is how many changes
 * there have been. Data last once their file is synced; a name (of a file made, renamed or removed) once its folder is.
 */
export class CrashDisk implements Disk {
  count = 0;
  crashed = false;
  #last: Promise<void> = Promise.resolve();
  readonly #at: number;
  readonly #fate: Fate;
  readonly #undoData = new Map<string, () => void>();
  readonly #undoNames: { folder: string; undo: () => void }[] = [];
  readonly #graves = mkdtempSync(join(tmpdir(), 'cordon-crash-'));

  constructor(at: number, fate: Fate) {
    this.#at = at;
    this.#fate = fate;
  }

  /** Forgets what was kept of removed files. */
  dispose(): void {
    rmSync(this.#graves, { recursive: true, force: true });
  }

  /** One change at a time: nothing may finish, and be believed, after the power is gone. */
  #step(act: () => Promise<void>, half: () => Promise<void> = async () => {}): Promise<void> {
    const done = this.#last.then(() => this.#change(act, half));
    this.#last = done.catch(() => {});
    return done;
  }

  async #change(act: () => Promise<void>, half: () => Promise<void>): Promise<void> {
    if (this.crashed) throw new Crash('the disk has no power');
    if (++this.count !== this.#at) return act();
    this.crashed = true;
    if (this.#fate === 'all kept') await act();
    if (this.#fate === 'cut in half') await half();
    if (this.#fate === 'unsynced lost') this.#lose();
    throw new Crash(`power cut at change ${this.count}`);
  }

  #lose(): void {
    for (const undo of this.#undoData.values()) undo();
    for (const { undo } of this.#undoNames.reverse()) undo();
  }

  #name(folder: string, undo: () => void): void {
    this.#undoNames.push({ folder, undo });
  }

  async create(path: string, replace: boolean): Promise<DiskFile> {
    let file: DiskFile | undefined;
    await this.#step(async () => {
      file = await realDisk.create(path, replace);
      this.#name(dirname(path), () => existsSync(path) && unlinkSync(path));
    }).catch(async (error: unknown) => {
      await file?.close();
      throw error;
    });
    return this.#wrap(path, file as DiskFile);
  }

  async open(path: string): Promise<DiskFile> {
    if (this.crashed) throw new Crash('the disk has no power');
    return this.#wrap(path, await realDisk.open(path));
  }

  async mkdir(path: string): Promise<void> {
    await this.#step(() => realDisk.mkdir(path));
  }

  async rename(from: string, to: string): Promise<void> {
    const before = existsSync(to) ? readFileSync(to) : null;
    await this.#step(async () => {
      renameSync(from, to);
      this.#undoData.delete(from);
      this.#name(dirname(to), () => (before === null ? existsSync(to) && unlinkSync(to) : writeFileSync(to, before)));
    });
  }

  async unlink(path: string): Promise<void> {
    await this.#step(async () => {
      const grave = join(this.#graves, `${this.count}-${basename(path)}`);
      linkSync(path, grave);
      unlinkSync(path);
      this.#name(dirname(path), () => existsSync(path) || linkSync(grave, path));
    });
  }

  async syncFolder(path: string): Promise<void> {
    await this.#step(async () => {
      await realDisk.syncFolder(path);
      for (let i = this.#undoNames.length - 1; i >= 0; i--)
        if (this.#undoNames[i]?.folder === path) this.#undoNames.splice(i, 1);
    });
  }

  #wrap(path: string, file: DiskFile): DiskFile {
    const unsynced = () => {
      const length = statSync(path).size;
      if (!this.#undoData.has(path)) this.#undoData.set(path, () => existsSync(path) && truncateSync(path, length));
    };
    return {
      fd: file.fd,
      write: (bytes, position) =>
        this.#step(
          () => {
            unsynced();
            return file.write(bytes, position);
          },
          () => file.write(bytes.subarray(0, bytes.length >> 1), position),
        ),
      truncate: (length) => this.#step(() => file.truncate(length)),
      datasync: () =>
        this.#step(async () => {
          await file.datasync();
          this.#undoData.delete(path);
        }),
      close: () => file.close(),
    };
  }
}
