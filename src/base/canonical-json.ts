/**
 * Canonical JSON (RFC 8785) for values we make ourselves: keys sorted by UTF-16 code units, no white space.
 * Numbers must be safe integers: a canonical form that turns 2^53+1 into 2^53 would let two values share a digest.
 * Throws `TypeError` for what has no single form (undefined inside arrays, NaN, fractions, lone surrogates, functions).
 */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

export function canonicalJson(value: Json): string {
  if (value === null || typeof value === 'boolean') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || Object.is(value, -0))
      throw new TypeError(`no canonical form for number ${value}`);
    return String(value);
  }
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw new TypeError('no canonical form for a string with a lone surrogate');
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item as Json)).join(',')}]`;
  if (typeof value === 'object') {
    const object = value as { readonly [key: string]: Json | undefined };
    const keys = Object.keys(object).filter((key) => object[key] !== undefined);
    keys.sort();
    return `{${keys.map((key) => `${canonicalJson(key)}:${canonicalJson(object[key] as Json)}`).join(',')}}`;
  }
  throw new TypeError(`no canonical form for ${typeof value}`);
}
