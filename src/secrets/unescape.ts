/**
 * The same bytes as somebody reads them who undoes their escapes: `%63`, `\u0063`, `\x63`, `=63` (quoted-printable), `&#99;`, `&#x63;`.
 * Blanks, line ends, quotes, backslashes that escape nothing, and NUL go: base64 in lines, hex in groups, UTF-16 and JSON within JSON are then what
 * they stand for. Not for anything but searching for words of letters, digits, `-` and `_`: what else is lost does not matter.
 */
const HEX = new Int8Array(256).fill(-1);
for (let i = 0; i < 16; i++) {
  HEX[i.toString(16).charCodeAt(0)] = i;
  HEX[i.toString(16).toUpperCase().charCodeAt(0)] = i;
}
const DROPPED = new Uint8Array(256);
for (const byte of Buffer.from('\0\t\n\r "\'\\')) DROPPED[byte] = 1;
const [PERCENT, BACKSLASH, EQUALS, AMPERSAND, HASH, SEMICOLON, U, X, UPPER_X] = Buffer.from('%\\=&#;uxX');
/** The longest escape: `&#X00000063;` and a little. */
const LONGEST = 14;
/** Returned where the end of what there is may cut an escape. */
const CUT = -2;
const NONE = -1;

export class Unescape {
  #rest: Buffer = Buffer.alloc(0);
  /** Where the escape that was read last ends. */
  #end = 0;

  /** The next bytes as they are meant. What may be the beginning of an escape waits for what follows, but with `last`. */
  write(chunk: Buffer, last: boolean): Buffer {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const out = Buffer.allocUnsafe(data.length);
    let length = 0;
    let at = 0;
    while (at < data.length) {
      const byte = data[at] as number;
      if (byte === PERCENT || byte === BACKSLASH || byte === EQUALS || byte === AMPERSAND) {
        const meant = this.#escape(data, at, byte);
        if (meant === CUT && !last && data.length - at < LONGEST) break;
        if (meant >= 0) {
          if (DROPPED[meant] === 0) out[length++] = meant;
          at = this.#end;
          continue;
        }
      }
      if (DROPPED[byte] === 0) out[length++] = byte;
      at++;
    }
    this.#rest = Buffer.from(data.subarray(at));
    return out.subarray(0, length);
  }

  #escape(data: Buffer, at: number, kind: number): number {
    if (kind === PERCENT) return this.#digits(data, at + 1, 2);
    if (kind === EQUALS) return this.#quoted(data, at + 1);
    if (kind === AMPERSAND) return this.#reference(data, at + 1);
    if (at + 1 >= data.length) return CUT;
    const letter = data[at + 1] as number;
    if (letter === X) return this.#digits(data, at + 2, 2);
    return letter === U ? this.#digits(data, at + 2, 4) : NONE;
  }

  /** `=63`, or a line that goes on: `=` at its end stands for nothing. */
  #quoted(data: Buffer, at: number): number {
    if (at >= data.length) return CUT;
    if (data[at] !== 0x0d && data[at] !== 0x0a) return this.#digits(data, at, 2);
    this.#end = at + 1;
    return 0; // dropped, as the line end behind it
  }

  #reference(data: Buffer, at: number): number {
    if (at + 1 >= data.length) return CUT;
    if (data[at] !== HASH) return NONE;
    const hex = data[at + 1] === X || data[at + 1] === UPPER_X;
    const base = hex ? 16 : 10;
    let value = 0;
    for (let i = at + (hex ? 2 : 1); i < at + LONGEST - 1; i++) {
      if (i >= data.length) return CUT;
      if (data[i] === SEMICOLON) {
        this.#end = i + 1;
        return value > 0 && value < 128 ? value : NONE;
      }
      const digit = HEX[data[i] as number] as number;
      if (digit < 0 || digit >= base) return NONE;
      value = value * base + digit;
    }
    return NONE;
  }

  /** So many hex digits that mean a character of ASCII. */
  #digits(data: Buffer, at: number, count: number): number {
    let value = 0;
    for (let i = at; i < at + count; i++) {
      if (i >= data.length) return CUT;
      const digit = HEX[data[i] as number] as number;
      if (digit < 0) return NONE;
      value = value * 16 + digit;
    }
    this.#end = at + count;
    return value < 128 ? value : NONE;
  }
}
