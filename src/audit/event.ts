import * as z from 'zod';
import { REFUSED, type Reader, readerOf, UNSURE } from './event-reader.ts';
import {
  contentRefSchema,
  decisionSchema,
  type Phase,
  principalSchema,
  runId,
  type Spec,
  seq,
  specs,
  text,
  time,
} from './event-types.ts';

/**
 * Every event of the audit log. One event is one record, one leaf of the tree: the UTF-8 bytes of
 *
 *   {"seq":…,"time":…,"type":…,"run":…,"principal":…,"action":…,"resource":…,["decision":…,]["outcome":…,]"cause":…[,"content":…]}
 *
 * as `JSON.stringify` writes them. The stored bytes are what is hashed; they are never made again from a parsed value.
 *
 * Callers bound what a guest or a user can make long, since an event over {@link MAX_RECORD} bytes is refused whole: `argv`,
 * `argvSeen`, `cwd`, `requested`, every `path`, `ref`, `task`, `reason`, `detail`, `note`, `rules` and the lists of
 * `run.created` and `run.started`. Anything longer goes into content beside the tree (content.ts). No event holds a secret.
 */

/** An entry of a C2SP tile bundle has a 16-bit length. Bytes. */
export const MAX_RECORD = 0xffff;

export { contentRefSchema, decisionSchema, type Phase, principalSchema };

type Specs = typeof specs;
export type EventType = keyof Specs;
export type Principal = z.infer<typeof principalSchema>;
export type EventDecision = z.infer<typeof decisionSchema>;
export type ContentRef = z.infer<typeof contentRefSchema>;

type Presence<S, Key extends 'decision' | 'content', Value> = S extends { [K in Key]: 'required' }
  ? { [K in Key]: Value }
  : S extends { [K in Key]: 'optional' }
    ? { [K in Key]?: Value | undefined }
    : { [K in Key]?: never };

type Body<T extends EventType> = {
  type: T;
  run: string | null;
  principal: Principal;
  /** The policy's name of the action, when there is one. */
  action: string | null;
  resource: z.infer<ReturnType<Specs[T]['resource']>>;
} & (Specs[T] extends { outcome: () => infer O extends z.ZodType } ? { outcome: z.infer<O> } : { outcome?: never }) &
  Presence<Specs[T], 'decision', EventDecision> &
  Presence<Specs[T], 'content', ContentRef>;

export type EventBody = { [T in EventType]: Body<T> }[EventType];
/** One event as it is stored. `seq` is the index of its leaf, from 0. */
export type AuditEvent = { [T in EventType]: { seq: number; time: string; cause: number | null } & Body<T> }[EventType];

export const eventTypes = Object.keys(specs) as EventType[];

export function phaseOf(type: EventType): Phase {
  return specs[type].phase;
}

/** The intents that an outcome of this type closes; empty for intents and facts. */
export function closedBy(type: EventType): readonly EventType[] {
  return ((specs[type] as Spec).closes ?? []) as readonly EventType[];
}

/** What {@link parseEvent} holds an event of this type against. */
export function schemaOf(type: EventType) {
  const spec = specs[type] as Spec;
  const presence = <S extends z.ZodType>(schema: S, how: 'required' | 'optional' | undefined) =>
    how === 'required' ? schema : how === 'optional' ? schema.optional() : z.undefined().optional();
  return z.strictObject({
    seq,
    time,
    type: z.literal(type),
    run: runId.nullable(),
    principal: principalSchema,
    action: text.nullable(),
    resource: spec.resource(),
    decision: presence(decisionSchema, spec.decision),
    outcome: spec.outcome?.() ?? z.undefined().optional(),
    cause: seq.nullable(),
    content: presence(contentRefSchema, spec.content),
  });
}

/** Made when the first event of a type is met: a short run meets a few types, and each costs some milliseconds. */
const schemas = new Map<EventType, { readonly schema: ReturnType<typeof schemaOf>; readonly read: Reader }>();
const anyType = z.looseObject({ type: z.enum(eventTypes) });

/** The event in a value read from somewhere; throws `ZodError`. Unknown keys are refused. */
export function parseEvent(value: unknown): AuditEvent {
  const type = (value as { type?: unknown } | null | undefined)?.type;
  // What is no object, or of no known type, is told so in the schema's own words.
  if (typeof type !== 'string' || !Object.hasOwn(specs, type)) return anyType.parse(value) as never;
  const known = schemas.get(type as EventType) ?? made(type as EventType);
  const read = tried(known.read, value);
  // Nearly none comes here: what is wrong with it is said in the schema's own words.
  return (read === REFUSED ? known.schema.parse(value, { jitless: true }) : read) as unknown as AuditEvent;
}

function made(type: EventType) {
  const schema = schemaOf(type);
  const known = { schema, read: readerOf(schema) };
  schemas.set(type, known);
  return known;
}

function tried(read: Reader, value: unknown): unknown {
  try {
    return read(value);
  } catch (unsure) {
    if (unsure === UNSURE) return REFUSED;
    throw unsure;
  }
}
