import { createHash } from 'node:crypto';
import { isObject, type JsonObject, type JsonValue, type Usage, WireError } from '../wire/wire.ts';
import type { TranslationSet } from './translation.ts';

/**
 * What all protocols can say, in no protocol's words. Each protocol has two mappings: as a caller (`CallerSide`: its requests are read, its
 * answers written) and as an upstream (`UpstreamSide`: requests written, answers read).
 */
export interface Prompt {
  /** In order; two that follow each other have different roles. `system` may stand anywhere. */
  readonly turns: readonly Turn[];
  readonly tools: readonly Tool[];
  readonly choice: Choice | null;
  /** False: one call at a time. Null is the default of all protocols: more may come. */
  readonly parallel: false | null;
  readonly maxOutput: number | null;
  readonly temperature: number | null;
  readonly topP: number | null;
  readonly topK: number | null;
  readonly stop: readonly string[];
  readonly effort: Effort | null;
  readonly format: Format | null;
}

export interface Turn {
  readonly role: Role;
  readonly parts: readonly Part[];
}
export type Role = 'system' | 'user' | 'assistant';

export type Part = Text | Media | Call | Result;
export interface Text {
  readonly kind: 'text';
  readonly text: string;
}
/** A picture, or a document such as a PDF. */
export interface Media {
  readonly kind: 'image' | 'file';
  /** `image/png`. */
  readonly type: string;
  readonly base64: string;
  readonly name: string | null;
}
export interface Call {
  readonly kind: 'call';
  readonly id: string;
  readonly name: string;
  /** JSON of an object; text of any kind where `free`. */
  readonly input: string;
  readonly free: boolean;
}
/** What a tool gave; in a turn of the user's. */
export interface Result {
  readonly kind: 'result';
  readonly id: string;
  readonly parts: readonly (Text | Media)[];
  readonly failed: boolean;
}

export interface Tool {
  readonly name: string;
  readonly description: string | null;
  /** JSON Schema of its input; null for a tool that takes text of any kind. */
  readonly schema: JsonObject | null;
  readonly strict: boolean | null;
}

export type Choice = { readonly kind: 'auto' | 'none' | 'any' } | { readonly kind: 'tool'; readonly name: string };

export const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const;
export type Effort = (typeof EFFORTS)[number];

export type Format =
  | { readonly kind: 'json' }
  | { readonly kind: 'schema'; readonly name: string; readonly schema: JsonObject; readonly strict: boolean | null };

export type Finish =
  | { readonly why: 'stop' | 'length' | 'calls' | 'refused' | 'paused' }
  | { readonly why: 'sequence'; readonly text: string | null };

export interface Answer {
  readonly model: string;
  readonly blocks: readonly (Text | Call)[];
  readonly finish: Finish;
  readonly usage: Usage | null;
}

/** What a stream tells, in the order of its events: blocks one after the other, never two open at once. */
export type Told =
  | { readonly kind: 'begin'; readonly model: string; readonly usage: Usage | null }
  | { readonly kind: 'open'; readonly index: number; readonly block: Opened }
  | { readonly kind: 'delta'; readonly index: number; readonly block: Opened; readonly text: string }
  | { readonly kind: 'close'; readonly index: number; readonly block: Opened; readonly text: string }
  | { readonly kind: 'end'; readonly finish: Finish; readonly usage: Usage | null }
  | { readonly kind: 'failed'; readonly message: string }
  /** Nothing for the caller, but a sign that the model is at work. */
  | { readonly kind: 'alive' };

export type Opened = { readonly kind: 'text' } | { readonly kind: 'call'; readonly id: string; readonly name: string };

/** The same as a protocol's reader hears it: calls may be interleaved, `key` tells them apart. */
export type Heard =
  | { readonly kind: 'begin'; readonly model: string; readonly usage?: Usage | null }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'call'; readonly key: string; readonly id: string; readonly name: string }
  | { readonly kind: 'input'; readonly key: string; readonly text: string }
  | { readonly kind: 'done'; readonly key: string }
  | { readonly kind: 'finish'; readonly finish: Finish }
  | { readonly kind: 'usage'; readonly usage: Usage }
  | { readonly kind: 'end' }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'alive' };

export interface CallerSide {
  read(body: JsonObject): Prompt;
  whole(answer: Answer): JsonObject;
  /** Events as text. */
  told(told: Told): string;
}

export interface UpstreamSide {
  write(prompt: Prompt): JsonObject;
  whole(body: JsonObject): Answer;
  /** One event of its stream. */
  heard(type: string | null, data: string): Heard[];
}

export type OpenCaller = (set: TranslationSet) => CallerSide;
export type OpenUpstream = (set: TranslationSet) => UpstreamSide;

