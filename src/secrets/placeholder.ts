import type { RandomSource } from '../base/ids.ts';
import { Redactor } from '../base/redact/index.ts';
import { Unescape } from './unescape.ts';

/**
 * What a guest holds instead of a secret: `cordon-secret-NAME-` and 130 random bits. It is worth nothing: the gateway puts the value
 * into the named header for the named host whatever the guest sends there. Met anywhere else it says that somebody
 * tried to take the secret away.
 */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const LENGTH = 26;
const ANY = /cordon-secret-([A-Z_][A-Z0-9_]{0,99})-[0-9a-hjkmnp-tv-z]{26}/g;
const LONGEST = 'cordon-secret-'.length + 100 + 1 + LENGTH;

/** True when there is one in it, whoever gave it out. */
export function hasPlaceholder(bytes: Buffer): boolean {
  return bytes.toString('latin1').search(ANY) !== -1;
}

export function newPlaceholder(name: string, random: RandomSource): string {
  let tail = '';
  for (const byte of random(LENGTH)) tail += ALPHABET[byte % ALPHABET.length];
  return `cordon-secret-${name}-${tail}`;
}

/** The secret that it stands for. */
export function nameIn(placeholder: string): string {
  return placeholder.slice('cordon-secret-'.length, placeholder.lastIndexOf('-'));
}

/** Placeholders that were given out, by which they are recognised in every encoding that the redactor knows. */
export class Placeholders {
  readonly #search = new Redactor({ shapes: false });

  add(placeholder: string): void {
    this.#search.add(placeholder, placeholder);
  }

  remove(placeholder: string): void {
    this.#search.remove(placeholder);
  }

  /**
   * Every placeholder in the bytes, once: those given out here in any encoding, those of others as they are written; also under
   * escapes, twice over.
   */
  find(bytes: Buffer | string): string[] {
    const found = new Set<string>();
    const watch = this.watch((placeholder) => found.add(placeholder));
    watch(typeof bytes === 'string' ? Buffer.from(bytes) : bytes, true);
    return [...found];
  }

  /** The same for a stream: to be called with its pieces, in order; `last` with the last one. */
  watch(onFound: (placeholder: string) => void): (piece: Buffer, last: boolean) => void {
    const seen = new Set<string>();
    const report = (placeholder: string) => {
      if (!seen.has(placeholder)) onFound(placeholder);
      seen.add(placeholder);
    };
    const [written, once, twice] = [this.#look(report), this.#look(report), this.#look(report)];
    const [first, second] = [new Unescape(), new Unescape()];
    return (piece, last) => {
      written(piece, last);
      const meant = first.write(piece, last);
      once(meant, last);
      twice(second.write(meant, last), last);
    };
  }

  #look(report: (placeholder: string) => void): (piece: Buffer, last: boolean) => void {
    const known = this.#search.open(report);
    let tail = '';
    return (piece, last) => {
      known.write(piece, last);
      const text = tail + piece.toString('latin1');
      for (const [placeholder] of text.matchAll(ANY)) report(placeholder);
      tail = text.slice(-LONGEST);
    };
  }
}
