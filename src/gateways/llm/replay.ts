import type { ServerResponse } from 'node:http';
import { ModelRefusal } from './refusal.ts';
import { drained } from './relay.ts';
import type { JsonObject, WireName } from './wire/wire.ts';

/** Answers from a run's recording, in place of every provider: nothing goes online. */
export interface ModelReplay {
  /** Null when there is none; the recording remembers that. */
  answer(wire: WireName, asked: JsonObject, operation: 'generate' | 'count'): PlayedModelAnswer | null;
}

export interface PlayedModelAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly pieces: readonly Buffer[];
  /** False when it broke off. */
  readonly complete: boolean;
}

/** In the pieces in which it came. Throws `ModelRefusal` where the recording has no answer. */
export async function playModel(guest: ServerResponse, answer: PlayedModelAnswer | null): Promise<void> {
  if (answer === null)
    throw new ModelRefusal(
      'denied',
      424,
      'not_recorded',
      'the recording has no answer to this request, and a replay asks nobody',
    );
  guest.writeHead(answer.status, answer.headers);
  for (const piece of answer.pieces) {
    if (guest.destroyed) return;
    if (!guest.write(piece)) await drained(guest);
    await new Promise(setImmediate); // a piece of its own on the way, as it was then
  }
  if (answer.complete) guest.end();
  else guest.destroy();
}
