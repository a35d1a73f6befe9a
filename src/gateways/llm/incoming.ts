import type { ServerResponse } from 'node:http';
import type { Ask, JsonObject, Wire } from './wire/wire.ts';

/** One request as it came, told apart from others and read. */
export interface Incoming {
  readonly wire: Wire;
  readonly operation: 'generate' | 'count';
  readonly body: JsonObject;
  /** What `asked` was read from, decompressed; null where a part of it stood in the URL. */
  readonly raw: Buffer | null;
  /** The body with what stood in the URL: what a recording finds its answer by. */
  readonly asked: JsonObject;
  readonly ask: Ask;
  /** Protocol headers that may go on. */
  readonly headers: Readonly<Record<string, string>>;
  readonly guest: ServerResponse;
  /** Aborts when the caller goes away, time is up, or the run ends. */
  readonly signal: AbortSignal;
  /** Of the clock that never goes back. */
  readonly arrived: number;
}
