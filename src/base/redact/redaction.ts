import { type Needles, searchValues } from './needles.ts';
import { ENDED, FAMILIES, type RunState, type Shape, searchShapes } from './shape-search.ts';

interface Found {
  readonly at: number;
  readonly end: number;
  readonly name: string;
  /** Of a shape; null for a known value, which names a place before a shape does. */
  readonly family: number | null;
}

/** A shape's run that reached the end of what there is, and goes on in what comes. */
interface OpenRun {
  readonly shape: Shape;
  readonly at: number;
  state: RunState;
}

/** What goes on: `length` bytes of the stream as they came from `at` on, or a mark, which stands for bytes there. */
export interface Placed {
  readonly bytes: Buffer;
  readonly at: number;
  readonly length: number;
}

/**
 * Redaction of one stream, piece by piece. Memory: what may be the beginning of a secret, so at most the longest form of
 * a known value, or a hundred bytes.
 *
 * A mark is written as soon as a secret is sure, and the place it stands for may reach beyond what was written
 * (`#covered`), or even go on without end (`#runs`): what overlaps it needs no mark of its own.
 */
export class Redaction {
  readonly #needles: () => Needles;
  readonly #onMark: ((name: string) => void) | undefined;
  #pending: Buffer = Buffer.alloc(0);
  /** The byte in front of `#pending`; -1 at the start. */
  #before = -1;
  /** Bytes at the start of `#pending` for which a mark was written. */
  #covered = 0;
  #runs: OpenRun[] = [];
  /** By family of shapes: up to where in `#pending` its latest run reaches. */
  #runEnds: number[] = new Array<number>(FAMILIES).fill(0);
  /** Bytes of the stream in front of `#pending`. */
  #base = 0;
  /** How many marks were written. */
  marks = 0;

  constructor(needles: () => Needles, onMark?: (name: string) => void) {
    this.#needles = needles;
    this.#onMark = onMark;
  }

  /** What can go on. With `last`, all of it. */
  write(chunk: Buffer, last: boolean): Buffer[] {
    return this.place(chunk, last).map(({ bytes }) => bytes);
  }

  /** Bytes of the stream that were decided upon: what comes later stands behind them. */
  get decided(): number {
    return this.#base;
  }

  /** As `write`, with where in the stream each piece stood. */
  place(chunk: Buffer, last: boolean): Placed[] {
    // Nothing was held back and nothing came.
    if (chunk.length === 0 && this.#pending.length === 0) return [];
    const data = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const runs = this.#continueRuns(data);
    const { found, hold } = this.#search(data, last, runs);
    const { pieces, covered } = this.#emit(data, found, hold);
    this.#runs = runs.filter((run) => run.at < hold).map((run) => ({ ...run, at: -1 }));
    for (const { at, end, family } of found) if (family !== null && at < hold) this.#runEnds[family] = end;
    this.#runEnds = this.#runEnds.map((end) => Math.max(0, end - hold));
    this.#covered = Math.max(0, covered - hold);
    if (hold > 0) this.#before = data[hold - 1] as number;
    // A copy: a few bytes of a large piece must not keep all of it.
    this.#pending = Buffer.from(data.subarray(hold));
    this.#base += hold;
    return pieces;
  }

  /** Follows the runs that were open into the new bytes; those that are still open afterwards. */
  #continueRuns(data: Buffer): OpenRun[] {
    const still: OpenRun[] = [];
    for (const run of this.#runs) {
      const end = follow(run, data, this.#pending.length);
      this.#covered = Math.max(this.#covered, end);
      this.#runEnds[run.shape.family] = end;
      if (end === data.length) still.push(run);
    }
    return still;
  }

  #search(data: Buffer, last: boolean, runs: OpenRun[]): { found: Found[]; hold: number } {
    const found: Found[] = [];
    let hold = data.length;
    const undecided = (at: number) => {
      if (at < hold) hold = at;
    };
    const needles = this.#needles();
    searchValues(data, last, needles, (name, at, end) => found.push({ at, end, name, family: null }), undecided);
    if (needles.shapes) {
      const ends = [...this.#runEnds];
      searchShapes(data, this.#before, last, (family, end) => end <= (ends[family] as number), {
        undecided,
        found(shape, at, headEnd) {
          const run = { shape, at, state: 0 };
          const end = follow(run, data, headEnd);
          ends[shape.family] = end;
          if (end === data.length) runs.push(run);
          found.push({ at, end, name: shape.id, family: shape.family });
        },
      });
    }
    found.sort((a, b) => a.at - b.at || Number(a.family !== null) - Number(b.family !== null) || b.end - a.end);
    return { found, hold };
  }

  /** Everything before `hold`, with a mark for each place; `covered`: up to where the last mark stands for the bytes. */
  #emit(data: Buffer, found: readonly Found[], hold: number): { pieces: Placed[]; covered: number } {
    const pieces: Placed[] = [];
    let covered = this.#covered;
    let from = 0;
    const plain = (to: number) => {
      const start = Math.max(from, covered);
      if (start >= to) return;
      pieces.push({ bytes: data.subarray(start, to), at: this.#base + start, length: to - start });
    };
    for (const { at, end, name } of found) {
      // What begins in the part that is held back is found again; what it overlaps is only known then.
      if (at >= hold) break;
      if (at >= covered) {
        plain(at);
        pieces.push({ bytes: Buffer.from(`[secret:${name}]`), at: this.#base + at, length: 0 });
        this.marks++;
        this.#onMark?.(name);
        from = at;
      }
      covered = Math.max(covered, end);
    }
    plain(hold);
    return { pieces, covered };
  }
}

/** Follows a run through `data`; where it ends. */
function follow(run: OpenRun, data: Buffer, from: number): number {
  let at = from;
  for (; at < data.length; at++) {
    const state = run.shape.step(run.state, data[at] as number);
    if (state === ENDED) break;
    run.state = state;
  }
  return at;
}
