import type { Redaction, Redactor } from '../../base/redact/index.ts';

/** What is written at once. Bytes. */
const LONGEST = 64 * 1024;

/** `at` is null for more of the piece before. */
type Emit = (at: number | null, bytes: Buffer) => void;

/**
 * The bytes of one answer without secrets, in the pieces in which they came, as soon as it is sure what is one. Holds no more than what may
 * be the beginning of a secret.
 */
export class CleanPieces {
  readonly #redaction: Redaction;
  readonly #emit: Emit;
  /** Pieces that are not decided upon to their end: when they came, and where in the answer they end. */
  #open: { readonly at: number | null; readonly end: number }[] = [];
  /** Something of the first of them was emitted. */
  #begun = false;
  #size = 0;

  constructor(redactor: Redactor, emit: Emit) {
    this.#redaction = redactor.open();
    this.#emit = emit;
  }

  add(bytes: Buffer, at: number | null): void {
    if (bytes.length === 0) return;
    this.#size += bytes.length;
    this.#open.push({ at, end: this.#size });
    this.#pass(bytes, false);
  }

  end(): void {
    this.#pass(Buffer.alloc(0), true);
  }

  #pass(chunk: Buffer, last: boolean): void {
    for (const { bytes, at, length } of this.#redaction.place(chunk, last)) {
      if (length === 0) this.#put(bytes, at);
      else this.#split(bytes, at);
    }
    this.#close(this.#redaction.decided);
  }

  #split(bytes: Buffer, at: number): void {
    for (let done = 0; done < bytes.length; ) {
      this.#close(at + done);
      const room = (this.#open[0]?.end ?? Number.POSITIVE_INFINITY) - at - done;
      const next = done + Math.min(room, LONGEST, bytes.length - done);
      this.#put(bytes.subarray(done, next), at + done);
      done = next;
    }
  }

  #put(bytes: Buffer, place: number): void {
    this.#close(place);
    this.#emit(this.#begun ? null : (this.#open[0]?.at ?? null), bytes);
    this.#begun = true;
  }

  /** Those that end before `place` are done with. */
  #close(place: number): void {
    let ended = 0;
    while ((this.#open[ended]?.end ?? Number.POSITIVE_INFINITY) <= place) ended++;
    if (ended === 0) return;
    this.#open.splice(0, ended);
    this.#begun = false;
  }
}
