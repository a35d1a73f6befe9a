import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { SseReader } from '../../base/sse.ts';
import type { ModelRecording } from './ledger.ts';
import type { ModelLimits } from './limits.ts';
import { eachPiece } from './pieces.ts';
import { ModelRefusal } from './refusal.ts';
import type { Translation } from './translate/translation.ts';
import { isObject, type Meter, WireError } from './wire/wire.ts';

/** Answers that are no streams are read whole before they are told from others. Bytes. */
const MAX_WHOLE = 64 * 1024 * 1024;

/** How an answer goes from the provider to the caller. */
export interface Relay {
  readonly answer: Readable;
  /** Turns the provider's framing into server-sent events; null where it is that already. */
  readonly decode: ((bytes: AsyncIterable<Buffer>) => AsyncIterable<Buffer>) | null;
  readonly guest: ServerResponse;
  /** Reads the provider's own words. */
  readonly meter: Meter;
  /** Null where caller and provider speak the same protocol. */
  readonly translation: Translation | null;
  readonly recording: ModelRecording | null;
  readonly limits: ModelLimits;
  /** Told of each piece, in bytes. */
  onBytes(count: number): void;
  /** Before the first byte of the answer; a stream's head is sent by it. */
  begin(): void;
}

/**
 * Events as they come, byte for byte, but for those the meter says are only ours. Back-pressure holds up the provider. Throws
 * `ModelRefusal` `cut` when the stream ends before the protocol's end, and when an event has no end.
 */
export async function relayStream(relay: Relay): Promise<void> {
  const { answer, decode, limits, meter, translation, onBytes } = relay;
  const reader = new SseReader();
  const take = (piece: Buffer) => {
    onBytes(piece.length);
    const out: Buffer[] = [];
    for (const event of reader.push(piece)) {
      const ours = meter.event(event.type, event.data);
      if (translation !== null) out.push(Buffer.from(inWords(() => translation.event(event.type, event.data))));
      else if (!ours) out.push(event.raw);
    }
    const passed = out.length > 0 ? pass(relay, out.length === 1 ? (out[0] as Buffer) : Buffer.concat(out)) : undefined;
    if (translation?.failed) throw toldFailure(meter);
    return passed;
  };
  await within(decode === null ? answer : Readable.from(decode(answer)), limits, take);
  if (!meter.complete && meter.failure !== null) throw toldFailure(meter);
  if (reader.rest.length > 0 || !meter.complete)
    throw new ModelRefusal('cut', 502, 'answer_cut', 'the answer broke off before its end');
}

/** The caller has heard of it by an event already; the provider's own words are not for the record. */
function toldFailure({ failure }: Meter): ModelRefusal {
  const refusal =
    failure === null
      ? new ModelRefusal('cut', 502, 'answer_malformed', 'the answer holds what the caller’s protocol cannot say')
      : new ModelRefusal('failed', 502, 'provider_error', 'the provider ended its answer with an error');
  refusal.told = true;
  return refusal;
}

/** The whole of an answer that is JSON, as the caller will get it: all at once, when it is recorded. */
export async function relayWhole(relay: Relay): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  await within(relay.answer, relay.limits, (piece) => {
    relay.onBytes(piece.length);
    pieces.push(piece);
    size += piece.length;
    if (size > MAX_WHOLE)
      throw new ModelRefusal('cut', 502, 'answer_too_large', `an answer of more than ${MAX_WHOLE} bytes`);
  });
  const bytes = Buffer.concat(pieces);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new ModelRefusal('cut', 502, 'answer_malformed', 'the answer is no JSON');
  }
  if (!isObject(value)) throw new ModelRefusal('cut', 502, 'answer_malformed', 'the answer is no JSON object');
  relay.meter.whole(value);
  const { translation } = relay;
  const told = translation === null ? bytes : inWords(() => JSON.stringify(translation.whole(value)));
  const whole = Buffer.from(told);
  if (relay.guest.destroyed) throw new ModelRefusal('cancelled', 499, 'cancelled', 'the caller went away');
  relay.begin();
  await relay.recording?.piece(whole);
  return whole;
}

/** What an answer says that the caller's protocol cannot, or that is not its own, breaks it off. */
function inWords(say: () => string): string {
  try {
    return say();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new ModelRefusal('cut', 502, 'answer_malformed', error.message, { cause: error });
  }
}

/** A promise where the caller or the recording has to be waited for. */
function pass({ guest, recording, begin }: Relay, bytes: Buffer): void | Promise<void> {
  begin();
  const kept = recording?.piece(bytes);
  if (guest.destroyed) throw new ModelRefusal('cancelled', 499, 'cancelled', 'the caller went away');
  if (guest.write(bytes)) return kept;
  return kept === undefined ? drained(guest) : Promise.all([kept, drained(guest)]).then(() => {});
}

/** Resolves when it takes more, or is gone. Leaves no listeners: a long answer waits many times. */
export function drained(guest: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      guest.off('drain', done).off('close', done);
      resolve();
    };
    guest.on('drain', done).on('close', done);
  });
}

/** Every piece to `take`. Throws when one takes too long to come, or all of them are too many. */
async function within(answer: Readable, limits: ModelLimits, take: (piece: Buffer) => void | Promise<void>) {
  let size = 0;
  let late: ModelRefusal | null = null;
  const tooLate = () => {
    late = new ModelRefusal('timeout', 504, 'answer_stalled', `nothing came for ${limits.idleTime / 1000} s`);
    answer.destroy(late);
  };
  let timer = setTimeout(tooLate, limits.idleTime);
  try {
    await eachPiece(answer, (piece) => {
      timer.refresh();
      size += piece.length;
      if (size > limits.maxAnswer)
        throw new ModelRefusal('cut', 502, 'answer_too_large', `an answer of more than ${limits.maxAnswer} bytes`);
      const waiting = take(piece);
      if (waiting === undefined) return;
      // The provider is not what is waited for.
      clearTimeout(timer);
      return waiting.then(() => {
        timer = setTimeout(tooLate, limits.idleTime);
      });
    });
  } catch (error) {
    answer.destroy();
    if (late !== null) throw late;
    if (error instanceof ModelRefusal) throw error;
    throw new ModelRefusal('cut', 502, 'answer_cut', 'the connection to the provider broke off', { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** Bytes of an error's body that are worth reading. */
const MAX_ERROR = 64 * 1024;

/** What a provider said of its error, at most; the rest is not waited for. */
export async function readError(answer: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  const timer = setTimeout(() => answer.destroy(), 5_000);
  try {
    for await (const piece of answer) {
      pieces.push(piece as Buffer);
      size += (piece as Buffer).length;
      if (size >= MAX_ERROR) break;
    }
  } catch {
    // What came is what there is.
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(pieces).subarray(0, MAX_ERROR);
}