/** Collects turns: what follows with the same role belongs to the same turn. */
export class Turns {
  readonly #turns: { role: Role; parts: Part[] }[] = [];

  add(role: Role, parts: readonly Part[]): void {
    if (parts.length === 0) return;
    const last = this.#turns.at(-1);
    if (last?.role === role) last.parts.push(...parts);
    else this.#turns.push({ role, parts: [...parts] });
  }

  get all(): readonly Turn[] {
    return this.#turns;
  }
}

/** The first turn's text where it is the system's, and the turns behind it. */
export function splitSystem({ turns }: Prompt): { readonly system: string[]; readonly rest: readonly Turn[] } {
  const [first] = turns;
  if (first?.role !== 'system') return { system: [], rest: turns };
  return { system: first.parts.map(textOnly('system')), rest: turns.slice(1) };
}

export const textOnly = (where: string) => (part: Part) => {
  if (part.kind !== 'text') throw new WireError(`${where}: a ${part.kind} cannot be said there`);
  return part.text;
};

/**
 * An instruction in the middle of a conversation, for protocols that know only the user there: marked as what it is, and never above what
 * the user may say.
 */
export function systemAsUser(turns: readonly Turn[]): readonly Turn[] {
  const merged = new Turns();
  for (const { role, parts } of turns) {
    if (role !== 'system') merged.add(role, parts);
    else
      merged.add(
        'user',
        parts.map((part) => ({
          kind: 'text',
          text: `<system-reminder>\n${textOnly('system')(part)}\n</system-reminder>`,
        })),
      );
  }
  return merged.all;
}

/** Fields that are set and not among those that have words. Null is not set. */
export function refuseStrays(body: JsonObject, known: ReadonlySet<string>): void {
  const stray = Object.entries(body).find(([name, value]) => value !== null && value !== undefined && !known.has(name));
  if (stray !== undefined)
    throw new WireError(`${stray[0].slice(0, 64)} has no equal in the protocol that the provider speaks`);
}

export const names = (text: string): ReadonlySet<string> => new Set(text.split(' '));

export function noWords(where: string, what: string): WireError {
  return new WireError(`${where}: ${what.slice(0, 100)} has no equal in the protocol that the provider speaks`);
}

export function textOf(value: JsonValue | undefined, where: string): string {
  if (typeof value !== 'string') throw new WireError(`${where} is no text`);
  return value;
}

export function numberOf(body: JsonObject, name: string): number | null {
  const value = body[name] ?? null;
  if (value !== null && typeof value !== 'number') throw new WireError(`${name} is no number`);
  return value;
}

export function listOf(value: JsonValue | undefined, where: string): JsonObject[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every(isObject)) throw new WireError(`${where} is no list of objects`);
  return value as JsonObject[];
}

export function objectOf(value: JsonValue | undefined, where: string): JsonObject {
  if (!isObject(value)) throw new WireError(`${where} is no object`);
  return value;
}

export function effortOf(value: JsonValue | undefined, where: string): Effort | null {
  if (value === undefined || value === null) return null;
  if (!EFFORTS.includes(value as Effort)) throw new WireError(`${where} is none of ${EFFORTS.join(', ')}`);
  return value as Effort;
}

/** `data:image/png;base64,…`. */
export function dataUrl(
  value: JsonValue | undefined,
  where: string,
): { readonly type: string; readonly base64: string } {
  const [, type = '', base64] = /^data:([^;,]{1,100});base64,([A-Za-z0-9+/=\s]*)$/i.exec(textOf(value, where)) ?? [];
  if (base64 === undefined) throw noWords(where, 'what is not data: in base64');
  return { type: type.toLowerCase(), base64 };
}

export const asDataUrl = ({ type, base64 }: Media): string => `data:${type};base64,${base64}`;

/** Input of a call as an object; an empty one is written as nothing by some models. */
export function inputObject({ name, input, free }: Call): JsonObject {
  if (free) return { input };
  if (input.trim() === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(input);
  } catch {
    value = null;
  }
  if (!isObject(value)) throw new WireError(`the arguments of ${name.slice(0, 64)} are no JSON object`);
  return value;
}

/** Ids that every protocol takes: a part of what other alphabets and lengths hold is replaced by its digest. */
export function safeId(id: string): string {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(id)) return id;
  const digest = createHash('sha256').update(id).digest('hex').slice(0, 24);
  return `${id.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 32)}_${digest}`;
}

/** A tool that takes text of any kind, for protocols whose tools take JSON alone. */
export const FREE_SCHEMA: JsonObject = {
  type: 'object',
  properties: { input: { type: 'string' } },
  required: ['input'],
  additionalProperties: false,
};
