import type { ReasoningForm } from '../providers/provider.ts';
import type { JsonObject, WireName } from '../wire/wire.ts';

/** What the caller's body does not say, or the upstream's protocol must be told. */
export interface TranslationSet {
  readonly stream: boolean;
  /** The caller wants the stream's own report of usage. */
  readonly wantsUsage: boolean;
  /** Tokens of an answer, for a protocol that must be told. */
  readonly maxOutput: number;
  /** How the model is told how hard to think; null: it is not. */
  readonly reasoning: ReasoningForm | null;
  /** Unique, of letters, digits, `-` and `_`: ids of the translated answer are made of it. */
  readonly id: string;
  /** Seconds since the epoch. */
  readonly at: number;
}

/** From the caller's protocol to the upstream's, and back for the answer. Pure; one instance an exchange. */
export interface Translation {
  /** Throws `WireError` for what the upstream's protocol has no words for: nothing is left out silently that changes the meaning. */
  request(body: JsonObject): JsonObject;
  /** An answer that is no stream. Throws `WireError` for what the caller's protocol cannot say. */
  whole(body: JsonObject): JsonObject;
  /** One event of a stream → events of the caller's protocol, as text; empty where there is nothing to tell yet. */
  event(type: string | null, data: string): string;
  /** An event has told the caller that the answer failed: nothing follows it. */
  readonly failed: boolean;
}

export type Translate = (from: WireName, to: WireName, set: TranslationSet) => Translation;
