import { join } from 'node:path';
import { type Clock, systemClock, timestamp } from '../base/clock.ts';
import { AuditUnavailableError, CordonError, StorageError } from '../base/errors.ts';
import { FileLock } from '../base/file-lock.ts';
import type { RandomSource } from '../base/ids.ts';
import type { Signer } from './checkpoint.ts';
import { type Disk, realDisk } from './disk.ts';
import { type AuditEvent, type EventBody, MAX_RECORD, parseEvent } from './event.ts';
import { MAX_BATCH_BYTES, MAX_BATCH_RECORDS } from './journal.ts';
import { JournalWriter, type Recovered, SEGMENT_BYTES } from './journal-writer.ts';
import { loadOrCreateSigner, requireOwn } from './keys.ts';
import { listSegments, paths } from './layout.ts';
import { durableSegments, hasTiles, publish, readCheckpoint, requireFit } from './publish.ts';

/** An event to append; `cause` is the seq of the event it follows from, or the ticket of one enqueued before it. */
export type NewEvent = EventBody & { readonly cause?: number | Ticket | null };

export interface Appended {
  readonly seq: number;
}

/** An event on its way. */
export interface Ticket {
  /** Resolves when the event is durable. May be left alone: `flush` rejects with the same error. */
  readonly durable: Promise<Appended>;
  /** Resolves when the queue has room again: await it before enqueueing more, or memory is not bounded. */
  readonly room: Promise<void>;
}

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
  /** Flushes, publishes and releases everything. Rejects like `flush`, having released everything all the same. */
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

/** Bytes of events waiting beyond which `room` waits. */
const QUEUE_BYTES = 8 * 1024 * 1024;
const SYSTEM = { id: 'system:cordon', kind: 'system' } as const;

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

function asUnavailable(what: string, cause: unknown): CordonError {
  if (cause instanceof CordonError && !(cause instanceof StorageError)) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  const remedy =
    cause instanceof StorageError && cause.remedy !== undefined
      ? cause.remedy
      : code === 'ENOSPC' || code === 'EDQUOT'
        ? 'make room on its disk; nothing can run without the log'
        : 'check its folder, its disk and who owns it; nothing can run without the log';
  return new AuditUnavailableError(`${what}: ${message}`, { cause, remedy });
}

interface Waiting {
  /** A copy, validated: what the caller does to its own object afterwards changes nothing. */
  readonly event: AuditEvent;
  readonly cause: number | QueuedTicket | null;
  /** At least as many as its record will have. */
  readonly bytes: number;
  readonly ticket: QueuedTicket;
}

class QueuedTicket implements Ticket {
  readonly #done = Promise.withResolvers<Appended>();
  room: Promise<void> = Promise.resolve();
  /** Set when its batch is formed: later events of the queue may name it as their cause. */
  seq: number | undefined;
  readonly resolve = this.#done.resolve;
  readonly reject = this.#done.reject;

  constructor() {
    this.#done.promise.catch(() => {}); // whoever did not keep it hears of it from flush
  }

  get durable(): Promise<Appended> {
    return this.#done.promise;
  }
}

interface Parts {
  dir: string;
  clock: Clock;
  disk: Disk;
  signer: Signer;
  lock: FileLock;
  lockTimeout: number;
  segmentBytes: number;
}

