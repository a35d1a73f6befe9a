import { join } from 'node:path';
import { type Clock, timestamp } from '../base/clock.ts';
import { AuditUnavailableError, CordonError, StorageError } from '../base/errors.ts';
import { FileLock } from '../base/file-lock.ts';
import type { Signer } from './checkpoint.ts';
import type { Disk } from './disk.ts';
import { MAX_RECORD } from './event.ts';
import { MAX_BATCH_BYTES, MAX_BATCH_RECORDS } from './journal.ts';
import { JournalWriter, type Recovered } from './journal-writer.ts';
import { listSegments, paths } from './layout.ts';
import type { AuditLog } from './log.ts';
import {
  type Appended,
  encode,
  type NewEvent,
  prepare,
  QueuedTicket,
  recoveredEvent,
  type Ticket,
  type Waiting,
} from './pending.ts';
import { durableSegments, hasTiles, publish, readCheckpoint, requireFit } from './publish.ts';

/** Bytes of events waiting beyond which `room` waits. */
const QUEUE_BYTES = 8 * 1024 * 1024;

export function asUnavailable(what: string, cause: unknown): CordonError {
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

export interface Parts {
  dir: string;
  clock: Clock;
  disk: Disk;
  signer: Signer;
  lock: FileLock;
  lockTimeout: number;
  segmentBytes: number;
}

/** The writing end of the log as log.ts promises it. */
export class Log implements AuditLog {
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
  #closed = false;

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
      records.push(encode(prepare(recoveredEvent(this.#recovered)).text, first, time, null));
    const accepted: Waiting[] = [];
    for (const waiting of batch) {
      const { type, text, cause, ticket } = waiting;
      const seq = cause instanceof QueuedTicket ? cause.seq : cause;
      if (seq === undefined) {
        ticket.reject(
          new CordonError('internal', 7, `the event ${type} names as its cause one that was not recorded before it`),
        );
        continue;
      }
      ticket.seq = first + records.length;
      records.push(encode(text, ticket.seq, time, seq));
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
    if (this.#closed) return;
    this.#closed = true;
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
