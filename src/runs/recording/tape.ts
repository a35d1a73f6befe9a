import { sha256Hex } from '../../base/digest.ts';
import type { BodyKey } from './bodies.ts';
import {
  type Beginning,
  type HttpEntry,
  type McpEntry,
  type ModelEntry,
  type PartEntry,
  RECORDING_VERSION,
  type StartEntry,
} from './entry.ts';
import { firstDifference, likeness, type Part, type PartDifference, partOf, placeOf, splitQuestion } from './parts.ts';
import { type Answered, type Recording, readRecording } from './reading.ts';
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
  readonly #http = new Map<string, Answered<HttpEntry>[]>();
  readonly #mcp: McpEntry[];
  readonly steps: Step[] = [];
  /** What was asked for and is not on it: `GET https://…`. */
  readonly missing: string[] = [];
  /** What hosts were asked with another body than was recorded; a hundred at most. */
  readonly otherBodies: OtherBody[] = [];
  readonly #given = new Set<Answered<HttpEntry>>();
  /** Words of the replay alone: its id, its token. */
  readonly own: string[] = [];
  /** What its agent draws anew at each start. */
  readonly drawn: RegExp[] = [];
  /** What its agent starts for its own use. */
  readonly aside: RegExp[] = [];
  readonly #known = new Map<string, Part>();
  /** Which word of the recorded run is which now. */
  readonly renaming = new Renaming();

  /** Nothing was recorded, for there was nothing to record. */
  readonly blank: boolean;

  private constructor({ start, parts, models, http, mcp }: Recording, blank = false) {
    this.start = start;
    this.blank = blank;
    const known = new Map([...parts].map(([id, part]) => [id, recordedPart(part)]));
    this.#models = models.map((entry) => ({ entry, parts: entry.parts.flatMap((id) => known.get(id) ?? []) }));
    for (const entry of http) {
      const key = `${entry.method} ${entry.url}`;
      this.#http.set(key, [...(this.#http.get(key) ?? []), entry]);
    }
    this.#mcp = [...mcp];
  }

  /** Throws `RecordingVersionError`, and `AuditInvalidError` for what is no recording. */
  static async read(content: AsyncIterable<Buffer>): Promise<Tape> {
    return new Tape(await readRecording(content));
  }

  /** Of a run that asked nobody for anything: everything else can be found again. */
  static blank(beginning: Beginning): Tape {
    const start: StartEntry = { k: 'start', version: RECORDING_VERSION, ...beginning };
    return new Tape({ start, parts: new Map(), models: [], http: [], mcp: [] }, true);
  }

  /** Questions that were recorded and not asked again. */
  get unasked(): number {
    return this.#models.length;
  }

  /**
   * The answer to exactly that question; to one that differs only in what changes from run to run; or the next one that was recorded.
   * Null when there is none.
   */
  model(wire: string, body: Readonly<Record<string, unknown>>): Answered<ModelEntry> | null {
    const parts = splitQuestion(body).map((value) => this.#part(value));
    const [fit, found] = this.#find(wire, sha256Hex(JSON.stringify(body)), parts);
    if (found !== null) this.#models.splice(this.#models.indexOf(found), 1);
    const misnamed = fit === 'next' || found === null ? null : this.#misnamed(found.parts, parts);
    const step = { step: this.steps.length + 1, wire };
    if (misnamed !== null) this.steps.push({ ...step, fit: 'next', difference: misnamed });
    else
      this.steps.push({ ...step, fit, difference: fit === 'next' ? firstDifference(found?.parts ?? [], parts) : null });
    this.#lacking(`request ${step.step} to the model`, found?.entry);
    return found?.entry ?? null;
  }

  /** Such an answer breaks off where its recording does. */
  #lacking(what: string, answer: { readonly whole: boolean } | undefined): void {
    if (answer?.whole === false) this.missing.push(`the rest of the answer to ${what}`);
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
  http(method: string, url: string, body: BodyKey | null): Answered<HttpEntry> | null {
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
    this.#lacking(`${method} ${url}`, entry);
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
  readonly entry: Answered<ModelEntry>;
  readonly parts: readonly Part[];
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

/**
 * The one whose conversation has most in common with what was asked; of several the one with its settings and tools, then the first. Agents ask
 * for titles and the like beside their work. Settings come last: what an agent tells there of its surroundings may stand in a later question
 * and not yet in the first one, whose answer this is all the same.
 */
function nearest(all: readonly Recorded[], asked: readonly Part[]): Recorded | null {
  const differs = ({ parts }: Recorded, i: number) => parts[i]?.digest !== asked[i]?.digest;
  const distance = (one: Recorded) => {
    const longest = Math.max(one.parts.length, asked.length);
    const messages = Array.from({ length: longest }, (_, i) => i > 0 && differs(one, i)).filter(Boolean).length;
    return 2 * messages + (differs(one, 0) ? 1 : 0);
  };
  const distances = all.map(distance);
  return all[distances.indexOf(Math.min(...distances))] ?? null;
}