class Log implements AuditLog {
  readonly dir: string;
  readonly vkey: string;
  readonly #parts: Parts;
  readonly #journal: JournalWriter;
  #queue: Waiting[] = [];
  #queued = 0;
  #room: PromiseWithResolvers<void> | null = null;
  #draining: Promise<void> | null = null;
  #publishing: Promise<boolean> | null = null;
  #dead: CordonError | null = null;
  #unheard: unknown = null;
  #recovered: Recovered | null = null;
  #unpublished = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.dir = parts.dir;
    this.vkey = parts.signer.vkey;
    this.#journal = new JournalWriter(parts.dir, parts.disk, parts.signer, parts.segmentBytes);
  }

  async start(): Promise<void> {
    const { dir, signer, lock, lockTimeout } = this.#parts;
    await lock.acquire(lockTimeout);
    try {
      // In this order: a segment goes only after the checkpoint that covers it is there.
      const [first] = listSegments(join(dir, paths.journal));
      const published = readCheckpoint(dir, signer);
      this.#recovered = await this.#journal.refresh();
      const size = this.#journal.tree.size;
      if (
        published === null
          ? (first ?? 0) > 0 || (first === undefined && hasTiles(dir))
          : (first ?? Infinity) > published.size
      ) {
        throw new AuditUnavailableError(
          `the audit log in ${dir} has lost records: its tiles end at ${published?.size ?? 0}, its journal begins at ${first ?? 'nothing'}`,
          {
            remedy: 'run "cordon audit verify" to see what is left',
          },
        );
      }
      if (published !== null && published.size > size) {
        throw new AuditUnavailableError(
          `the audit log in ${dir} has lost records: ${published.size} were published, the journal ends at ${size}`,
          {
            remedy: 'run "cordon audit verify" to see what is left',
          },
        );
      }
      if (published !== null) requireFit(dir, published);
      this.#unpublished = size > (published?.size ?? 0);
    } finally {
      lock.release();
    }
  }

  append(event: NewEvent): Promise<Appended> {
    return this.#put(event).durable;
  }

  enqueue(event: NewEvent): Ticket {
    const ticket = this.#put(event);
    ticket.durable.catch((error: unknown) => {
      this.#unheard ??= error;
    });
    return ticket;
  }

  #put(event: NewEvent): QueuedTicket {
    const ticket = new QueuedTicket();
    if (this.#dead !== null) {
      ticket.reject(this.#dead);
      return ticket;
    }
    try {
      const waiting = { ...prepare(event), ticket };
      this.#queue.push(waiting);
      this.#queued += waiting.bytes;
    } catch (error) {
      ticket.reject(error);
      return ticket;
    }
    if (this.#queued > QUEUE_BYTES) {
      this.#room ??= Promise.withResolvers();
      ticket.room = this.#room.promise;
    }
    this.#draining ??= this.#drain();
    return ticket;
  }

  async flush(): Promise<void> {
    while (this.#draining !== null) await this.#draining;
    const unheard = this.#unheard;
    this.#unheard = null;
    if (this.#dead !== null) throw this.#dead;
    if (unheard !== null) throw unheard;
  }

  checkpoint(): string | null {
    return this.#journal.note;
  }

  /** Self-clocked: while one batch is being synced the next one gathers, and its size follows the load. */
  async #drain(): Promise<void> {
    const { lock, lockTimeout } = this.#parts;
    let batch: Waiting[] = [];
    try {
      while (this.#queue.length > 0) {
        // Callers that the last batch released, and other processes that wait for the lock, get their turn first.
        await new Promise(setImmediate);
        await lock.acquire(lockTimeout);
        let rotated = false;
        try {
          this.#recovered = (await this.#journal.refresh()) ?? this.#recovered;
          batch = this.#take();
          rotated = await this.#commit(batch);
        } finally {
          lock.release();
        }
        for (const { ticket } of batch) ticket.resolve({ seq: ticket.seq as number });
        batch = [];
        if (rotated) void this.publish().catch(() => {}); // the journal holds it all; close tries again and reports
      }
    } catch (cause) {
      this.#die(asUnavailable(`the audit log in ${this.dir} cannot take records`, cause), batch);
    } finally {
      this.#draining = null;
    }
  }

  #take(): Waiting[] {
    let [count, bytes] = [0, 0];
    for (const waiting of this.#queue) {
      bytes += waiting.bytes;
      if (count > 0 && (bytes > MAX_BATCH_BYTES - MAX_RECORD || count >= MAX_BATCH_RECORDS - 1)) break;
      count++;
    }
    const taken = this.#queue.splice(0, count);
    this.#queued -= taken.reduce((sum, { bytes: size }) => sum + size, 0);
    if (this.#room !== null && this.#queued <= QUEUE_BYTES / 2) {
      this.#room.resolve();
      this.#room = null;
    }
    return taken;
  }

  /** Writes the batch. An event whose cause was refused is refused as well, and leaves `batch`. */
  async #commit(batch: Waiting[]): Promise<boolean> {
    const time = timestamp(this.#parts.clock.now());
    const first = this.#journal.tree.size;
    const records: Buffer[] = [];
    if (this.#recovered !== null)
      records.push(encode(prepare(recoveredEvent(this.#recovered)).event, first, time, null));
    const accepted: Waiting[] = [];
    for (const waiting of batch) {
      const { event, cause, ticket } = waiting;
      const seq = cause instanceof QueuedTicket ? cause.seq : cause;
      if (seq === undefined) {
        ticket.reject(
          new CordonError(
            'internal',
            7,
            `the event ${event.type} names as its cause one that was not recorded before it`,
          ),
        );
        continue;
      }
      ticket.seq = first + records.length;
      records.push(encode(event, ticket.seq, time, seq));
      accepted.push(waiting);
    }
    batch.splice(0, batch.length, ...accepted);
    if (records.length === 0) return false;
    const rotated = await this.#journal.write(records);
    this.#recovered = null;
    this.#unpublished = true;
    return rotated;
  }

  #die(error: CordonError, batch: readonly Waiting[]): void {
    this.#dead = error;
    for (const { ticket } of [...batch, ...this.#queue]) ticket.reject(error);
    this.#queue = [];
    this.#queued = 0;
    this.#room?.resolve();
    this.#room = null;
  }

  publish(): Promise<boolean> {
    this.#publishing ??= this.#publish().finally(() => {
      this.#publishing = null;
    });
    return this.#publishing;
  }

  async #publish(): Promise<boolean> {
    const { dir, disk, signer, clock, lockTimeout } = this.#parts;
    const [mine, log] = [new FileLock(join(dir, paths.publishLock), clock), new FileLock(join(dir, paths.lock), clock)];
    try {
      if (!mine.tryAcquire()) return false;
      await log.acquire(lockTimeout);
      const segments = durableSegments(dir);
      log.release();
      this.#unpublished = false;
      await publish(dir, disk, signer, segments);
      return true;
    } catch (cause) {
      this.#unpublished = true;
      throw asUnavailable(`the audit log's tiles in ${dir} cannot be written`, cause);
    } finally {
      log.close();
      mine.close();
    }
  }

  async close(): Promise<void> {
    try {
      await this.flush();
      await this.#publishing?.catch(() => {});
      if (this.#unpublished) await this.publish();
    } finally {
      this.#dead ??= new AuditUnavailableError(`the audit log in ${this.dir} was closed`);
      await this.abandon();
    }
  }

  /** Lets go of everything without another write. */
  async abandon(): Promise<void> {
    await this.#journal.close().catch(() => {});
    this.#parts.lock.close();
  }
}

function recoveredEvent(recovered: Recovered): NewEvent {
  return { type: 'audit.recovered', run: null, principal: SYSTEM, action: null, resource: { ...recovered } };
}

/** What a record can grow by when its real seq and cause replace those it was measured with. Bytes. */
const GROWTH = 32;
const EPOCH = timestamp(0);

/** Validates and copies; the keys come out in the schema's order. Throws `CordonError` (`internal`). */
function prepare({ cause = null, ...body }: NewEvent): Pick<Waiting, 'event' | 'cause' | 'bytes'> {
  const measured = typeof cause === 'number' ? cause : null;
  let event: AuditEvent;
  try {
    event = parseEvent({ ...body, seq: 0, time: EPOCH, cause: measured });
  } catch (failure) {
    throw new CordonError('internal', 7, `the event ${body.type} cannot be recorded: ${(failure as Error).message}`, {
      cause: failure,
    });
  }
  const bytes = Buffer.byteLength(JSON.stringify(event)) + GROWTH;
  if (bytes > MAX_RECORD) {
    throw new CordonError(
      'internal',
      7,
      `the event ${body.type} has ${bytes} bytes, more than the ${MAX_RECORD} of a record`,
      {
        remedy: 'bound what is long in it, or keep it as content beside the log',
      },
    );
  }
  return { event, cause: cause as number | QueuedTicket | null, bytes };
}

function encode(event: AuditEvent, seq: number, time: string, cause: number | null): Buffer {
  return Buffer.from(JSON.stringify({ ...event, seq, time, cause }));
}
