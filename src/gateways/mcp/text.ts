/**
 * What a server says, before an agent reads it or a person sees it. Escape sequences steer terminals; bidirectional, invisible, filling
 * and tag characters and variation selectors hide words from people that models read. Joiners are letters' own, and one selector behind a
 * picture is the picture's.
 */
const HIDDEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is for
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufff9-\ufffb]|(?![\u200c\u200d]|(?<=\p{Extended_Pictographic})\ufe0f)\p{Default_Ignorable_Code_Point}/gu;

/** Without what cannot be seen; line feeds and tabs stay. */
export function visible(text: string): string {
  return text.replaceAll('\r\n', '\n').replace(HIDDEN, '').toWellFormed();
}

/** The same, of at most so many characters, and it says when there was more. */
export function bounded(text: string, most: number): string {
  const clean = visible(text);
  if (clean.length <= most) return clean;
  return `${clean.slice(0, most).toWellFormed()} [… ${clean.length - most} more characters]`;
}

/** One line for a message: what a server says of itself. */
export function brief(text: string, most = 200): string {
  return bounded(
    text
      .slice(0, most * 8)
      .replace(/\s+/g, ' ')
      .trim(),
    most,
  );
}

/** Characters of an error of a server's that are read; fewer are told, once secrets are out of them. */
export const SAID = 4_000;

/** Every text in a JSON value made visible, keys included; `__proto__` is no key of anything. */
export function visibleJson(value: unknown): unknown {
  if (typeof value === 'string') return visible(value);
  if (Array.isArray(value)) return value.map(visibleJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) => (key === '__proto__' ? [] : [[visible(key), visibleJson(inner)]])),
  );
}
