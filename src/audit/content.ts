import { randomBytes, timingSafeEqual } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, systemClock } from '../base/clock.ts';
import { createOnce, syncFolder } from '../base/durable-file.ts';
import { AuditInvalidError, CordonError, LimitError, NotFoundError, StorageError } from '../base/errors.ts';
import { isRunId, newRunId, type RandomSource } from '../base/ids.ts';
import {
  CHUNK_BYTES,
  contentDigest,
  contentKey,
  MAGIC,
  openChunk,
  SALT_BYTES,
  sealChunk,
  TAG_BYTES,
} from './content-format.ts';
import type { ContentRef } from './event.ts';
import { requireOwn } from './keys.ts';

export type ContentSource = Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/**
 * Content beside the tree: what is too long, too sensitive or not for ever. Encrypted under a key of its run, which lies
 * with the keys and not with the log, so that a copy of the log's folder tells nothing. Deleting the run's key and files
 * leaves the tree verifying. Safe for several processes at once; nothing is retried.
 */
export interface ContentStore {
  /**
   * Resolves when the content is durable: append the event that refers to it only then. In memory a chunk at a time.
   * Throws `LimitError` beyond `maxBytes`, `StorageError` when it cannot be written; nothing is left behind then.
   */
  put(run: string, source: ContentSource, options: { mediaType: string; maxBytes: number }): Promise<ContentRef>;
  /**
   * The content, piece by piece. Throws `NotFoundError` when it was deleted and `AuditInvalidError` when it is not what
   * the log recorded; the latter may come after the first pieces.
   */
  read(run: string, ref: ContentRef): AsyncGenerator<Buffer>;
  /** The whole content in memory; throws `LimitError` when the reference names more than `maxBytes`. */
  readAll(run: string, ref: ContentRef, maxBytes: number): Promise<Buffer>;
  /** Deletes the run's key, then its files. Idempotent. Record it through `deleteRunContent` (retention.ts). */
  deleteRun(run: string): Promise<void>;
}

export interface ContentStoreOptions {
  /** `content/` below the log's folder; made (0700) when missing. */
  readonly dir: string;
  /** Folder of the keys, which gets a folder `content/`. */
  readonly keys: string;
  readonly clock?: Clock;
  readonly random?: RandomSource;
}

export function openContentStore({
  dir,
  keys,
  clock = systemClock,
  random = randomBytes,
}: ContentStoreOptions): ContentStore {
  return new Store(dir, join(keys, 'content'), () => newRunId(clock.now(), random), random);
}

class Store implements ContentStore {
  readonly #dir: string;
  readonly #keys: string;
  readonly #newId: () => string;
  readonly #random: RandomSource;

  constructor(dir: string, keys: string, newId: () => string, random: RandomSource) {
    this.#dir = dir;
    this.#keys = keys;
    this.#newId = newId;
    this.#random = random;
  }

