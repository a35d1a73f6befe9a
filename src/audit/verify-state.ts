import type { BundleResult, Finding, Summary } from './bundle-check.ts';
import { Causality } from './causality.ts';
import type { Verifier } from './checkpoint.ts';
import { emptyFrontier, extend, type Frontier, HASH_BYTES } from './merkle.ts';
import { MAX_PROBLEMS, ProblemList, type VerifyReport } from './problem.ts';
import { TILE_WIDTH } from './tiles.ts';

/** The tree as recomputed so far: the roots of its full bundles, and the leaves where something else will be compared. */
export class Recomputed {
  readonly roots: Uint8Array[] = [];
  readonly #leaves = new Map<number, Uint8Array>();
  readonly #keep: ReadonlySet<number>;
  readonly #keepFrom: number;

  /** Keeps the leaves of the bundles that `sizes` fall into, and of all from record `keepFrom` on. */
  constructor(sizes: readonly number[], keepFrom: number) {
    this.#keep = new Set(sizes.map((size) => Math.floor(size / TILE_WIDTH)));
    this.#keepFrom = Math.floor(keepFrom / TILE_WIDTH);
  }

  keeps(n: number): boolean {
    return n >= this.#keepFrom || this.#keep.has(n);
  }

  add({ n, leaves, root }: BundleResult): void {
    if (root !== null) this.roots.push(root);
    if (leaves !== null) this.#leaves.set(n, leaves);
  }

  leaf(seq: number): Uint8Array | undefined {
    const at = (seq % TILE_WIDTH) * HASH_BYTES;
    const leaf = this.#leaves.get(Math.floor(seq / TILE_WIDTH))?.subarray(at, at + HASH_BYTES);
    return leaf?.length === HASH_BYTES ? leaf : undefined;
  }

  /** The tree of the first `size` records; null when they are not all here. */
  frontier(size: number): Frontier | null {
    const full = Math.floor(size / TILE_WIDTH);
    if (full > this.roots.length) return null;
    const units = extend(emptyFrontier, this.roots.slice(0, full));
    const rest: Uint8Array[] = [];
    for (let seq = full * TILE_WIDTH; seq < size; seq++) {
      const leaf = this.leaf(seq);
      if (leaf === undefined) return null;
      rest.push(leaf);
    }
    return extend({ size: full * TILE_WIDTH, peaks: units.peaks }, rest);
  }
}

/** What a verification has found out so far. */
export class Findings {
  readonly problems = new ProblemList();
  readonly causality: Causality;
  readonly #backwards: number[] = [];
  readonly #wrongBundles: number[] = [];
  #records = 0;
  #firstTime: string | null = null;
  #lastTime: string | null = null;

  constructor(where: string, known: ((seq: number) => boolean) | null = null) {
    this.causality = new Causality(this.problems, where, known);
  }

  bundle(result: BundleResult): void {
    for (const finding of result.findings) this.problems.add(finding);
    if (result.findings.length > 0) this.#wrongBundles.push(result.n * TILE_WIDTH);
    for (const summary of result.summaries) this.causality.add(summary);
    this.#records += result.count;
    if (result.firstTime !== null && result.lastTime !== null) {
      const back =
        this.#lastTime !== null && result.firstTime < this.#lastTime ? result.n * TILE_WIDTH : result.backwards;
      this.#time(result.firstTime, result.lastTime, back);
    }
  }

  record(summary: Summary, time: string): void {
    this.causality.add(summary);
    this.#records++;
    this.#time(time, time, this.#lastTime !== null && time < this.#lastTime ? summary.seq : null);
  }

  /** Whether something was found in a bundle that begins within these records. */
  wrongBundleWithin(from: number, to: number): boolean {
    return this.#wrongBundles.some((first) => first >= from && first <= to);
  }

  problem(code: Finding['code'], seq: number | null, where: string, message: string): void {
    this.problems.add({ code, seq, where, message });
  }

  #time(first: string, last: string, back: number | null): void {
    this.#firstTime ??= first;
    this.#lastTime = last;
    if (back !== null && this.#backwards.length < MAX_PROBLEMS) this.#backwards.push(back);
  }

  report(
    kind: VerifyReport['kind'],
    verifier: Verifier,
    tree: { size: number; note: string | null },
    aliveRuns: ReadonlySet<string> = new Set(),
  ): VerifyReport {
    const openIntents = this.causality.finish(aliveRuns);
    return {
      ...this.problems.report(),
      kind,
      origin: verifier.name,
      size: tree.size,
      records: this.#records,
      checkpoint: tree.note,
      openIntents,
      clockWentBack: this.#backwards,
      firstTime: this.#firstTime,
      lastTime: this.#lastTime,
    };
  }
}
