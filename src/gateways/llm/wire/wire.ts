import type { ModelFeature } from '../../../policy/index.ts';

/**
 * One protocol that agents speak to language models: JSON and server-sent events in, facts out. Pure.
 *
 *   chat       POST /v1/chat/completions                 OpenAI Chat Completions
 *   responses  POST /v1/responses                        OpenAI Responses
 *   messages   POST /v1/messages, …/count_tokens         Anthropic Messages
 *   gemini     POST /v1beta/models/M:generateContent …   Google Gemini
 */
export type WireName = 'chat' | 'responses' | 'messages' | 'gemini';

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

/** A feature, and where in the request it is wanted. */
export interface Wanted {
  readonly feature: ModelFeature;
  readonly where: string;
}

/** What a request to generate asks for. */
export interface Ask {
  /** As the caller wrote it. */
  readonly model: string;
  readonly stream: boolean;
  /** Tokens; null when the caller leaves it to the model. */
  readonly maxOutput: number | null;
  /** Answers that are generated, each up to `maxOutput`. */
  readonly answers: number;
  /** Times that the prompt may be read, and an answer of this length written, for one answer. */
  readonly rounds?: number;
  /** Prompts are kept by the provider for longer than usual, which costs more. */
  readonly longCache?: boolean;
  readonly wants: readonly Wanted[];
  /** The caller wants the stream's own report of usage. */
  readonly wantsUsage: boolean;
}

/** Tokens. `cached` and `cacheWrite` are part of `input`; thinking is part of `output`. */
export interface Usage {
  readonly input: number;
  readonly output: number;
  readonly cached: number;
  readonly cacheWrite: number;
  /** Of `cacheWrite`, what is kept for an hour; absent for none. */
  readonly cacheWriteLong?: number;
}

/** What stands in the body that is sent, besides what the caller wrote. */
export interface Outgoing {
  readonly model: string;
  /** Set where the caller left it out. */
  readonly maxOutput: number | null;
}

/** Reads the answer as it passes: never changes it. */
export interface Meter {
  /** One event of a stream; `type` is its `event:` field. True when the event exists only because of us, and is to be left out. */
  event(type: string | null, data: string): boolean;
  /** The whole of an answer that is no stream. */
  whole(body: JsonObject): void;
  /** Null until the answer has told. */
  readonly usage: Usage | null;
  readonly finish: string | null;
  /** The answer came to its end, as the protocol marks it. */
  readonly complete: boolean;
  /** The answer carries an error in place of a result: its words. */
  readonly failure: string | null;
}

export interface Problem {
  readonly status: number;
  /** Stable, for programs: `policy_denied`, `budget_exceeded`, … */
  readonly code: string;
  /** For a person: what, which value, which rule, what to do. */
  readonly message: string;
}

export interface Wire {
  readonly name: WireName;
  /** Facts of a request. Throws `WireError` for what the protocol does not allow. `path` holds what stood in the URL. */
  ask(body: JsonObject, path: { readonly model: string | null; readonly stream: boolean }): Ask;
  /** The body for an upstream of the same protocol: known fields alone, with our model. */
  outgoing(body: JsonObject, ask: Ask, set: Outgoing): JsonObject;
  /** Fields at the top that are not known, and not passed on. */
  unknownFields(body: JsonObject): string[];
  meter(ask: Ask): Meter;
  /** An error as this protocol's clients understand it. */
  problem(problem: Problem): JsonObject;
  /** The event that tells a client in the middle of a stream that it failed; null where the protocol has none. */
  problemEvent(problem: Problem): string | null;
}

/** What the caller sent is not this protocol. */
export class WireError extends Error {}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function objects(value: JsonValue | undefined): JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** Beyond it a report is taken for this: sums of any number of them stay whole numbers. */
const MOST_TOKENS = 100_000_000;

export function tokens(value: JsonValue | undefined): number {
  return typeof value === 'number' && value >= 0 ? Math.min(Math.ceil(value), MOST_TOKENS) : 0;
}

/** The largest of them, whichever a provider goes by; null when none is there. Throws for what is no number of tokens. */
export function limitOf(body: JsonObject, ...names: readonly string[]): number | null {
  let most: number | null = null;
  for (const name of names) {
    const value = body[name];
    if (value === undefined || value === null) continue;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
      throw new WireError(`${name} is no whole number from 1`);
    most = Math.max(most ?? 0, value);
  }
  return most;
}

/** What is judged must be what a provider reads: a list with anything but objects in it is refused, not passed over. */
export function listed(value: JsonValue | undefined, where: string): JsonObject[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new WireError(`${where} is no list`);
  const stray = value.findIndex((item) => !isObject(item));
  if (stray >= 0) throw new WireError(`${where}[${stray}] is no object`);
  return value as JsonObject[];
}

/** Some servers take one value where a list is meant. */
export function oneOrMore(value: JsonValue | undefined): readonly JsonValue[] {
  return Array.isArray(value) ? value : value === undefined || value === null ? [] : [value];
}

/** The same for what may be text too. */
export function partsIn(value: JsonValue | undefined, where: string): JsonObject[] {
  return typeof value === 'string' ? [] : listed(value, where);
}

/** Empty for what is no text. */
export function typeOf({ type }: JsonObject): string {
  return typeof type === 'string' ? type : '';
}

/** Faster tiers cost more than what the price table says. */
export function tierFeatures({ service_tier: tier, speed }: JsonObject): Wanted[] {
  const usual = ['auto', 'default', 'flex', 'standard', 'standard_only'];
  const found: Wanted[] = [];
  if (tier !== undefined && tier !== null && !usual.includes(tier as string))
    found.push({ feature: 'priority_service', where: 'service_tier' });
  if (speed !== undefined && speed !== null && speed !== 'standard')
    found.push({ feature: 'priority_service', where: 'speed' });
  return found;
}

export function modelOf(value: JsonValue | undefined): string {
  if (typeof value !== 'string' || value === '' || value.length > 256)
    throw new WireError('model is no name of a model');
  return value;
}

export function flagOf(body: JsonObject, name: string): boolean {
  const value = body[name] ?? false;
  if (typeof value !== 'boolean') throw new WireError(`${name} is neither true nor false`);
  return value;
}

/** The entries whose names are known. */
export function only(body: JsonObject, known: ReadonlySet<string>): JsonObject {
  return Object.fromEntries(Object.entries(body).filter(([name]) => known.has(name)));
}

export function parseObject(data: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(data);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** `data:` carries the thing itself; any other URL is fetched by whoever gets it. */
export function urlFeature(url: JsonValue | undefined, inline: ModelFeature, remote: ModelFeature): ModelFeature {
  return typeof url === 'string' && /^data:/i.test(url) ? inline : remote;
}
