import { sha256Hex } from '../../base/digest.ts';
import type { Redactor } from '../../base/redact/index.ts';
import { redactedJson } from '../redaction.ts';
import type { Entry, ModelEntry, PartEntry } from './entry.ts';
import { likeness, partDigest, textDigest } from './parts.ts';
import { CleanPieces } from './pieces.ts';
import { entriesOf } from './reading.ts';

/** What is passed on at once. Characters. */
const PORTION = 64 * 1024;

/**
 * A recording without secrets that became known after some of it was written. In memory is of each answer that is under way only what may be
 * the beginning of one.
 */
export async function* cleaned(recording: AsyncIterable<Buffer>, redactor: Redactor): AsyncGenerator<Buffer> {
  let out = '';
  const cleaning = new Cleaning(redactor, (text) => {
    out += `${text}\n`;
  });
  for await (const entry of entriesOf(recording)) {
    cleaning.take(entry);
    if (out.length < PORTION) continue;
    yield Buffer.from(out);
    out = '';
  }
  yield Buffer.from(out);
}

class Cleaning {
  readonly #redactor: Redactor;
  readonly #emit: (text: string) => void;
  readonly #open = new Map<number, CleanPieces>();
  /** Parts in which something was found, with their digests since. */
  readonly #changed = new Map<number, string>();
  /** Digests of all parts. */
  readonly #parts = new Map<number, string>();

  constructor(redactor: Redactor, emit: (text: string) => void) {
    this.#redactor = redactor;
    this.#emit = emit;
  }

  take(entry: Entry): void {
    if (entry.k === 'piece') {
      this.#open.get(entry.of)?.add(Buffer.from(entry.bytes, 'base64'), entry.at);
      return;
    }
    if (entry.k === 'end') {
      this.#open.get(entry.of)?.end();
      this.#open.delete(entry.of);
    }
    if (entry.k === 'http' || entry.k === 'model') this.#open.set(entry.id, this.#pieces(entry.id));
    this.#emit(JSON.stringify(this.#clean(entry)));
  }

  #pieces(id: number): CleanPieces {
    return new CleanPieces(this.#redactor, (at, bytes) =>
      this.#emit(`{"k":"piece","of":${id},"at":${at},"bytes":"${bytes.toString('base64')}"}`),
    );
  }

  #clean(entry: Entry): Entry {
    if (entry.k === 'start') return entry;
    const clean = redactedJson(entry, this.#redactor);
    if (entry.k === 'part') return this.#part(entry, clean as PartEntry);
    return entry.k === 'model' ? this.#model(entry, clean as ModelEntry) : clean;
  }

  /** A digest of what held a secret would let it be guessed. */
  #part(entry: PartEntry, clean: PartEntry): PartEntry {
    this.#parts.set(entry.id, entry.digest);
    if (JSON.stringify(clean) === JSON.stringify(entry)) return entry;
    const leaves = clean.leaves.map(([path, digest, text, words], i): PartEntry['leaves'][number] => {
      const same = text === entry.leaves[i]?.[2];
      return [path, same ? digest : textDigest(text), text, words];
    });
    const digest = partDigest(leaves.map(([path, of]) => ({ path, digest: of })));
    this.#parts.set(entry.id, digest);
    this.#changed.set(entry.id, digest);
    return { ...clean, digest, leaves };
  }

  #model(entry: ModelEntry, clean: ModelEntry): ModelEntry {
    const changed = entry.parts.some((id) => this.#changed.has(id));
    if (!changed && clean.asked === entry.asked) return clean;
    const like = likeness(entry.parts.map((id) => ({ digest: this.#parts.get(id) ?? '' })));
    // Where the question was not kept, nothing is exactly it any more.
    return { ...clean, like, digest: sha256Hex(clean.asked ?? like) };
  }
}
