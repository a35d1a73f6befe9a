/**
 * Exact shapes of JSON documents that arrive from anywhere. A verifier starts for every push, and these few lines load in no
 * time, where a schema library takes longer than all the cryptography. A key that is missing, unknown or of another type
 * throws `ShapeError`, whose message has the path.
 */
export class ShapeError extends Error {}

/** Checks a value and returns it typed; `at` is its path, for messages. */
export type Shape<T> = (value: unknown, at: string) => T;
export type Shaped<S> = S extends Shape<infer T> ? T : never;

function wrong(at: string, expected: string): never {
  throw new ShapeError(`${at === '' ? 'the document' : at}: expected ${expected}`);
}

/** A string; well-formed, so that it has one canonical form. */
export function text(maxLength = 8192, pattern?: RegExp, expected = 'text'): Shape<string> {
  return (value, at) => {
    if (typeof value !== 'string' || value.length > maxLength || !value.isWellFormed()) wrong(at, expected);
    if (pattern !== undefined && !pattern.test(value)) wrong(at, expected);
    return value;
  };
}

export const count: Shape<number> = (value, at) =>
  Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0)
    ? (value as number)
    : wrong(at, 'a whole number');

export function literal<const T extends string>(...values: readonly T[]): Shape<T> {
  return (value, at) =>
    values.includes(value as T) ? (value as T) : wrong(at, values.map((v) => `"${v}"`).join(' or '));
}

export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return (value, at) => (value === null ? null : shape(value, at));
}

export function either<A, B>(first: Shape<A>, second: Shape<B>): Shape<A | B> {
  return (value, at) => {
    try {
      return first(value, at);
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      return second(value, at);
    }
  };
}

export function list<T>(shape: Shape<T>, maxLength: number): Shape<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value) || value.length > maxLength) wrong(at, `a list of at most ${maxLength}`);
    return value.map((item, i) => shape(item, `${at}[${i}]`));
  };
}

/** Exactly these keys, and no others. */
export function object<const F extends Readonly<Record<string, Shape<unknown>>>>(
  fields: F,
): Shape<{ readonly [K in keyof F]: Shaped<F[K]> }> {
  const names = Object.keys(fields);
  return (value, at) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) wrong(at, 'an object');
    const unknown = Object.keys(value).find((key) => !Object.hasOwn(fields, key));
    if (unknown !== undefined) wrong(at, `no key ${JSON.stringify(unknown.slice(0, 80))}`);
    const path = (name: string) => (at === '' ? name : `${at}.${name}`);
    const missing = names.find((name) => !Object.hasOwn(value, name));
    if (missing !== undefined) wrong(path(missing), 'to be there');
    return Object.fromEntries(
      names.map((name) => [
        name,
        (fields[name] as Shape<unknown>)((value as Record<string, unknown>)[name], path(name)),
      ]),
    ) as { readonly [K in keyof F]: Shaped<F[K]> };
  };
}

export const sha256: Shape<string> = text(71, /^sha256:[0-9a-f]{64}$/, 'sha256: and 64 hex digits');
export const oid: Shape<string> = text(64, /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, 'an object id in full');
export const runId: Shape<string> = text(16, /^[0-9a-hjkmnp-tv-z]{16}$/, 'a run id');
export const time: Shape<string> = (value, at) => {
  const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
  if (typeof value !== 'string' || !form.test(value) || Number.isNaN(Date.parse(value)))
    wrong(at, 'a time such as 2026-01-31T12:00:00.000Z');
  // 30 February is a date that JavaScript moves to March.
  return new Date(Date.parse(value)).toISOString() === value ? value : wrong(at, 'a time that exists');
};

/** Bytes in base64's one spelling (RFC 4648 section 4, padded); `length` when it is fixed. */
export function base64(maxLength: number, length?: number): Shape<string> {
  return (value, at) => {
    if (typeof value !== 'string' || value.length > maxLength) wrong(at, 'base64');
    const bytes = Buffer.from(value, 'base64');
    if (bytes.toString('base64') !== value) wrong(at, 'base64 in its one spelling');
    if (length !== undefined && bytes.length !== length) wrong(at, `${length} bytes in base64`);
    return value;
  };
}
