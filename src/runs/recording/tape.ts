import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { sha256Hex } from '../../base/digest.ts';
import { AuditInvalidError } from '../../base/errors.ts';
import type { BodyKey } from './bodies.ts';
import {
  type Entry,
  entrySchema,
  type HttpEntry,
  type McpEntry,
  type ModelEntry,
  type PartEntry,
  type StartEntry,
} from './entry.ts';
import { firstDifference, likeness, type Part, type PartDifference, partOf, placeOf, splitQuestion } from './parts.ts';
import { Renaming, type VolatileWord } from './volatile.ts';

/** How the answer that was given fits what was asked. */
export type Fit = 'exact' | 'like' | 'next' | 'missing';

/** One step of a replayed agent: a question to a model. */
export interface Step {
  readonly step: number;
  readonly wire: string;
  readonly fit: Fit;
  /** Where what was asked differs from what was recorded; null where it does not. */
  readonly difference: PartDifference | null;
}

/** A run's recording, read again: it answers in place of the world, and remembers how well that went. */
export class Tape {
  readonly start: StartEntry;
  readonly #models: Recorded[];
  readonly #http: Map<string, HttpEntry[]>;
  readonly #mcp: McpEntry[];
  readonly steps: Step[] = [];
  /** What was asked for and is not on it: `GET https://…`. */
  readonly missing: string[] = [];
  /** What hosts were asked with another body than was recorded; a hundred at most. */
  readonly otherBodies: OtherBody[] = [];
  readonly #given = new Set<HttpEntry>();
  /** Words of the replay alone: its id, its token. */
  readonly own: string[] = [];
  /** What its agent draws anew at each start. */
  readonly drawn: RegExp[] = [];
  readonly #known = new Map<string, Part>();
  /** Which word of the recorded run is which now. */
  readonly renaming = new Renaming();

  /** Nothing was recorded, for there was nothing to record. */
  readonly blank: boolean;

  private constructor(
    start: StartEntry,
    models: Recorded[],
    http: Map<string, HttpEntry[]>,
    mcp: McpEntry[],
    blank = false,
  ) {
    this.#mcp = mcp;
    this.blank = blank;
    this.start = start;
    this.#models = models;
    this.#http = http;
  }

  /** Throws `AuditInvalidError` for what is no recording. */
  static async read(content: AsyncIterable<Buffer>): Promise<Tape> {
    let start: StartEntry | null = null;
    const models: Recorded[] = [];
    const parts = new Map<number, Part>();
    const http = new Map<string, HttpEntry[]>();
    const mcp: McpEntry[] = [];
    for await (const line of createInterface({ input: Readable.from(content), crlfDelay: Number.POSITIVE_INFINITY })) {
      const entry = entryOf(line);
      if (entry.k === 'start') start ??= entry;
      else if (entry.k === 'part') parts.set(entry.id, recordedPart(entry));
      else if (entry.k === 'model') models.push({ entry, parts: entry.parts.flatMap((id) => parts.get(id) ?? []) });
      else if (entry.k === 'mcp') mcp.push(entry);
      else {
        const key = `${entry.method} ${entry.url}`;
        http.set(key, [...(http.get(key) ?? []), entry]);
      }
    }
    if (start === null) throw new AuditInvalidError('the recording of the run has no beginning');
    return new Tape(start, models, http, mcp);
  }

  /** Of a run that asked nobody for anything: everything else can be found again. */
  static blank(start: Omit<StartEntry, 'k'>): Tape {
    return new Tape({ k: 'start', ...start }, [], new Map(), [], true);
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
    const parts = splitQuestion(body).map((value) => this.#part(value));
    const [fit, found] = this.#find(wire, sha256Hex(JSON.stringify(body)), parts);
    if (found !== null) this.#models.splice(this.#models.indexOf(found), 1);
    const misnamed = fit === 'next' || found === null ? null : this.#misnamed(found.parts, parts);
    const step = { step: this.steps.length + 1, wire };
    if (misnamed !== null) this.steps.push({ ...step, fit: 'next', difference: misnamed });
    else
      this.steps.push({ ...step, fit, difference: fit === 'next' ? firstDifference(found?.parts ?? [], parts) : null });
    return found?.entry ?? null;
  }

  #part(value: unknown): Part {
    const name = sha256Hex(JSON.stringify(value));
    const part = this.#known.get(name) ?? partOf(value, { own: this.own, drawn: this.drawn });
    this.#known.set(name, part);
    return part;
  }

