import type { BundleResult, Summary } from './bundle-check.ts';
import { eventTypes } from './event.ts';

/**
 * The results of some bundles on their way between threads: summaries as rows of numbers, handed over instead of cloned.
 * Cloned as objects they would cost more than checking the records does.
 *
 *   row   seq, index of the type (negative when denied: -1 - index), cause or -1, index of the run or -1
 */
export interface Chunk {
  readonly bundles: readonly (Omit<BundleResult, 'summaries'> & { readonly rows: number })[];
  readonly rows: Float64Array<ArrayBuffer>;
  readonly runs: readonly string[];
}

const COLUMNS = 4;
const typeIndex = new Map(eventTypes.map((type, index) => [type, index]));

export function packChunk(results: readonly BundleResult[]): { chunk: Chunk; transfer: ArrayBuffer[] } {
  const rows = new Float64Array(results.reduce((sum, { summaries }) => sum + summaries.length, 0) * COLUMNS);
  const runs = new Map<string, number>();
  let at = 0;
  const bundles = results.map(({ summaries, root, ...rest }) => {
    for (const { seq, type, cause, run, denied } of summaries) {
      if (run !== null && !runs.has(run)) runs.set(run, runs.size);
      const index = typeIndex.get(type) as number;
      rows[at++] = seq;
      rows[at++] = denied ? -1 - index : index;
      rows[at++] = cause ?? -1;
      rows[at++] = run === null ? -1 : (runs.get(run) as number);
    }
    // A copy of its own: cloning a view would send along the whole pool of memory that it lies in.
    return { ...rest, root: root === null ? null : new Uint8Array(root), rows: summaries.length };
  });
  return { chunk: { bundles, rows, runs: [...runs.keys()] }, transfer: [rows.buffer] };
}

export function unpackChunk({ bundles, rows, runs }: Chunk): BundleResult[] {
  let at = 0;
  return bundles.map(({ rows: count, ...rest }) => {
    const summaries: Summary[] = [];
    for (let i = 0; i < count; i++, at += COLUMNS) {
      const [seq, type, cause, run] = [
        rows[at] as number,
        rows[at + 1] as number,
        rows[at + 2] as number,
        rows[at + 3] as number,
      ];
      summaries.push({
        seq,
        type: eventTypes[type < 0 ? -1 - type : type] as Summary['type'],
        cause: cause < 0 ? null : cause,
        run: run < 0 ? null : (runs[run] as string),
        denied: type < 0,
      });
    }
    return { ...rest, summaries };
  });
}
