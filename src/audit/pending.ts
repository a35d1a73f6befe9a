import { timestamp } from '../base/clock.ts';
import { CordonError } from '../base/errors.ts';
import { type AuditEvent, type EventBody, type EventType, MAX_RECORD, parseEvent } from './event.ts';
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
  readonly type: EventType;
  /** Validated: what the caller does to its own object afterwards changes nothing. */
  readonly text: EventText;
  readonly cause: number | QueuedTicket | null;
  /** At least as many as its record will have. */
  readonly bytes: number;
  readonly ticket: QueuedTicket;
}

const ROOM = Promise.resolve();

export class QueuedTicket implements Ticket {
  readonly #done = Promise.withResolvers<Appended>();
  room: Promise<void> = ROOM;
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

/** A record but for what is known when its batch is formed: what stands between `time` and `cause`, and behind `cause`. */
export interface EventText {
  readonly body: string;
  readonly rest: string;
}

/** What seq, time and cause can take in a record, with their names. Bytes. */
const AROUND = 112;
const EPOCH = timestamp(0);

/** Validates, and writes in the schema's order. Throws `CordonError` (`internal`). */
export function prepare({ cause = null, ...body }: NewEvent): Omit<Waiting, 'ticket'> {
  const measured = typeof cause === 'number' ? cause : null;
  let event: AuditEvent;
  try {
    event = parseEvent({ ...body, seq: 0, time: EPOCH, cause: measured });
  } catch (failure) {
    throw new CordonError('internal', 7, `the event ${body.type} cannot be recorded: ${(failure as Error).message}`, {
      cause: failure,
    });
  }
  const text = textOf(event);
  const bytes = Buffer.byteLength(text.body) + Buffer.byteLength(text.rest) + AROUND;
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
  return { type: event.type, text, cause: cause as number | QueuedTicket | null, bytes };
}

function textOf({ seq: _, time: __, cause: ___, content, ...body }: AuditEvent): EventText {
  return {
    body: JSON.stringify(body).slice(1, -1),
    rest: content === undefined ? '' : `,"content":${JSON.stringify(content)}`,
  };
}

/** As `JSON.stringify` writes the event: checkRecord (record-check.ts) takes nothing else. */
export function encode({ body, rest }: EventText, seq: number, time: string, cause: number | null): Buffer {
  return Buffer.from(`{"seq":${seq},"time":"${time}",${body},"cause":${cause}${rest}}`);
}
