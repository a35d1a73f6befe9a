import fc from 'fast-check';
import { expect, test } from 'vitest';
import * as z from 'zod';
import { eventTypes, parseEvent, schemaOf } from './event.ts';
import { REFUSED, type Reader, readerOf, UNSURE } from './event-reader.ts';

/** Values that a schema takes. */
function taken(schema: z.ZodType): fc.Arbitrary<unknown> {
  if (schema instanceof z.ZodOptional) return fc.option(taken(schema.unwrap() as z.ZodType), { nil: undefined });
  if (schema instanceof z.ZodNullable) return fc.option(taken(schema.unwrap() as z.ZodType), { nil: null });
  if (schema instanceof z.ZodString) return textOf(schema);
  if (schema instanceof z.ZodNumber) return fc.maxSafeNat();
  if (schema instanceof z.ZodBoolean) return fc.boolean();
  if (schema instanceof z.ZodUndefined) return fc.constant(undefined);
  if (schema instanceof z.ZodLiteral) return fc.constantFrom(...schema.def.values);
  if (schema instanceof z.ZodEnum) return fc.constantFrom(...schema.options);
  if (schema instanceof z.ZodArray) return fc.array(taken(schema.element as z.ZodType), { maxLength: 3 });
  if (schema instanceof z.ZodRecord) {
    const names = (taken(schema.keyType as z.ZodString) as fc.Arbitrary<string>).filter((name) => name !== '__proto__');
    return fc.dictionary(names, taken(schema.valueType as z.ZodType), { maxKeys: 3, noNullPrototype: true });
  }
  if (schema instanceof z.ZodUnion) return fc.oneof(...(schema.options as z.ZodType[]).map(taken));
  if (schema instanceof z.ZodObject) {
    const fields = Object.entries(schema.shape).map(([key, field]) => [key, taken(field as z.ZodType)] as const);
    const required = fields.filter(([key]) => !((schema.shape[key] as z.ZodType) instanceof z.ZodOptional));
    return fc.record(Object.fromEntries(fields), { requiredKeys: required.map(([key]) => key), noNullPrototype: true });
  }
  return fc.jsonValue();
}

function textOf({ def }: z.ZodString): fc.Arbitrary<string> {
  const checks = (def.checks ?? []).map((check) => check._zod.def as { pattern?: RegExp; minimum?: number });
  const pattern = checks.find((check) => check.pattern !== undefined)?.pattern;
  if (pattern !== undefined) return fc.stringMatching(pattern);
  return fc.string({ minLength: Math.max(0, ...checks.map(({ minimum }) => minimum ?? 0)) });
}

const STRAY: readonly unknown[] = [
  ...[
    undefined,
    null,
    true,
    0,
    -0,
    -1,
    1.5,
    2 ** 53,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    1n,
    '',
    'x',
    'a\n',
    Symbol('x'),
  ],
  ...[
    [],
    [1],
    {},
    { x: 1 },
    Object.create(null),
    Object.create({ id: 1 }),
    JSON.parse('{"__proto__": 1}'),
    new Date(0),
    new Map(),
    () => 1,
  ],
];

/** One place of it exchanged, left out, or joined by another. */
function broken(value: unknown): fc.Arbitrary<unknown> {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return fc.constantFrom(...STRAY);
  const put = (key: string, one: unknown) => {
    const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
    Object.defineProperty(copy, key, { value: one, enumerable: true, configurable: true, writable: true });
    return copy;
  };
  const inside = fc.constantFrom(...Object.keys(value));
  return fc.oneof(
    fc.constantFrom(...STRAY),
    { weight: 6, arbitrary: inside.chain((key) => broken((value as never)[key]).map((one) => put(key, one))) },
    inside.map((key) => Object.fromEntries(Object.entries(value).filter(([name]) => name !== key))),
    fc
      .tuple(fc.constantFrom('x', '0', '__proto__', 'constructor'), fc.constantFrom(...STRAY))
      .map(([key, one]) => put(key, one)),
    fc.constant(value).map((one) => Object.assign(Object.create({ type: 'x', id: 1 }), one)),
  );
}

/** As events are read. */
function tried(read: Reader, value: unknown): unknown {
  try {
    return read(value);
  } catch (unsure) {
    if (unsure !== UNSURE) throw unsure;
    return UNSURE;
  }
}

test.each(eventTypes)('%s is read as its schema reads it, and so is what is broken', (type) => {
  const schema = schemaOf(type);
  const events = taken(schema);
  const reader = readerOf(schema);
  fc.assert(
    fc.property(fc.oneof(events, events.chain(broken)), (value) => {
      const [fast, exact] = [tried(reader, value), schema.safeParse(value)];
      if (fast === UNSURE) return;
      if (!exact.success) expect(fast).toBe(REFUSED);
      else {
        expect(fast).toStrictEqual(exact.data);
        expect(JSON.stringify(fast)).toBe(JSON.stringify(exact.data));
      }
    }),
    { numRuns: 40 },
  );
});

test.each(eventTypes)('%s that is whole is never left to the schema', (type) => {
  const events = taken(schemaOf(type));
  fc.assert(
    fc.property(events, (value) => {
      const read = tried(readerOf(schemaOf(type)), value);
      expect([REFUSED, UNSURE]).not.toContain(read);
      expect(parseEvent(value)).toStrictEqual(read);
    }),
    { numRuns: 3 },
  );
});

test('a refused event is told so in its schema’s own words', () => {
  const event = {
    type: 'llm.budget',
    run: null,
    principal: { id: 'a', kind: 'user' },
    action: null,
    seq: 0,
    cause: null,
  };
  const whole = { ...event, time: '2026-01-01T00:00:00.000Z', resource: { budget: 'b', percent: 80 } };
  expect(parseEvent(whole)).toEqual(whole);
  expect(() => parseEvent({ ...whole, resource: { budget: 'b', percent: -1 } })).toThrow(/percent/);
  expect(() => parseEvent({ ...whole, more: 1 })).toThrow(/Unrecognized key: \\?"more/);
});
