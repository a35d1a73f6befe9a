import { timestamp } from '../base/clock.ts';
import { CordonError } from '../base/errors.ts';
import { type AuditEvent, type EventBody, MAX_RECORD, parseEvent } from './event.ts';
import type { Recovered } from './journal-writer.ts';

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

export interface Waiting {
  /** A copy, validated: what the caller does to its own object afterwards changes nothing. */
  readonly event: AuditEvent;
  readonly cause: number | QueuedTicket | null;
  /** At least as many as its record will have. */
  readonly bytes: number;
  readonly ticket: QueuedTicket;
}

export class QueuedTicket implements Ticket {
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

export function recoveredEvent(recovered: Recovered): NewEvent {
  return { type: 'audit.recovered', run: null, principal: SYSTEM, action: null, resource: { ...recovered } };
}

const SYSTEM = { id: 'system:cordon', kind: 'system' } as const;

/** What a record can grow by when its real seq and cause replace those it was measured with. Bytes. */
const GROWTH = 32;
const EPOCH = timestamp(0);

/** Validates and copies; the keys come out in the schema's order. Throws `CordonError` (`internal`). */
export function prepare({ cause = null, ...body }: NewEvent): Pick<Waiting, 'event' | 'cause' | 'bytes'> {
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

export function encode(event: AuditEvent, seq: number, time: string, cause: number | null): Buffer {
  return Buffer.from(JSON.stringify({ ...event, seq, time, cause }));
}