  #find(wire: string, digest: string, parts: readonly Part[]): [Fit, Recorded | null] {
    const mine = this.#models.filter(({ entry }) => entry.wire === wire);
    const exact = mine.find(({ entry }) => entry.digest === digest);
    if (exact !== undefined) return ['exact', exact];
    const like = likeness(parts);
    const alike = mine.find(({ entry }) => entry.like === like);
    if (alike !== undefined) return ['like', alike];
    return mine[0] === undefined ? ['missing', null] : ['next', nearest(mine, parts)];
  }

  /** Where a name stands for another one than before. */
  #misnamed(then: readonly Part[], now: readonly Part[]): PartDifference | null {
    for (const [i, part] of now.entries()) {
      for (const [j, leaf] of part.leaves.entries()) {
        const wrong = this.renaming.contradiction(then[i]?.leaves[j]?.words ?? [], leaf.words);
        if (wrong !== null) return { at: placeOf(i, leaf.path), ...wrong };
      }
    }
    return null;
  }

  /** The next answer that was recorded for exactly that, or for what differs only as runs do; the last one again. */
  mcp(server: string, method: string, params: Readonly<Record<string, unknown>>): [Fit, McpEntry['answer'] | null] {
    const asked = JSON.stringify(params);
    const mine = this.#mcp.filter((entry) => entry.server === server && entry.method === method);
    const same = mine.filter(({ digest }) => digest === sha256Hex(asked));
    const known = likeness([partOf(params, { own: this.own, drawn: this.drawn })]);
    const alike = same.length > 0 ? same : mine.filter(({ like }) => like === known);
    const [entry, next] = alike;
    if (entry === undefined) {
      this.missing.push(`${method} of the MCP server ${server}`);
      return ['missing', null];
    }
    if (next !== undefined) this.#mcp.splice(this.#mcp.indexOf(entry), 1);
    return [same.length > 0 ? 'exact' : 'like', entry.answer];
  }

  /**
   * The next answer that was recorded for that request with that body, or with one that differs only as runs do; the last of them again, where
   * it was asked more often. Else the next one for that address, which is a difference.
   */
  http(method: string, url: string, body: BodyKey | null): HttpEntry | null {
    const entries = this.#http.get(`${method} ${url}`) ?? [];
    const exact = entries.filter((entry) => entry.body !== null && entry.body.digest === body?.digest);
    const alike =
      exact.length > 0 ? exact : entries.filter(({ body: then }) => then !== null && then.like === body?.like);
    const among = alike.length > 0 ? alike : entries;
    const entry = among.find((one) => !this.#given.has(one)) ?? among.at(-1);
    if (entry === undefined) {
      this.missing.push(`${method} ${url}`);
      return null;
    }
    this.#given.add(entry);
    if (alike.length === 0 && this.otherBodies.length < MAX_OTHER) {
      this.otherBodies.push({ request: `${method} ${url}`, expected: bodyText(entry.body), actual: bodyText(body) });
    }
    return entry;
  }
}

const MAX_OTHER = 100;

/** A request that was answered by its address alone. */
export interface OtherBody {
  readonly request: string;
  readonly expected: string;
  readonly actual: string;
}

function bodyText(body: BodyKey | null): string {
  if (body === null) return 'a body of which no digest is known';
  return body.bytes === 0 ? 'no body' : `a body of ${body.bytes} bytes (${body.digest.slice(0, 16)})`;
}

interface Recorded {
  readonly entry: ModelEntry;
  readonly parts: readonly Part[];
}

function entryOf(line: string): Entry {
  try {
    return entrySchema.parse(JSON.parse(line));
  } catch (cause) {
    throw new AuditInvalidError('the recording of the run is damaged', { cause });
  }
}

function recordedPart({ digest, leaves }: PartEntry): Part {
  return {
    digest,
    leaves: leaves.map(([path, of, text, words]) => ({
      path,
      digest: of,
      text,
      words: words as unknown as VolatileWord[],
    })),
  };
}

/** The one that has most in common with what was asked; of several the first. Agents ask for titles and the like beside their work. */
function nearest(all: readonly Recorded[], parts: readonly Part[]): Recorded | null {
  const common = (one: Recorded) => one.parts.filter(({ digest }, i) => parts[i]?.digest === digest).length;
  const scores = all.map(common);
  return all[scores.indexOf(Math.max(...scores))] ?? null;
}
