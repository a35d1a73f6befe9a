import type { JsonObject, WireName } from '../wire/wire.ts';

/** From the caller's protocol to the upstream's, and back for the answer. Pure; one instance an exchange. */
export interface Translation {
  /** Throws `WireError` for what the upstream's protocol has no words for: nothing is left out silently that changes the meaning. */
  request(body: JsonObject): JsonObject;
  /** An answer that is no stream. */
  whole(body: JsonObject): JsonObject;
  /** One event of a stream → events of the caller's protocol, as text; empty where there is nothing to tell yet. */
  event(type: string | null, data: string): string;
}

export type Translate = (from: WireName, to: WireName) => Translation | null;
