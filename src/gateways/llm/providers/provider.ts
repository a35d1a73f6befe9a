import type { JsonObject, WireName } from '../wire/wire.ts';

/** What a model is to the gateway: the settings say it, nobody else does. */
export interface ModelFacts {
  /** As policies and agents name it. */
  readonly name: string;
  /** As the upstream names it; `name` unless the settings say otherwise. */
  readonly upstream: string;
  /** Tokens of prompt and answer together; null when not stated. */
  readonly context: number | null;
  /** Tokens of an answer at most; null when not stated. */
  readonly maxOutput: number | null;
  /** Null when not stated: then no money can be budgeted for it. */
  readonly price: Price | null;
  /** Null when not stated: then callers that speak another protocol cannot say how hard it should think. */
  readonly reasoning: ReasoningForm | null;
}

/** How a model is told how hard to think: by an effort, by tokens for it, or by letting it choose within an effort. */
export type ReasoningForm = 'effort' | 'budget' | 'adaptive';

/** US dollars for a million tokens. */
export interface Price {
  readonly input: number;
  readonly output: number;
  readonly cached: number;
  readonly cacheWrite: number;
  /** Of what is kept for an hour; 1.6 times `cacheWrite` where it is not stated. */
  readonly cacheWriteLong?: number;
  /** What all of a request costs whose prompt has more than `above` tokens, cached ones too. */
  readonly longContext?: Omit<Price, 'longContext'> & { readonly above: number };
}

/** One request, judged and redacted, in the upstream's own protocol. */
export interface UpstreamCall {
  readonly wire: WireName;
  readonly operation: 'generate' | 'count';
  readonly model: ModelFacts;
  readonly stream: boolean;
  /** Ours: sent along where the upstream has a place for it, so that its records and ours can be joined. */
  readonly requestId: string;
  readonly body: JsonObject;
  /** `body` as JSON: the bytes that were searched for secrets and recorded. A driver that sends another body makes its own. */
  readonly bytes: Buffer;
  /** Protocol headers of the caller's that may pass (`anthropic-version`, `anthropic-beta`), lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface UpstreamRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/**
 * One upstream of language models, as the settings name it. Stateless but for tokens it may keep until they expire; safe for any number of
 * calls at once; nothing is retried here.
 */
export interface Provider {
  /** As policies name it: `azure-openai-prod`. */
  readonly name: string;
  readonly driver: string;
  /** What it speaks, its own protocol first. Another is translated to the first of these that has words for the request. */
  readonly wires: readonly WireName[];
  /** Where it depends on the model: of `wires`, what this one speaks. */
  wiresOf?(model: ModelFacts): readonly WireName[];
  readonly models: readonly ModelFacts[];
  /** With credentials in it: never logged, never shown. Throws `CordonError` when its key cannot be had. */
  prepare(call: UpstreamCall): Promise<UpstreamRequest>;
  /** Turns a streamed answer's framing into server-sent events of the wire. Absent where it is that already. */
  decode?(bytes: AsyncIterable<Buffer>, wire: WireName): AsyncIterable<Buffer>;
}

/** How a driver gets its key: read at each use, so that a rotated or revoked one takes effect at once. */
export type KeySource = () => Promise<string>;

export interface ProviderOptions {
  readonly name: string;
  /** Null: the driver's own public address. */
  readonly baseUrl: URL | null;
  readonly region: string | null;
  /** Null for upstreams without one. */
  readonly key: KeySource | null;
  readonly models: readonly ModelFacts[];
  /** Sent with every request: an organisation, a project, a tag for accounting. */
  readonly headers: Readonly<Record<string, string>>;
  /** Driver's own settings, checked by it: `api_version`, `project`, … */
  readonly settings: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** For what has to be asked before a request can be made, such as a token for a key. At most 64 KiB of the answer. */
  readonly post: (request: UpstreamRequest) => Promise<{ readonly status: number; readonly text: string }>;
}
