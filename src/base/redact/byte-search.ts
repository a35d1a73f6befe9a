/**
 * Looks for many byte strings at once, by Wu and Manber's method (A Fast Algorithm for Multi-Pattern Searching, 1994): of each
 * string's first `window` bytes every block of three has an entry that says how far the search may go on when it meets that
 * block, so that text without any of them is passed over several bytes a step. The tables have a fixed size: memory grows
 * with the strings, not with their alphabet.
 */
const TABLE = 1 << 16;
const NONE = -1;

export type Visit = (at: number, pattern: number) => void;

export class ByteSearch {
  readonly #patterns: readonly Buffer[];
  readonly #window: number;
  readonly #block: 2 | 3;
  readonly #shift: Uint8Array;
  /** By hash of a window's last block: the first pattern with it; `#next`: the one after a pattern. */
  readonly #first: Int32Array;
  readonly #next: Int32Array;
  /** Beginnings shorter than the window, by which a pattern may stand at the very end. */
  readonly #beginnings = new Set<string>();
  /** Bytes that a pattern begins with: most of a text's are none. */
  readonly #starts = new Uint8Array(256);

  /** Every pattern has at least `window` bytes; `window` is at least 4. */
  constructor(patterns: readonly Buffer[], window: number) {
    this.#patterns = patterns;
    this.#window = window;
    // Short windows leave room for a shift only with short blocks; their patterns are few, so that these stay rare.
    this.#block = window < 6 ? 2 : 3;
    this.#shift = new Uint8Array(TABLE).fill(window - this.#block + 1);
    this.#first = new Int32Array(TABLE).fill(NONE);
    this.#next = new Int32Array(patterns.length).fill(NONE);
    patterns.forEach((pattern, id) => {
      this.#enter(pattern, id);
    });
  }

  #enter(pattern: Buffer, id: number): void {
    if (pattern.length < this.#window) throw new RangeError(`a pattern of ${pattern.length} bytes is too short`);
    for (let end = this.#block - 1; end < this.#window; end++) {
      const hash = this.#hash(pattern, end);
      this.#shift[hash] = Math.min(this.#shift[hash] as number, this.#window - 1 - end);
    }
    const last = this.#hash(pattern, this.#window - 1);
    this.#next[id] = this.#first[last] as number;
    this.#first[last] = id;
    this.#starts[pattern[0] as number] = 1;
    for (let length = 1; length < this.#window; length++) {
      this.#beginnings.add(pattern.toString('latin1', 0, length));
    }
  }

  /**
   * Calls `visit` for each place where a pattern's first `window` bytes stand in `data`, from the left; the rest of the
   * pattern is the visitor's to compare.
   */
  scan(data: Buffer, visit: Visit): void {
    if (this.#patterns.length === 0) return;
    const three = this.#block === 3 ? 0xff : 0;
    const shift = this.#shift;
    const end = data.length;
    let i = this.#window - 1;
    while (i < end) {
      const third = ((data[i - 2] as number) & three) << 8;
      const hash = (third ^ ((data[i - 1] as number) << (three === 0 ? 8 : 4)) ^ (data[i] as number)) & (TABLE - 1);
      const step = shift[hash] as number;
      if (step !== 0) i += step;
      else this.#visitAll(data, i++, hash, visit);
    }
  }

  #visitAll(data: Buffer, last: number, hash: number, visit: Visit): void {
    const at = last - this.#window + 1;
    for (let id = this.#first[hash] as number; id !== NONE; id = this.#next[id] as number) {
      if (matchLength(data, at, this.#patterns[id] as Buffer, this.#window) === this.#window) visit(at, id);
    }
  }

  #hash(bytes: Buffer, end: number): number {
    const [a, b, c] = [bytes[end - 2] ?? 0, bytes[end - 1] as number, bytes[end] as number];
    return (this.#block === 3 ? (a << 8) ^ (b << 4) ^ c : (b << 8) ^ c) & (TABLE - 1);
  }

  /** The places at the end of `data`, fewer than `window` bytes before it, where a pattern may have begun; from the left. */
  *beginningsAtEnd(data: Buffer): Generator<number> {
    for (let at = Math.max(0, data.length - this.#window + 1); at < data.length; at++) {
      if (this.#starts[data[at] as number] === 1 && this.#beginnings.has(data.toString('latin1', at))) yield at;
    }
  }
}

/** How many bytes of `pattern`, at most `limit`, stand in `data` at `at`. */
export function matchLength(data: Buffer, at: number, pattern: Buffer, limit = pattern.length): number {
  const most = Math.min(limit, data.length - at);
  let n = 0;
  while (n < most && data[at + n] === pattern[n]) n++;
  return n;
}
