import * as z from 'zod';
import { closest } from './closest.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';

/** The building blocks of the policy's schema: each says in its message what to write instead. */

/** Where a message carries its remedy: zod hands `params` of a custom issue through. */
export interface FieldParams {
  readonly remedy?: string;
}

type Issues = z.core.ParsePayload['issues'];

function raise(issues: Issues, input: unknown, message: string, remedy?: string, path: PropertyKey[] = []): void {
  issues.push({ code: 'custom', input, message, path, params: remedy === undefined ? {} : { remedy } });
}

/** A field read by one of our own parsers. */
export function field<T>(parse: (value: unknown) => Parsed<T>): z.ZodType<T> {
  return z.unknown().transform((value, context) => {
    const result = parse(value);
    if (result.ok) return result.value;
    raise(context.issues, value, result.message, result.remedy);
    return z.NEVER;
  }) as unknown as z.ZodType<T>;
}

/** The same for a parser of text. YAML's `no` or `5` unquoted is not text, and the message says so. */
export function textField<T>(what: string, parse: (text: string) => Parsed<T>): z.ZodType<T> {
  return field((value) => (typeof value === 'string' ? parse(value) : { ok: false, ...wrongType(what, value) }));
}

function wrongType(what: string, value: unknown): { message: string; remedy: string } {
  return {
    message: `expected ${what}, found ${found(value)}`,
    remedy: typeof value === 'object' ? `write ${what}` : `put it in quotes if ${what} was meant`,
  };
}

/** What stands there, in words. */
function found(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'nothing (an empty value)';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'keys with values';
  return typeof value === 'string' ? `the text ${shown(value)}` : `the ${typeof value} ${shown(value)}`;
}

/** One of some words. */
export function word<const W extends string>(...words: readonly W[]): z.ZodType<W> {
  return field((value) => {
    if (typeof value === 'string' && (words as readonly string[]).includes(value))
      return { ok: true, value: value as W };
    const near = typeof value === 'string' ? closest(value, words) : undefined;
    return {
      ok: false,
      message: `${found(value)} is none of ${words.join(', ')}`,
      ...(near === undefined && words.length > 6 ? {} : { remedy: `write ${near ?? words.join(' or ')}` }),
    };
  });
}

/** `true` or `false`. */
export const truth = field((value) =>
  typeof value === 'boolean'
    ? parsed(value)
    : refused(`${shown(value)} is neither true nor false`, 'write true or leave it out'),
);

/** A whole number within bounds. */
export function whole(min: number, max: number): z.ZodType<number> {
  return field((value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
      ? { ok: true, value }
      : {
          ok: false,
          message: `${found(value)} is no whole number from ${min} to ${max}`,
          remedy: `write a number such as ${min}`,
        },
  );
}

/** A list; at most 5,000 entries, so that a document cannot make every decision slow. */
export function list<T>(item: z.ZodType<T>): z.ZodType<readonly T[]> {
  return z
    .array(item, { error: (issue) => `expected a list, found ${found(issue.input)}${listHint(issue.input)}` })
    .max(5000, { error: () => 'the list has more than 5000 entries' }) as unknown as z.ZodType<readonly T[]>;
}

function listHint(value: unknown): string {
  if (value === null) return ': write [] for none, or leave the line out';
  return typeof value === 'string' && value.length <= 60 ? `: write [${shown(value)}]` : '';
}

type Shape = Readonly<Record<string, z.ZodType>>;

/** Keys with values. Unknown keys are errors that name the nearest key there is: one line of the message for each. */
export function keys<S extends Shape>(shape: S) {
  const names = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys') return (issue.keys ?? []).map((key) => unknownKey(key, names)).join('\n');
      const hint = issue.input === null ? ': what belongs to it is indented further than it, or it is left out' : '';
      return `expected keys (${names.join(', ')}), found ${found(issue.input)}${hint}`;
    },
  });
}

function unknownKey(key: string, names: readonly string[]): string {
  const near = closest(key, names);
  return `unknown key ${shown(key)}: ${near === undefined ? `keys here are ${names.join(', ')}` : `did you mean \`${near}\`?`}`;
}

/** Text in a short form, or keys with values in a long one. */
export function shortOrLong<T, L>(
  what: string,
  short: (text: string) => Parsed<T>,
  long: z.ZodType<L>,
  build: (value: L) => Parsed<T>,
): z.ZodType<T> {
  return z.unknown().transform((value, context) => {
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
      const inner = long.safeParse(value);
      if (!inner.success) {
        for (const issue of inner.error.issues)
          context.issues.push({ ...issue, input: value } as unknown as Issues[number]);
        return z.NEVER;
      }
      return settle(build(inner.data), value, context.issues);
    }
    return settle(
      typeof value === 'string' ? short(value) : { ok: false, ...wrongType(what, value) },
      value,
      context.issues,
    );
  }) as unknown as z.ZodType<T>;
}

function settle<T>(result: Parsed<T>, input: unknown, issues: Issues): T {
  if (result.ok) return result.value;
  raise(issues, input, result.message, result.remedy);
  return z.NEVER;
}

/** A name with `*`, but not `*` alone. */
export const nameGlob = (what: string, example: string) =>
  textField(what, (value) => {
    if (/^[*?]+$/.test(value))
      return refused(`${shown(value)} would take every ${what}`, `write something like ${example}`);
    return /^[^\s\p{Cc}]{1,200}$/u.test(value)
      ? parsed(value)
      : refused(`${shown(value)} is no ${what}`, `write something like ${example}`);
  });
