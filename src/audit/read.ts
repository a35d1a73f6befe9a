import { type FSWatcher, watch } from 'node:fs';
import { join } from 'node:path';
import { AuditInvalidError } from '../base/errors.ts';
import { type AuditEvent, type EventType, parseEvent } from './event.ts';
import { batchAfter, readBatches, segmentName } from './journal.ts';
import { listSegments, MAX_CHECKPOINT, MAX_SEGMENT, paths, readBounded, readBundle } from './layout.ts';
import { TILE_WIDTH } from './tiles.ts';

/**
 * The reading end of the log: no lock, no key, no check of hashes (verify.ts does that). Safe while others append.
 */
export interface EventFilter {
  /** First and last seq, both included. A run's events are found by its range at once, without reading the rest. */
  readonly from?: number;
  readonly to?: number;
  readonly run?: string;
  readonly types?: readonly EventType[];
  /** RFC 3339 with milliseconds; only events at or after it. */
  readonly since?: string;
}

/** A record as it is stored and what it says. */
export interface StoredEvent {
  readonly seq: number;
  /** Exactly the bytes that are hashed. */
  readonly record: Buffer;
  readonly event: AuditEvent;
}

/** The size that the checkpoint file names, unverified; 0 without one. */
function publishedSize(dir: string): number {
  const note = readBounded(join(dir, paths.checkpoint), MAX_CHECKPOINT)?.toString() ?? '';
  const size = Number(note.split('\n')[1] ?? 0);
  return Number.isSafeInteger(size) && size > 0 ? size : 0;
}

/**
 * Every record from `from` on that is there now, without a gap, in order.
 * Throws `AuditInvalidError` when one is missing or a file of the log cannot be read.
 */
export function* readRecords(
  dir: string,
  from = 0,
  to: number = Number.MAX_SAFE_INTEGER,
): Generator<{ seq: number; record: Buffer }> {
  let next = from;
  for (let attempts = 0; attempts < 10; ) {
    const before = next;
    try {
      for (const found of fromTiles(dir, next, to)) {
        yield found;
        next = found.seq + 1;
      }
      for (const found of fromJournal(dir, next, to)) {
        yield found;
        next = found.seq + 1;
      }
      return;
    } catch (error) {
      if (!(error instanceof Moved))
        throw new AuditInvalidError(
          `the audit log in ${dir} cannot be read at record ${next}: ${(error as Error).message}`,
          { cause: error, remedy: 'run "cordon audit verify"' },
        );
    }
    attempts = next === before ? attempts + 1 : 0;
  }
  throw new AuditInvalidError(`the audit log in ${dir} has lost record ${next}`, {
    remedy: 'run "cordon audit verify"',
  });
}

/** What was to be read has gone from the journal to tiles in the meantime, or is lost. */
class Moved extends Error {}

function* fromTiles(dir: string, from: number, to: number): Generator<{ seq: number; record: Buffer }> {
  const size = publishedSize(dir);
  for (let n = Math.floor(from / TILE_WIDTH); n * TILE_WIDTH < Math.min(size, to + 1); n++) {
    const width = Math.min(TILE_WIDTH, size - n * TILE_WIDTH);
    const records = readBundle(dir, n, width);
    if (records === null) throw new Moved();
    for (const [i, record] of records.entries()) {
      const seq = n * TILE_WIDTH + i;
      if (seq >= from && seq <= to) yield { seq, record };
    }
  }
}

