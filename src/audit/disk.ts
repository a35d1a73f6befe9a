import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, unlink } from 'node:fs/promises';
import { syncFolder } from '../base/durable-file.ts';

/**
 * Every change that the log makes to the file system goes through here, so that a test can crash it at each of them.
 * All methods reject with the system's error. Nothing is retried.
 */
export interface Disk {
  /** Makes a new file (0600) for writing; `replace` empties one that is there. */
  create(path: string, replace: boolean): Promise<DiskFile>;
  /** Opens a file that is there for reading and writing; never follows a link. */
  open(path: string): Promise<DiskFile>;
  mkdir(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Makes a folder's entries survive a power cut. */
  syncFolder(path: string): Promise<void>;
}

export interface DiskFile {
  readonly fd: number;
  write(bytes: Uint8Array, position: number): Promise<void>;
  truncate(length: number): Promise<void>;
  /** Makes what was written survive a power cut. After a failure the file must not be trusted. */
  datasync(): Promise<void>;
  close(): Promise<void>;
}

class RealFile implements DiskFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  get fd(): number {
    return this.#handle.fd;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      done += (await this.#handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
    }
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length);
  }

  datasync(): Promise<void> {
    return this.#handle.datasync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

export const realDisk: Disk = {
  async create(path, replace) {
    const fresh = replace ? constants.O_TRUNC : constants.O_EXCL;
    return new RealFile(await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | fresh, 0o600));
  },
  async open(path) {
    return new RealFile(await open(path, constants.O_RDWR | constants.O_NOFOLLOW));
  },
  async mkdir(path) {
    await mkdir(path, { recursive: true, mode: 0o700 });
  },
  rename,
  unlink,
  syncFolder,
};

/** Replaces a file so that a reader sees the old or the new bytes; lasting once its folder is synced as well. */
export async function replaceFile(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`;
  const file = await disk.create(temporary, true);
  try {
    await file.write(bytes, 0);
    await file.datasync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, path);
}
