/** What a canonicaliser or a parser of one value says: the value in its one form, or why it has none. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      /** What is wrong, naming the value. */
      readonly message: string;
      /** What to write instead. */
      readonly remedy?: string;
    };

export function parsed<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

export function refused(message: string, remedy?: string): { ok: false; message: string; remedy?: string } {
  return remedy === undefined ? { ok: false, message } : { ok: false, message, remedy };
}

/** A value as it is shown in a message: quoted, escaped, at most 120 characters, so that it cannot write on a terminal. */
export function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  const cut = text.length > 120 ? `${text.slice(0, 117).toWellFormed()}…` : text.toWellFormed();
  return JSON.stringify(cut).replace(/[\p{Cf}\p{Cc}\u2028\u2029]/gu, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`;
}
