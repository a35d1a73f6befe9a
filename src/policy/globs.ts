import { type Parsed, parsed, refused, shown } from './parsed.ts';

/**
 * Globs over `/`-separated names (paths, refs, URL paths):
 * `*` any characters within one segment, `?` one character, `**` as a whole segment any number of segments
 * (at the end: at least one). No classes, braces or negation: two readings of one pattern are one too many.
 *
 * Matching is greedy with one point of return for each kind of star, so it is at most quadratic in the length of the
 * name, never exponential: a pattern written by a stranger cannot stop a decision.
 */
export interface Glob {
  readonly text: string;
  readonly segments: readonly string[];
  /** True when the pattern has no wildcard. */
  readonly literal: boolean;
}

const MAX_LENGTH = 1024;

export function parseGlob(text: string): Parsed<Glob> {
  if (text === '') return refused('an empty pattern matches nothing', 'remove it, or write a path');
  if (text.length > MAX_LENGTH)
    return refused(`a pattern of ${text.length} characters is too long`, `at most ${MAX_LENGTH}`);
  if (!text.isWellFormed() || /\p{Cc}/u.test(text))
    return refused(`the pattern ${shown(text)} holds control characters`);
  const special = /[[\]{}!\\]/.exec(text)?.[0];
  if (special !== undefined) {
    return refused(
      `\`${special}\` in ${shown(text)} is not part of a pattern here`,
      'use *, ? and ** only; ? stands for any one character',
    );
  }
  const segments = text.split('/');
  if (segments.includes(''))
    return refused(`the pattern ${shown(text)} has an empty segment`, 'write one / between names');
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    return refused(`the pattern ${shown(text)} has a . or .. segment`, 'write the path that is meant');
  }
  const mixed = segments.find((segment) => segment !== '**' && segment.includes('**'));
  if (mixed !== undefined) {
    return refused(
      `\`**\` in ${shown(mixed)} must stand alone between slashes`,
      `write ${shown(text.replaceAll('**', '*'))}, or **/ before a name`,
    );
  }
  return parsed({ text, segments: expand(segments), literal: !/[*?]/.test(text) });
}

/** A trailing `**` needs at least one segment: `a/**` is what is below `a`, not `a` itself. */
function expand(segments: readonly string[]): readonly string[] {
  const collapsed = segments.filter((segment, i) => !(segment === '**' && segments[i + 1] === '**'));
  return collapsed.at(-1) === '**' ? [...collapsed.slice(0, -1), '*', '**'] : collapsed;
}

export function matchGlob(glob: Glob, name: string): boolean {
  if (glob.literal) return glob.text === name;
  return matches(glob.segments, '**', name.split('/'), segmentAt);
}

/** `*` and `?` within one segment (also used for names without slashes: models, addresses). */
export function matchSegment(pattern: string, name: string): boolean {
  return pattern === '*' || matches(pattern, '*', name, characterAt);
}

/** How many parts of a name one part of a pattern takes; 0 when it is not for what stands there. */
type Taken<Parts> = (part: string, name: Parts, at: number) => number;

const segmentAt: Taken<readonly string[]> = (segment, names, at) => (matchSegment(segment, names[at] ?? '') ? 1 : 0);

const characterAt: Taken<string> = (character, name, at) => {
  if (character === '?') return (name.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  return character === name[at] ? 1 : 0;
};

/**
 * True when the pattern takes the whole name; `any` takes any number of parts. Only the last `any` is ever tried again: what
 * an earlier one could take more, the last one can, so that no pattern costs more than both lengths multiplied.
 */
function matches<Parts extends string | readonly string[]>(
  pattern: Parts,
  any: string,
  name: Parts,
  taken: Taken<Parts>,
): boolean {
  let p = 0;
  let n = 0;
  let anyAt = -1;
  let anyFrom = 0;
  while (n < name.length) {
    const part = pattern[p];
    if (part === any) {
      anyAt = p++;
      anyFrom = n;
      continue;
    }
    const count = part === undefined ? 0 : taken(part, name, n);
    if (count > 0) {
      p++;
      n += count;
    } else if (anyAt >= 0) {
      p = anyAt + 1;
      n = ++anyFrom;
    } else return false;
  }
  while (pattern[p] === any) p++;
  return p === pattern.length;
}

/**
 * False when `outer` surely leaves out something that `inner` matches: `inner` with its wildcards filled in is a name
 * that `inner` matches, and `outer` must match it too. Used for warnings; decisions never rest on it.
 */
export function coversGlob(outer: Glob, inner: Glob): boolean {
  const sample = inner.text.replaceAll('**', 'zz-1/zz-2').replaceAll('*', 'zz-3').replaceAll('?', 'z');
  return matchGlob(outer, sample);
}
