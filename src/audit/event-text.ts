import * as z from 'zod';
import type { EventBody, EventType } from './event.ts';
import { contentRefSchema, decisionSchema, type Spec, specs, text } from './event-types.ts';

/** Gives each text to `change` and leaves all else; the same object when nothing changed. */
type Rewrite = (value: unknown, change: (text: string) => string) => unknown;

const KEEP: Rewrite = (value) => value;
const rewrites = new Map<EventType, Rewrite>();

/**
 * The event with its free texts changed: what its schema calls `text`, which may hold anything that a guest, a person or another
 * program wrote. Ids, digests, times, words of a fixed list and numbers stay as they are: whatever a secret's value is, they
 * mean what they say. The same object when nothing changed.
 */
export function rewriteTexts<T extends Pick<EventBody, 'type'>>(event: T, change: (text: string) => string): T {
  const rewrite = rewrites.get(event.type) ?? rewriteOf(bodySchema(event.type));
  rewrites.set(event.type, rewrite);
  return rewrite(event, change) as T;
}

function bodySchema(type: EventType): z.ZodType {
  const spec: Spec = specs[type];
  return z.object({
    resource: spec.resource(),
    ...(spec.outcome === undefined ? {} : { outcome: spec.outcome() }),
    decision: decisionSchema.optional(),
    content: contentRefSchema.optional(),
  });
}

function rewriteOf(schema: z.ZodType): Rewrite {
  if (schema === text) return (value, change) => (typeof value === 'string' ? change(value) : value);
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable)
    return rewriteOf(schema.unwrap() as z.ZodType);
  if (schema instanceof z.ZodArray) return list(rewriteOf(schema.element as z.ZodType));
  if (schema instanceof z.ZodRecord)
    return record(rewriteOf(schema.keyType as z.ZodType), rewriteOf(schema.valueType as z.ZodType));
  if (schema instanceof z.ZodObject) {
    const fields = Object.entries(schema.shape).map(([key, field]) => [key, rewriteOf(field as z.ZodType)] as const);
    return object(fields.filter(([, rewrite]) => rewrite !== KEEP));
  }
  if (schema instanceof z.ZodUnion) {
    const options = (schema.options as z.ZodType[]).map((option) => ({ option, rewrite: rewriteOf(option) }));
    if (options.every(({ rewrite }) => rewrite === KEEP)) return KEEP;
    return (value, change) =>
      options.find(({ option }) => option.safeParse(value).success)?.rewrite(value, change) ?? value;
  }
  return schema instanceof z.ZodLazy ? anyJson : KEEP;
}

function object(fields: readonly (readonly [string, Rewrite])[]): Rewrite {
  if (fields.length === 0) return KEEP;
  return (value, change) => {
    if (typeof value !== 'object' || value === null) return value;
    let copy: Record<string, unknown> | null = null;
    for (const [key, rewrite] of fields) {
      const before = (value as Record<string, unknown>)[key];
      const after = rewrite(before, change);
      if (after === before) continue;
      copy ??= { ...value };
      copy[key] = after;
    }
    return copy ?? value;
  };
}

function list(element: Rewrite): Rewrite {
  if (element === KEEP) return KEEP;
  return (value, change) => {
    if (!Array.isArray(value)) return value;
    const after = value.map((one) => element(one, change));
    return after.some((one, i) => one !== value[i]) ? after : value;
  };
}

function record(key: Rewrite, element: Rewrite): Rewrite {
  if (key === KEEP && element === KEEP) return KEEP;
  return (value, change) => {
    if (typeof value !== 'object' || value === null) return value;
    const before = Object.entries(value);
    const after = before.map(([name, one]) => [key(name, change) as string, element(one, change)] as const);
    return after.some(([name, one], i) => name !== before[i]?.[0] || one !== before[i]?.[1])
      ? Object.fromEntries(after)
      : value;
  };
}

const anyJson: Rewrite = (value, change) => {
  if (typeof value === 'string') return change(value);
  if (Array.isArray(value)) return list(anyJson)(value, change);
  return record(KEEP, anyJson)(value, change);
};
