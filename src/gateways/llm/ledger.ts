import type { Decision, ModelFeature, PolicyAction } from '../../policy/index.ts';
import type { JsonObject, Usage, WireName } from './wire/wire.ts';

/** One request to a model, before it leaves. */
export interface ModelRequested {
  readonly provider: string;
  readonly model: string;
  /** The name the caller used. */
  readonly asked: string;
  readonly wire: WireName;
  readonly operation: 'generate' | 'count';
  readonly stream: boolean;
  /** `sha256:…` of the body as it leaves: what a replay finds its answer by. */
  readonly requestDigest: string;
  readonly bytes: number;
  /** Ours; sent to the provider too, where it has a place for it. */
  readonly requestId: string;
  readonly features: readonly ModelFeature[];
  /** Names of what was taken out of the prompt, with how often. */
  readonly redacted: Readonly<Record<string, number>>;
  /** Fields nobody knows, which were not passed on. */
  readonly dropped: readonly string[];
  readonly decision: Decision;
}

export type ModelResult =
  | 'completed'
  /** The provider answered with an error. */
  | 'failed'
  /** The answer broke off, or was not what the protocol says. */
  | 'cut'
  /** The caller went away. */
  | 'cancelled'
  | 'denied'
  | 'budget'
  | 'secret'
  | 'timeout'
  | 'unreachable';

/** The same, afterwards. */
export interface ModelAnswered {
  readonly provider: string;
  readonly model: string;
  readonly result: ModelResult;
  /** For a person, where the result needs words; never the provider's own, which may hold anything. */
  readonly reason: string | null;
  readonly status: number | null;
  readonly finish: string | null;
  readonly usage: Usage | null;
  /** True when the provider did not tell and it was worked out from bytes. */
  readonly estimated: boolean;
  /** Null for a model without a price. */
  readonly nanoUsd: number | null;
  readonly bytesIn: number;
  readonly attempts: number;
  /** Milliseconds from the request's arrival; null when nothing came. */
  readonly firstByteMs: number | null;
  readonly durationMs: number;
  /** The provider's own id of the request. */
  readonly upstreamId: string | null;
}

/** What never came to a decision: an endpoint that is not offered, a wrong token, bytes without meaning. `what` is a word. */
export interface ModelUnjudged {
  readonly what: string;
  readonly detail: string;
}

export interface ModelLog {
  /** Resolves when durable, with what `answered` will be given; nothing leaves before. A rejection refuses the request. */
  requested(event: ModelRequested): Promise<unknown>;
  /** A rejection ends the whole gateway: what cannot be recorded does not go on. */
  answered(token: unknown, event: ModelAnswered): Promise<void>;
  unjudged(event: ModelUnjudged): void;
  /** Once a budget, when most of it is used. `percent` is whole. */
  budget(event: { readonly budget: string; readonly percent: number }): void;
}

export type Decide = (action: PolicyAction) => Decision | Promise<Decision>;

/** Keeps what a replay needs of an exchange, and takes secrets out of it. */
export interface ModelRecorder {
  /** `asked` as the caller wrote it; `searched` where its JSON was looked through already. */
  begin(wire: WireName, asked: JsonObject, searched: Searched | null): ModelRecording;
}

/** A text in which no secret was found. */
export interface Searched {
  /** SHA-256 of it, 64 hex digits. */
  readonly digest: string;
  /** What was looked for: it counts for nothing once the redactor knows something else. */
  readonly knowledge: object;
  /** The same of the JSON of each item of its conversation, in order; absent where they have not been told apart. */
  readonly items?: readonly string[];
}

export interface ModelRecording {
  head(status: number, headers: Readonly<Record<string, string>>): void;
  /**
   * A piece of the answer as the caller got it. Nothing is kept of an exchange without a head. A promise where the recording has to be
   * waited for: it resolves, within seconds at most.
   */
  piece(bytes: Buffer): void | Promise<void>;
  end(result: RecordedResult): void;
}

/** `budget`: whole, an error for which a budget had no room; `spent`: and the run was ended at it. */
export type RecordedResult = ModelResult | 'spent';
