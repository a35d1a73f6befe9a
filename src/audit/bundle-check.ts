import type { AuditEvent } from './event.ts';
import { closedBy, phaseOf } from './event.ts';
import { readBundle, readTile } from './layout.ts';
import { HASH_BYTES, leafHash } from './merkle.ts';
import type { ProblemCode } from './problem.ts';
import { checkRecord } from './record-check.ts';
import { fullTiles, partialWidth, TILE_HEIGHT, TILE_WIDTH, TileError, tilePath, tileSubtree } from './tiles.ts';

/** What the checks across records need of one: everything else about it has been looked at by then. */
export interface Summary {
  readonly seq: number;
  readonly type: AuditEvent['type'];
  readonly run: string | null;
  readonly cause: number | null;
  readonly denied: boolean;
}

export interface Finding {
  readonly code: ProblemCode;
  readonly seq: number | null;
  readonly where: string;
  readonly message: string;
}

export interface BundleResult {
  readonly n: number;
  /** Records that could be read; 0 when the bundle cannot be. */
  readonly count: number;
  /** The leaf hashes recomputed from them, 32 bytes each; null where nobody will compare them again. */
  readonly leaves: Uint8Array | null;
  /** The root of a full bundle. */
  readonly root: Uint8Array | null;
  /** Of records that others refer to, or that refer to others; facts without a cause are left out. */
  readonly summaries: readonly Summary[];
  readonly firstTime: string | null;
  readonly lastTime: string | null;
  /** The first place in the bundle where the clock went back, if any. */
  readonly backwards: number | null;
  readonly findings: readonly Finding[];
}

export function summarise(event: AuditEvent): Summary {
  const { seq, type, run, cause } = event;
  return { seq, type, run, cause, denied: event.decision?.effect === 'deny' };
}

/** Whether the checks across records have to see it. */
export function matters({ type, cause }: Summary): boolean {
  return cause !== null || phaseOf(type) === 'intent' || closedBy(type).length > 0;
}

/** Recomputes one bundle of a tree of `size` records from its raw bytes. Pure but for reading two files; never throws for what is in them. */
export function checkBundle(dir: string, n: number, size: number, keepLeaves: boolean): BundleResult {
  const width = n < fullTiles(0, size) ? TILE_WIDTH : partialWidth(0, size);
  const first = n * TILE_WIDTH;
  const findings: Finding[] = [];
  const records = attempt(findings, first, tilePath('entries', n, width), () => readBundle(dir, n, width)) ?? [];
  const tile = attempt(findings, first, tilePath(0, n, width), () => readTile(dir, 0, n, width));
  const leaves = Buffer.allocUnsafe(records.length * HASH_BYTES);
  const summaries: Summary[] = [];
  let [firstTime, lastTime, backwards] = [null as string | null, '', null as number | null];
  records.forEach((record, i) => {
    const seq = first + i;
    const leaf = leafHash(record);
    leaves.set(leaf, i * HASH_BYTES);
    if (tile !== null && leaf.compare(tile, i * HASH_BYTES, (i + 1) * HASH_BYTES) !== 0) {
      findings.push({
        code: 'tile_mismatch',
        seq,
        where: tilePath(0, n, width),
        message: `record ${seq} does not hash to what its tile holds`,
      });
    }
    const check = checkRecord(record, seq);
    if (!check.ok) {
      findings.push({
        code: check.code,
        seq,
        where: tilePath('entries', n, width),
        message: `record ${seq} ${check.message}`,
      });
      return;
    }
    const summary = summarise(check.event);
    if (matters(summary)) summaries.push(summary);
    const { time } = check.event;
    firstTime ??= time;
    if (time < lastTime) backwards ??= seq;
    lastTime = time;
  });
  const root = records.length === TILE_WIDTH ? tileSubtree(leaves, 0, TILE_HEIGHT) : null;
  return {
    n,
    count: records.length,
    leaves: keepLeaves || root === null ? leaves : null,
    root,
    summaries,
    firstTime,
    lastTime: firstTime === null ? null : lastTime,
    backwards,
    findings,
  };
}

function attempt<T>(findings: Finding[], seq: number, path: string, read: () => T | null): T | null {
  try {
    const value = read();
    if (value === null) findings.push({ code: 'file_missing', seq, where: path, message: `${path} is missing` });
    return value;
  } catch (error) {
    const message = error instanceof TileError ? error.message : `${path} cannot be read: ${(error as Error).message}`;
    findings.push({ code: 'file_malformed', seq, where: path, message });
    return null;
  }
}
