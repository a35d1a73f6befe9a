/** What changes from run to run though nothing else does: ids, times, random names. */
export type VolatileKind = 'uuid' | 'time' | 'hex' | 'temporary name' | 'duration' | 'drawn by the agent';

/** One such word, as it stood there. */
export type VolatileWord = readonly [kind: VolatileKind, word: string];

/** Kinds that name something: one name then is one name now, wherever it stands. */
export const NAMING: ReadonlySet<VolatileKind> = new Set(['uuid', 'hex', 'temporary name']);

const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*';
const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)';

const VOLATILE: readonly (readonly [RegExp, VolatileKind])[] = [
  [/(?<![0-9a-z])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-z])/gi, 'uuid'],
  // Before the times: one digest in 360 has ten digits in a row that could be seconds since 1970.
  [/(?<![0-9A-Za-z])(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})(?![0-9A-Za-z])/g, 'hex'],
  // A commit's short name, as `git commit` writes it and as it stands elsewhere: there not all digits, and not all letters.
  // What stands before it is looked at last: looked at first, it costs 200 steps for each blank of a text.
  [/(?<= )(?!1[5-9]\d{8}\])[0-9a-f]{7,12}(?=\])(?<=^\[[^\]\n]{1,200} [0-9a-f]{7,12})/gm, 'hex'],
  [/(?<![0-9A-Za-z./_-])(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{7,12}(?![0-9A-Za-z_-])/g, 'hex'],
  [/\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d:?\d\d))?)?/g, 'time'],
  // As `date` writes it, as mails do, and with the month spelt out.
  [new RegExp(`\\b${DAY},? ${MONTH}[a-z]* +\\d+ \\d\\d:\\d\\d:\\d\\d(?: [AP]M)?(?: \\w+)? \\d{4}`, 'g'), 'time'],
  [
    new RegExp(
      `\\b${DAY},? \\w+ \\w+,? \\d{4}(?: (?:at )?\\d\\d:\\d\\d(?::\\d\\d)?(?: ?(?:GMT|UTC|[+-]\\d{4}))?)?`,
      'g',
    ),
    'time',
  ],
  // As `ls -l` writes it.
  [new RegExp(`\\b${MONTH} [ \\d]\\d (?:\\d\\d:\\d\\d| \\d{4})`, 'g'), 'time'],
  [/(?<![\d:.])\d\d:\d\d:\d\d(?:[.,]\d+)?(?![\d:])/g, 'time'],
  // Seconds since 1970, or thousandths, millionths, billionths.
  [/(?<![\d.])1[5-9]\d{8}(?:\.\d+|\d{3}|\d{6}|\d{9})?(?!\d)/g, 'time'],
  [/\/tmp\/[A-Za-z0-9._-]+/g, 'temporary name'],
  [/(?<![\w.])\d+(?:\.\d+)? ?(?:ms|µs|ns|s|secs?|seconds)\b/g, 'duration'],
];

/** What in a text is taken for volatile, and what of it stays. */
export interface Steadied {
  /** With the kind in place of each word. */
  readonly text: string;
  readonly words: readonly VolatileWord[];
}

/** `own` are words of this run alone (its id, its token); `drawn` is what its agent draws anew at each start. */
export interface Own {
  readonly own: readonly string[];
  readonly drawn: readonly RegExp[];
}

export function steadied(text: string, { own, drawn }: Own): Steadied {
  let out = text;
  for (const word of own) out = out.replaceAll(word, '<run>');
  const words: VolatileWord[] = [];
  const take = (pattern: RegExp, kind: VolatileKind) => {
    out = out.replace(pattern, (word) => {
      words.push([kind, word]);
      return `<${kind}>`;
    });
  };
  for (const pattern of drawn) take(pattern, 'drawn by the agent');
  for (const [pattern, kind] of VOLATILE) take(pattern, kind);
  return { text: out, words };
}

/** Words that came out otherwise: by kind how many, and the first of them. */
export interface Altered {
  readonly kind: VolatileKind;
  readonly count: number;
  readonly expected: string;
  readonly actual: string;
}

/**
 * Holds two runs' volatile words against each other. Times may be any; a name must be used as it was then: one name now for each
 * name then, everywhere.
 */
export class Renaming {
  readonly #then = new Map<string, string>();
  readonly #now = new Map<string, string>();
  readonly #altered = new Map<string, VolatileKind>();

  /** The first two that contradict what was seen before; null when none does. Both lists have the same kinds in the same order. */
  contradiction(
    then: readonly VolatileWord[],
    now: readonly VolatileWord[],
  ): { readonly expected: string; readonly actual: string } | null {
    for (const [i, [kind, expected]] of then.entries()) {
      const actual = now[i]?.[1] ?? '';
      if (NAMING.has(kind)) {
        const known = this.#then.get(expected) ?? actual;
        const back = this.#now.get(actual) ?? expected;
        if (known !== actual) return { expected: `${expected}, which was ${known} before`, actual };
        if (back !== expected) return { expected, actual: `${actual}, which stood for ${back} before` };
        this.#then.set(expected, actual);
        this.#now.set(actual, expected);
      }
    }
    this.note(then, now);
    return null;
  }

  /** Without asking whether names are used as before. */
  note(then: readonly VolatileWord[], now: readonly VolatileWord[]): void {
    for (const [i, [kind, expected]] of then.entries()) {
      const actual = now[i]?.[1] ?? '';
      if (actual !== expected) this.#altered.set(JSON.stringify([expected, actual]), kind);
    }
  }

  get altered(): readonly Altered[] {
    const found = new Map<VolatileKind, Altered>();
    for (const [pair, kind] of this.#altered) {
      const [expected, actual] = JSON.parse(pair) as [string, string];
      const before = found.get(kind) ?? { kind, count: 0, expected, actual };
      found.set(kind, { ...before, count: before.count + 1 });
    }
    return [...found.values()];
  }
}