function* fromJournal(dir: string, from: number, to: number): Generator<{ seq: number; record: Buffer }> {
  let next = from;
  const firsts = listSegments(join(dir, paths.journal));
  if (firsts[0] !== undefined && firsts[0] > next && next <= to) throw new Moved();
  for (const [i, first] of firsts.entries()) {
    if (first > to || (firsts[i + 1] ?? Number.POSITIVE_INFINITY) <= next) continue;
    const bytes = readBounded(join(dir, paths.journal, segmentName(first)), MAX_SEGMENT);
    if (bytes === null) throw new Moved();
    const { batches, end } = readBatches(bytes);
    for (const batch of batches) {
      if (batch.first > next) throw new Moved();
      for (const record of batch.records.slice(next - batch.first)) {
        if (next > to) return;
        yield { seq: next++, record: Buffer.from(record) };
      }
    }
    // A write under way, or cut short, has nothing whole behind it. What has would be left out without a word.
    if (end < bytes.length && batchAfter(bytes, end) !== null) throw new Moved();
  }
}

function matches(record: Buffer, filter: EventFilter): boolean {
  // The record's own bytes rule most of them out before they are parsed; what is left is compared properly.
  return filter.run === undefined || record.includes(`"run":"${filter.run}"`);
}

function* filtered(records: Iterable<{ seq: number; record: Buffer }>, filter: EventFilter): Generator<StoredEvent> {
  for (const { seq, record } of records) {
    if (!matches(record, filter)) continue;
    let event: AuditEvent;
    try {
      event = parseEvent(JSON.parse(record.toString()));
    } catch (cause) {
      throw new AuditInvalidError(`record ${seq} of the audit log is not an event`, {
        cause,
        remedy: 'run "cordon audit verify"',
      });
    }
    if (filter.run !== undefined && event.run !== filter.run) continue;
    if (filter.types !== undefined && !filter.types.includes(event.type)) continue;
    if (filter.since !== undefined && event.time < filter.since) continue;
    yield { seq, record, event };
  }
}

/** The events there are now that the filter lets through, in order. Throws `AuditInvalidError`. */
export function readEvents(dir: string, filter: EventFilter = {}): Generator<StoredEvent> {
  return filtered(readRecords(dir, filter.from, filter.to), filter);
}

/** One event; null when there is none at that place. */
export function readEvent(dir: string, seq: number): StoredEvent | null {
  return readEvents(dir, { from: seq, to: seq }).next().value ?? null;
}

/** How many records there are now. */
export function logSize(dir: string): number {
  let size = publishedSize(dir);
  for (const first of listSegments(join(dir, paths.journal))) {
    const bytes = readBounded(join(dir, paths.journal, segmentName(first)), MAX_SEGMENT);
    const last = bytes === null ? undefined : readBatches(bytes).batches.at(-1);
    if (last !== undefined) size = Math.max(size, last.first + last.records.length);
  }
  return size;
}

/**
 * Events from `filter.from` (default: the next one) on as they come, whichever process appends them, until `signal`
 * aborts. An event may be shown a moment before it is durable.
 */
export async function* tailEvents(dir: string, filter: EventFilter, signal: AbortSignal): AsyncGenerator<StoredEvent> {
  let next = filter.from ?? logSize(dir);
  let wake = Promise.withResolvers<void>();
  const nudge = () => wake.resolve();
  // Watching says early that something changed; looking twice a second makes up for what a file system does not report.
  const watcher = watchIfThere(join(dir, paths.journal), nudge);
  const timer = setInterval(nudge, 500);
  signal.addEventListener('abort', nudge);
  try {
    while (!signal.aborted) {
      wake = Promise.withResolvers();
      for (const { seq, record } of readRecords(dir, next, filter.to)) {
        next = seq + 1;
        yield* filtered([{ seq, record }], filter);
        if (signal.aborted) return;
      }
      if (filter.to !== undefined && next > filter.to) return;
      await wake.promise;
    }
  } finally {
    clearInterval(timer);
    watcher?.close();
    signal.removeEventListener('abort', nudge);
  }
}

/** Null for a log that nobody has begun yet: looking twice a second finds it. */
function watchIfThere(folder: string, nudge: () => void): FSWatcher | null {
  try {
    return watch(folder, nudge).on('error', nudge);
  } catch {
    return null;
  }
}
