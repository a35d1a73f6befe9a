import { join } from 'node:path';
import { type Clock, systemClock } from '../base/clock.ts';
import { FileLock } from '../base/file-lock.ts';
import type { RandomSource } from '../base/ids.ts';
import { type Disk, realDisk } from './disk.ts';
import { SEGMENT_BYTES } from './journal-writer.ts';
import { loadOrCreateSigner, requireOwn } from './keys.ts';
import { listSegments, paths } from './layout.ts';
import { asUnavailable, Log } from './log-writer.ts';
import type { Appended, NewEvent, Ticket } from './pending.ts';

export type { Appended, NewEvent, Ticket };

/**
 * The writing end of the log. Any number of processes may have one open on the same folder at once.
 *
 * Durable before acknowledged: `append` resolves when the record and a signed checkpoint that covers it would survive a
 * power cut. Order: events of one process stand in the log in the order in which they were handed over. Nothing is
 * retried: after a failed write or sync the page cache cannot be trusted, so every later call rejects with
 * `AuditUnavailableError`, and whoever was about to act must not.
 */
export interface AuditLog {
  readonly dir: string;
  /** The public key: all that verifying takes. */
  readonly vkey: string;
  /**
   * Resolves when the event is durable. Rejects with `AuditUnavailableError` when it cannot be; with `CordonError`
   * (`internal`) when the event itself is wrong or over 64 KiB, which leaves the log usable.
   */
  append(event: NewEvent): Promise<Appended>;
  /** Hands an event over without waiting; in order with `append`. */
  enqueue(event: NewEvent): Ticket;
  /** Resolves when all that was handed over is durable; rejects when any `enqueue`d event since the last flush is not. */
  flush(): Promise<void>;
  /** The latest signed checkpoint that this process made or saw; null in an empty log. */
  checkpoint(): string | null;
  /** Brings tiles and the `checkpoint` file up to what is durable. Resolves false when another process is at it. */
  publish(): Promise<boolean>;
  /**
   * Flushes, publishes and releases everything. Idempotent. Rejects like `flush`, and when the tiles cannot be written,
   * having released everything all the same.
   */
  close(): Promise<void>;
}

export interface OpenAuditLogOptions {
  /** Folder of the log; made (0700) when missing. */
  readonly dir: string;
  /** Folder of the keys; the log's key is made there at first use. */
  readonly keys: string;
  readonly clock?: Clock;
  readonly random?: RandomSource;
  readonly disk?: Disk;
  /** Milliseconds to wait for another process that is writing. Default 30,000. */
  readonly lockTimeout?: number;
  /** Bytes after which another segment of the journal is begun. Default 1 MiB, which is also the most. */
  readonly segmentBytes?: number;
}

/**
 * Opens the log, or begins one. Costs a few milliseconds however long it is: the last batch and the right edge of the
 * tiles are checked, not every record. Throws `AuditUnavailableError` (folder not writable, or others could write to
 * it, or the journal is damaged) or `AuditInvalidError` (the checkpoint does not fit the tiles).
 */
export async function openAuditLog(options: OpenAuditLogOptions): Promise<AuditLog> {
  const {
    dir,
    keys,
    clock = systemClock,
    random,
    disk = realDisk,
    lockTimeout = 30_000,
    segmentBytes = SEGMENT_BYTES,
  } = options;
  let [lock, log]: [FileLock?, Log?] = [];
  try {
    await makeFolders(dir, disk);
    const signer = await loadOrCreateSigner(keys, random);
    lock = new FileLock(join(dir, paths.lock), clock);
    log = new Log({ dir, clock, disk, signer, lock, lockTimeout, segmentBytes: Math.min(segmentBytes, SEGMENT_BYTES) });
    await log.start();
    return log;
  } catch (cause) {
    await log?.abandon();
    lock?.close();
    throw asUnavailable(`the audit log in ${dir} cannot be opened`, cause);
  }
}

async function makeFolders(dir: string, disk: Disk): Promise<void> {
  await disk.mkdir(dir);
  await requireOwn(dir, 'folder');
  const journal = join(dir, paths.journal);
  await disk.mkdir(journal);
  await requireOwn(journal, 'folder');
  if (listSegments(journal).length > 0) return;
  await disk.syncFolder(join(dir, '..'));
  await disk.syncFolder(dir);
}
