import type { Redaction } from './redaction.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: the colours of a program's output (SGR)
export const COLOUR = /\x1b\[[0-9;:]{0,64}m/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: what may become one
const BEGUN = /\x1b(?:\[[0-9;:]{0,64})?$/;

/**
 * Redaction of a stream with a terminal's colours in it: who shows it takes them out, so a value that stands there in pieces
 * with colours between them would come together again. They are looked through, and those within a value go behind its mark.
 */
export class ColouredRedaction {
  readonly #redaction: Redaction;
  /** Colours in front of text that is not decided upon yet, by their place in the text. */
  #colours: { readonly at: number; readonly bytes: Buffer }[] = [];
  #length = 0;
  #partial = '';

  constructor(redaction: Redaction) {
    this.#redaction = redaction;
  }

  /** What can go on. With `last`, all of it. */
  write(chunk: Buffer, last: boolean): Buffer[] {
    const out: Buffer[] = [];
    for (const { bytes, at, length } of this.#redaction.place(this.#takeColours(chunk, last), last)) {
      let from = 0;
      for (; this.#before(at + length); this.#colours.shift()) {
        const colour = this.#colours[0] as { at: number; bytes: Buffer };
        const to = Math.max(from, colour.at - at);
        out.push(bytes.subarray(from, to), colour.bytes);
        from = to;
      }
      out.push(bytes.subarray(from));
    }
    const { decided } = this.#redaction;
    while (this.#before(decided)) out.push((this.#colours.shift() as { bytes: Buffer }).bytes);
    return out.filter(({ length }) => length > 0);
  }

  #before(place: number): boolean {
    return (this.#colours[0]?.at ?? Number.POSITIVE_INFINITY) <= place;
  }

  /** The text alone. */
  #takeColours(chunk: Buffer, last: boolean): Buffer {
    if (this.#partial === '' && !chunk.includes(0x1b)) {
      this.#length += chunk.length;
      return chunk;
    }
    const data = this.#partial + chunk.toString('latin1');
    this.#partial = last ? '' : (BEGUN.exec(data)?.[0] ?? '');
    const whole = data.slice(0, data.length - this.#partial.length);
    let text = '';
    let from = 0;
    for (const { 0: colour, index } of whole.matchAll(COLOUR)) {
      text += whole.slice(from, index);
      this.#colours.push({ at: this.#length + text.length, bytes: Buffer.from(colour, 'latin1') });
      from = index + colour.length;
    }
    text += whole.slice(from);
    this.#length += text.length;
    return Buffer.from(text, 'latin1');
  }
}
