import { type ByteSearch, matchLength } from './byte-search.ts';

/** The strings that are looked for, made once and shared by all streams until a value comes or goes. */
export interface Needles {
  readonly patterns: readonly Buffer[];
  readonly names: readonly string[];
  readonly search: ByteSearch;
  readonly shapes: boolean;
}

/** Calls `found` for each known value in `data`, `undecided` where the end of `data` may be the beginning of one. */
export function searchValues(
  data: Buffer,
  last: boolean,
  { patterns, names, search }: Needles,
  found: (name: string, at: number, end: number) => void,
  undecided: (at: number) => void,
): void {
  search.scan(data, (at, id) => {
    const pattern = patterns[id] as Buffer;
    const length = matchLength(data, at, pattern);
    if (length === pattern.length) found(names[id] as string, at, at + length);
    else if (!last && at + length === data.length) undecided(at);
  });
  if (last) return;
  for (const at of search.beginningsAtEnd(data)) undecided(at);
}
