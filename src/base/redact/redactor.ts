import { Transform } from 'node:stream';
import { ByteSearch } from './byte-search.ts';
import { encodingsOf } from './encodings.ts';
import { type Needles, searchValues } from './needles.ts';
import { Redaction } from './redaction.ts';
import { searchShapes } from './shape-search.ts';

/** Shorter values would stand in half of all text, and redacting them would say what they are. Bytes. */
export const SHORTEST_SECRET = 8;
/** Longest value. What may be the beginning of one is held back, so this bounds a stream's memory (three times as much). Bytes. */
export const LONGEST_SECRET = 64 * 1024;

/** No shape of a credential has this byte in it, nor asks what stands beside it: like a text's end. */
const BETWEEN = '\0';
const NOTHING = () => {};
const NEVER = () => false;

export interface RedactorOptions {
  /** Whether shapes of credentials are looked for too. Default true. */
  readonly shapes?: boolean;
}

/**
 * Takes secrets out of what is shown, kept or sent: every value it was told, in each of its usual encodings
 * (encodings.ts), and what has the shape of a credential (shapes.ts). In its place stands `[secret:NAME]` or `[secret:github-token]`.
 *
 * Found values that overlap are taken out together under the name of the first, so that no rest of one stays. The result does not
 * depend on how a stream is cut into pieces. Bytes that are no secret pass unchanged, valid UTF-8 or not.
 */
export class Redactor {
  readonly #values = new Map<string, Map<string, Buffer[]>>();
  readonly #shapes: boolean;
  #needles: Needles | null = null;

  constructor(options: RedactorOptions = {}) {
    this.#shapes = options.shapes ?? true;
  }

  /**
   * From now on the value is taken out, with and without line ends at its end, in streams that are open too. A name may have several values (before and after
   * a rotation). Throws `RangeError`, without the value, when it is shorter than 8 or longer than 65,536 bytes.
   */
  add(name: string, value: string | Uint8Array): void {
    const bytes = Buffer.from(value as string);
    if (bytes.length < SHORTEST_SECRET || bytes.length > LONGEST_SECRET) {
      throw new RangeError(
        `the value of ${name} has ${bytes.length} bytes; ${SHORTEST_SECRET} to ${LONGEST_SECRET} can be redacted`,
      );
    }
    const values = this.#values.get(name) ?? new Map<string, Buffer[]>();
    this.#values.set(name, values);
    // A shell's $(…) and most programs that read a secret from a file go on without the line end.
    for (const form of [bytes, withoutLineEnds(bytes)]) {
      const key = form.toString('latin1');
      if (values.has(key) || form.length < SHORTEST_SECRET) continue;
      values.set(key, encodingsOf(form));
      this.#needles = null;
    }
  }

  /** Forgets all values of a name. */
  remove(name: string): void {
    if (this.#values.delete(name)) this.#needles = null;
  }

  get size(): number {
    return this.#values.size;
  }

  /** The whole of a text or of bytes; the same object when there was nothing to take out. */
  redact<T extends string | Buffer>(input: T): T {
    const data: Buffer = typeof input === 'string' ? Buffer.from(input) : input;
    if (!this.matches(data)) return input;
    const redaction = new Redaction(() => this.needles());
    const pieces = redaction.write(data, true);
    const out = Buffer.concat(pieces);
    return (typeof input === 'string' ? out.toString() : out) as T;
  }

  /** True when there is something to take out: what a stream's redaction would find, without all that it keeps for what may follow. */
  matches(input: string | Buffer): boolean {
    const data = typeof input === 'string' ? Buffer.from(input) : input;
    const needles = this.needles();
    let found = false;
    const yes = () => {
      found = true;
    };
    searchValues(data, true, needles, yes, NOTHING);
    if (!found && needles.shapes) searchShapes(data, -1, true, NEVER, { found: yes, undecided: NOTHING });
    return found;
  }

  /** What is looked for now. Another object as soon as a value comes or goes: what was searched before then is to be searched again. */
  get knowledge(): object {
    return this.needles();
  }

  /** False when nothing but shapes is looked for. */
  get hasValues(): boolean {
    return this.needles().patterns.length > 0;
  }

  /** Where known values stand, by their first byte; shapes of credentials are not looked for. `end` is behind the last byte. */
  valuesIn(data: Buffer): readonly { readonly name: string; readonly at: number; readonly end: number }[] {
    const found: { name: string; at: number; end: number }[] = [];
    searchValues(data, true, this.needles(), (name, at, end) => found.push({ name, at, end }), NOTHING);
    return found.sort((a, b) => a.at - b.at || b.end - a.end);
  }

  /** The same of any of several texts, each by itself, in one search. */
  matchesAny(texts: readonly string[]): boolean {
    return this.matches(texts.join(BETWEEN));
  }

  /** The name of the first that would be taken out: of a value as it was added, or of a shape; null when there is none. */
  nameIn(input: string | Buffer): string | null {
    let first: string | null = null;
    const redaction = this.open((name) => {
      first ??= name;
    });
    redaction.write(typeof input === 'string' ? Buffer.from(input) : input, true);
    return first;
  }

  /** For a stream that is cut anywhere. `onMark` is told each name that was taken out. */
  open(onMark?: (name: string) => void): Redaction {
    return new Redaction(() => this.needles(), onMark);
  }

  /**
   * As a stream of bytes. What may be the beginning of a secret waits for what follows; all else goes on at once.
   */
  stream(onMark?: (name: string) => void): Transform {
    const redaction = this.open(onMark);
    const pushAll = (stream: Transform, pieces: readonly Buffer[]) => {
      for (const piece of pieces) stream.push(piece);
    };
    return new Transform({
      transform(chunk: Buffer, _encoding, done) {
        pushAll(this, redaction.write(chunk, false));
        done();
      },
      flush(done) {
        pushAll(this, redaction.write(Buffer.alloc(0), true));
        done();
      },
    });
  }

  needles(): Needles {
    if (this.#needles !== null) return this.#needles;
    const patterns: Buffer[] = [];
    const names: string[] = [];
    for (const [name, values] of this.#values) {
      for (const pattern of [...values.values()].flat()) {
        patterns.push(pattern);
        names.push(name);
      }
    }
    this.#needles = { patterns, names, search: new ByteSearch(patterns, SHORTEST_SECRET), shapes: this.#shapes };
    return this.#needles;
  }

  toJSON(): string {
    return `[redactor of ${this.size} secrets]`;
  }
}

function withoutLineEnds(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  return bytes.subarray(0, end);
}
