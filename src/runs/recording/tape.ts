import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { sha256Hex } from '../../base/digest.ts';
import { AuditInvalidError } from '../../base/errors.ts';
import { entrySchema, type HttpEntry, type ModelEntry, type StartEntry } from './entry.ts';
import { firstDifference, likeness, type Part, partsOf } from './parts.ts';

/** How the answer that was given fits what was asked. */
export type Fit = 'exact' | 'like' | 'next' | 'missing';

/** One step of a replayed agent: a question to a model. */
export interface Step {
  readonly step: number;
  readonly wire: string;
  readonly fit: Fit;
  /** Where what was asked differs from what was recorded; null where it does not. */
  readonly difference: { readonly part: number; readonly expected: string; readonly actual: string } | null;
}

/** A run's recording, read again: it answers in place of the world, and remembers how well that went. */
export class Tape {
  readonly start: StartEntry;
  readonly #models: ModelEntry[];
  readonly #http: Map<string, HttpEntry[]>;
  readonly steps: Step[] = [];
  /** What was asked for and is not on it: `GET https://…`. */
  readonly missing: string[] = [];
  readonly #own: string[] = [];

  private constructor(start: StartEntry, models: ModelEntry[], http: Map<string, HttpEntry[]>) {
    this.start = start;
    this.#models = models;
    this.#http = http;
  }

  /** Throws `AuditInvalidError` for what is no recording. */
  static async read(content: AsyncIterable<Buffer>): Promise<Tape> {
    let start: StartEntry | null = null;
    const models: ModelEntry[] = [];
    const http = new Map<string, HttpEntry[]>();
    for await (const line of createInterface({ input: Readable.from(content), crlfDelay: Number.POSITIVE_INFINITY })) {
      const parsed = entrySchema.safeParse(JSON.parse(line));
      if (!parsed.success) throw new AuditInvalidError('the recording of the run is damaged');
      const entry = parsed.data;
      if (entry.k === 'start') start ??= entry;
      else if (entry.k === 'model') models.push(entry);
      else {
        const key = `${entry.method} ${entry.url}`;
        http.set(key, [...(http.get(key) ?? []), entry]);
      }
    }
    if (start === null) throw new AuditInvalidError('the recording of the run has no beginning');
    return new Tape(start, models, http);
  }

  /** Of a run that asked nobody for anything: everything else can be found again. */
  static blank(start: Omit<StartEntry, 'k'>): Tape {
    return new Tape({ k: 'start', ...start }, [], new Map());
  }

  own(word: string): void {
    this.#own.push(word);
  }

  /** Questions that were recorded and not asked again. */
  get unasked(): number {
    return this.#models.length;
  }

  /**
   * The answer to exactly that question; to one that differs only in what changes from run to run; or the next one that was recorded.
   * Null when there is none.
   */
  model(wire: string, body: Readonly<Record<string, unknown>>): ModelEntry | null {
    const asked = JSON.stringify(body);
    const parts = partsOf(body, this.#own);
    const [fit, entry] = this.#find(wire, sha256Hex(asked), likeness(parts));
    if (entry !== null) this.#models.splice(this.#models.indexOf(entry), 1);
    this.steps.push({ step: this.steps.length + 1, wire, fit, difference: differenceOf(entry, parts, fit) });
    return entry;
  }

  #find(wire: string, digest: string, like: string): [Fit, ModelEntry | null] {
    const mine = this.#models.filter((entry) => entry.wire === wire);
    const exact = mine.find((entry) => entry.digest === digest);
    if (exact !== undefined) return ['exact', exact];
    const alike = mine.find((entry) => entry.like === like);
    if (alike !== undefined) return ['like', alike];
    return mine[0] === undefined ? ['missing', null] : ['next', mine[0]];
  }

  /** The next answer that was recorded for that request; the last one again, where it was asked more often. */
  http(method: string, url: string): HttpEntry | null {
    const entries = this.#http.get(`${method} ${url}`) ?? [];
    const entry = entries.length > 1 ? entries.shift() : entries[0];
    if (entry === undefined) this.missing.push(`${method} ${url}`);
    return entry ?? null;
  }
}

function differenceOf(entry: ModelEntry | null, actual: readonly Part[], fit: Fit): Step['difference'] {
  if (fit === 'exact' || fit === 'like') return null;
  const part = entry === null ? 0 : firstDifference(entry.parts, actual);
  if (part === null) return null;
  const shown = (parts: readonly Part[]) => parts[part]?.text ?? 'nothing';
  return { part, expected: shown(entry?.parts ?? []), actual: shown(actual) };
}
