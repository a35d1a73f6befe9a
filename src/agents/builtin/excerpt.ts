/** The beginning and the end of what may be without end, in bounded memory. */
export class Excerpt {
  readonly #half: number;
  readonly #head: Buffer[] = [];
  #headSize = 0;
  #tail: Buffer[] = [];
  #tailSize = 0;
  bytes = 0;

  /** Keeps at most `limit` bytes. */
  constructor(limit: number) {
    this.#half = Math.floor(limit / 2);
  }

  write(piece: Buffer): void {
    this.bytes += piece.length;
    const room = this.#half - this.#headSize;
    if (room > 0) {
      this.#head.push(piece.subarray(0, room));
      this.#headSize += Math.min(room, piece.length);
    }
    const later = piece.subarray(Math.max(0, room));
    if (later.length === 0) return;
    this.#tail.push(later);
    this.#tailSize += later.length;
    if (this.#tailSize > this.#half * 4) this.#trim();
  }

  #trim(): void {
    const all = Buffer.concat(this.#tail);
    this.#tail = [Buffer.from(all.subarray(Math.max(0, all.length - this.#half)))];
    this.#tailSize = this.#tail[0]?.length ?? 0;
  }

  /** True when something in the middle is missing. */
  get cut(): boolean {
    return this.bytes > this.#half * 2;
  }

  /** What is kept, and what stands between its two parts when some is missing. */
  parts(): { readonly head: Buffer; readonly tail: Buffer; readonly missing: number } {
    this.#trim();
    const head = Buffer.concat(this.#head);
    const tail = this.#tail[0] ?? Buffer.alloc(0);
    return { head, tail, missing: this.bytes - head.length - tail.length };
  }
}

/** A NUL, or more than a few bytes that are no text: a program's own data. */
export function isBinary(bytes: Buffer): boolean {
  const looked = bytes.subarray(0, 8_192);
  if (looked.includes(0)) return true;
  const strange = [...looked.toString('utf8')].filter((character) => character === '\ufffd').length;
  return strange > 8 && strange > looked.length / 20;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: what programs colour their output and move the cursor with
const SEQUENCES = /\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]/g;

/** As a model reads it: without colours and cursor movements, which say nothing to it. */
export function plainText(bytes: Buffer): string {
  return bytes.toString('utf8').replace(SEQUENCES, '').replaceAll('\r\n', '\n');
}
