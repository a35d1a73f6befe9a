/** The end of a stream, at most so many bytes of it: what is too much is dropped from the front, at the border of a character. */
export class Tail {
  readonly #limit: number;
  #pieces: Buffer[] = [];
  #size = 0;
  /** All that came. */
  bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  write(piece: Buffer): void {
    this.bytes += piece.length;
    this.#pieces.push(piece);
    this.#size += piece.length;
    // Not for each piece: a stream may come byte by byte.
    if (this.#size > 2 * this.#limit + 65_536) this.#cut();
  }

  /** `truncated`: something before it was dropped. What is no UTF-8 is shown as U+FFFD. */
  text(): { readonly output: string; readonly truncated: boolean } {
    this.#cut();
    const output = Buffer.concat(this.#pieces).toString('utf8');
    const bytes = Buffer.from(output);
    const kept = ending(bytes, this.#limit);
    return {
      output: kept.length === bytes.length ? output : kept.toString('utf8'),
      truncated: this.bytes > this.#size || kept.length < bytes.length,
    };
  }

  #cut(): void {
    if (this.#size <= this.#limit) return;
    const kept = Buffer.from(ending(Buffer.concat(this.#pieces), this.#limit));
    this.#pieces = [kept];
    this.#size = kept.length;
  }
}

/** The last bytes, from where a character begins: no more than three bytes are in the middle of one. */
function ending(bytes: Buffer, limit: number): Buffer {
  if (bytes.length <= limit) return bytes;
  let start = bytes.length - limit;
  for (let i = 0; i < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80; i++) start++;
  return bytes.subarray(start);
}