  async put(
    run: string,
    source: ContentSource,
    { mediaType, maxBytes }: { mediaType: string; maxBytes: number },
  ): Promise<ContentRef> {
    const folder = this.#folder(run);
    const id = this.#newId();
    const path = join(folder, id);
    const part = `${path}.part`;
    let handle: FileHandle | undefined;
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 });
      await requireOwn(this.#dir, 'folder');
      const runKey = await this.#makeKey(run);
      if (await mkdir(folder, { recursive: true, mode: 0o700 })) await syncFolder(this.#dir);
      handle = await open(part, 'wx', 0o600);
      const sealed = await this.#seal(handle, runKey, { run, id }, source, maxBytes);
      await handle.sync();
      await handle.close();
      handle = undefined;
      await rename(part, path);
      await syncFolder(folder);
      return { id, ...sealed, mediaType };
    } catch (cause) {
      await handle?.close().catch(() => {});
      await unlink(part).catch(() => {});
      if (cause instanceof CordonError) throw cause;
      throw new StorageError(`content of run ${run} could not be kept: ${(cause as Error).message}`, { cause });
    }
  }

  async #seal(
    handle: FileHandle,
    runKey: Uint8Array,
    name: { run: string; id: string },
    source: ContentSource,
    maxBytes: number,
  ): Promise<{ digest: string; bytes: number }> {
    const [keySalt, digestSalt] = [this.#random(SALT_BYTES), this.#random(SALT_BYTES)];
    const key = contentKey(runKey, keySalt, name);
    const hmac = contentDigest(digestSalt);
    await handle.writeFile(Buffer.concat([MAGIC, keySalt]));
    let [chunk, bytes, pending] = [0, 0, Buffer.from(digestSalt)];
    for await (const piece of source instanceof Uint8Array ? [source] : source) {
      bytes += piece.length;
      if (bytes > maxBytes)
        throw new LimitError('output', `content of run ${name.run} is longer than ${maxBytes} bytes`);
      hmac.update(piece);
      pending = Buffer.concat([pending, piece]);
      let at = 0;
      // One byte at least stays back: only the end of the source says which chunk is the last.
      for (; pending.length - at > CHUNK_BYTES; at += CHUNK_BYTES) {
        await handle.writeFile(sealChunk(key, chunk++, false, pending.subarray(at, at + CHUNK_BYTES)));
      }
      pending = pending.subarray(at);
    }
    await handle.writeFile(sealChunk(key, chunk, true, pending));
    return { digest: `hmac-sha256:${hmac.digest('hex')}`, bytes };
  }

  async *read(run: string, ref: ContentRef): AsyncGenerator<Buffer> {
    const path = join(this.#folder(run), ref.id);
    if (!isRunId(ref.id))
      throw new NotFoundError(`${JSON.stringify(ref.id.slice(0, 40))} is not the id of any content`);
    const wrong = (what: string) => new AuditInvalidError(`the content ${ref.id} of run ${run} ${what}`);
    const runKey = await this.#readKey(run);
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => null);
    if (runKey === null || handle === null) {
      await handle?.close();
      throw new NotFoundError(`the content ${ref.id} of run ${run} has been deleted, or never was on this machine`);
    }
    try {
      const { size } = await handle.stat();
      const head = Buffer.alloc(MAGIC.length + SALT_BYTES);
      await handle.read(head, 0, head.length, 0);
      if (!head.subarray(0, MAGIC.length).equals(MAGIC)) throw wrong('is not in a form known here');
      const key = contentKey(runKey, head.subarray(MAGIC.length), { run, id: ref.id });
      const sealed = Buffer.alloc(CHUNK_BYTES + TAG_BYTES);
      let [hmac, bytes] = [contentDigest(Buffer.alloc(0)), 0];
      for (let [chunk, at] = [0, head.length]; chunk === 0 || at < size; chunk++) {
        const { bytesRead } = await handle.read(sealed, 0, sealed.length, at);
        at += bytesRead;
        let plain = openChunk(key, chunk, at >= size, sealed.subarray(0, bytesRead));
        if (plain === null || bytesRead === 0) throw wrong('has been changed or cut');
        if (chunk === 0) {
          hmac = contentDigest(plain.subarray(0, SALT_BYTES));
          plain = plain.subarray(SALT_BYTES);
        }
        hmac.update(plain);
        bytes += plain.length;
        if (plain.length > 0) yield plain;
      }
      const expected = Buffer.from(ref.digest);
      const got = Buffer.from(`hmac-sha256:${hmac.digest('hex')}`);
      if (bytes !== ref.bytes || got.length !== expected.length || !timingSafeEqual(got, expected)) {
        throw wrong('is not the one that the log recorded');
      }
    } finally {
      await handle.close();
    }
  }

  async readAll(run: string, ref: ContentRef, maxBytes: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of this.read(run, ref)) {
      bytes += piece.length;
      if (bytes > maxBytes) throw new LimitError('output', `the content ${ref.id} is longer than ${maxBytes} bytes`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }

  async deleteRun(run: string): Promise<void> {
    const folder = this.#folder(run);
    try {
      // The key first: from then on the content is gone, wherever copies of the files may lie.
      await rm(this.#keyPath(run), { force: true });
      if (await stat(this.#keys).catch(() => null)) await syncFolder(this.#keys);
      await rm(folder, { recursive: true, force: true });
      if (await stat(this.#dir).catch(() => null)) await syncFolder(this.#dir);
    } catch (cause) {
      throw new StorageError(`content of run ${run} could not be deleted: ${(cause as Error).message}`, { cause });
    }
  }

  /** A run's id becomes part of a path: nothing else may. */
  #folder(run: string): string {
    if (!isRunId(run)) throw new NotFoundError(`${JSON.stringify(run.slice(0, 40))} is not the id of a run`);
    return join(this.#dir, run);
  }

  #keyPath(run: string): string {
    return join(this.#keys, `${run}.key`);
  }

  async #readKey(run: string): Promise<Buffer | null> {
    const path = this.#keyPath(run);
    try {
      await requireOwn(path, 'secret');
      const key = await readFile(path);
      if (key.length === 32) return key;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
    throw new StorageError(`the key ${path} is not 32 bytes long`);
  }

  /** Whole or not at all, and the first one stays when two processes make it at once. */
  async #makeKey(run: string): Promise<Buffer> {
    const there = await this.#readKey(run);
    if (there !== null) return there;
    await mkdir(this.#keys, { recursive: true, mode: 0o700 });
    await requireOwn(this.#keys, 'folder');
    await createOnce(this.#keys, `${run}.key`, this.#random(32));
    const made = await this.#readKey(run);
    if (made === null) throw new StorageError(`the key of run ${run} was deleted while it was being made`);
    return made;
  }
}
