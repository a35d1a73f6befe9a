import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type Checkpoint, NoteError, openCheckpoint, type Verifier } from './checkpoint.ts';
import { listSegments, MAX_CHECKPOINT, paths, readBounded, readTile } from './layout.ts';
import { frontierRoot, HASH_BYTES } from './merkle.ts';
import type { VerifyReport } from './problem.ts';
import { TILE_HEIGHT, TILE_WIDTH, TileError, tileLevels, tilePath, tileSubtree } from './tiles.ts';
import type { VerifyOptions } from './verify.ts';
import { checkBundles } from './verify-bundles.ts';
import { verifyJournal } from './verify-journal.ts';
import { Findings, Recomputed } from './verify-state.ts';

/** A signed checkpoint and its text. */
export type Signed = Checkpoint & { readonly note: string };

/** Verifies a folder of tiles and, when it is a live log, its journal. */
export async function verifyTree(dir: string, verifier: Verifier, options: VerifyOptions): Promise<VerifyReport> {
  const findings = new Findings('tile/entries');
  const live = statSync(join(dir, paths.journal), { throwIfNoEntry: false })?.isDirectory() === true;
  const kind = live ? 'log' : 'export';
  const trusted = openTrusted(findings, verifier, options.trusted ?? []);
  const published = openPublished(findings, dir, verifier, live);
  if (published === undefined) return findings.report(kind, verifier, { size: 0, note: null }, options.aliveRuns);
  const size = published?.size ?? 0;
  const journalFirst = live ? (listSegments(join(dir, paths.journal))[0] ?? size) : size;
  const tree = new Recomputed(
    trusted.map((t) => t.size),
    Math.min(journalFirst, size),
  );
  if (await recompute(dir, size, tree, findings, options.threads)) {
    checkTiles(dir, size, tree, findings);
    checkRoot(published, tree, findings);
  }
  const end = live
    ? await verifyJournal({ dir, verifier, tree, published, findings, trusted })
    : { size, note: published?.note ?? null };
  checkTrusted(trusted, tree, size, end.size, findings);
  return findings.report(kind, verifier, end, options.aliveRuns);
}

function openTrusted(findings: Findings, verifier: Verifier, notes: readonly string[]): Signed[] {
  const trusted: Signed[] = [];
  for (const note of notes) {
    try {
      trusted.push({ ...openCheckpoint(note, verifier), note });
    } catch (error) {
      if (!(error instanceof NoteError)) throw error;
      findings.problem(
        'checkpoint_invalid',
        null,
        'trusted checkpoint',
        `the earlier checkpoint cannot be used: ${error.message}`,
      );
    }
  }
  return trusted;
}

/** Null when there is none yet, undefined when the one there is cannot be used. */
function openPublished(findings: Findings, dir: string, verifier: Verifier, live: boolean): Signed | null | undefined {
  const where = paths.checkpoint;
  try {
    const note = readBounded(join(dir, where), MAX_CHECKPOINT)?.toString();
    if (note !== undefined) return { ...openCheckpoint(note, verifier), note };
    if (live) return null;
    findings.problem('file_missing', null, where, 'the checkpoint is missing');
  } catch (error) {
    const code = error instanceof NoteError ? 'checkpoint_invalid' : 'file_malformed';
    findings.problem(code, null, where, `the checkpoint cannot be used: ${(error as Error).message}`);
  }
  return undefined;
}

/** False when it ended early: then what lies above the records cannot be compared. */
async function recompute(
  dir: string,
  size: number,
  tree: Recomputed,
  findings: Findings,
  threads?: number,
): Promise<boolean> {
  for await (const result of checkBundles(dir, size, (n) => tree.keeps(n), threads)) {
    findings.bundle(result);
    // A hostile size would have us look for files for ever: the first bundle that is not there ends it.
    if (result.count === 0) return false;
    tree.add(result);
  }
  return true;
}

/** Level 0 was compared with the records; every level above is compared with the one below it. */
function checkTiles(dir: string, size: number, tree: Recomputed, findings: Findings): void {
  let below: readonly Uint8Array[] = tree.roots;
  for (let level = 1; level < tileLevels(size); level++) {
    const above: Uint8Array[] = [];
    for (let n = 0; n * TILE_WIDTH < below.length; n++) {
      const hashes = below.slice(n * TILE_WIDTH, (n + 1) * TILE_WIDTH);
      const expected = Buffer.concat(hashes);
      compareTile(dir, level, n, expected, findings);
      if (hashes.length === TILE_WIDTH) above.push(tileSubtree(expected, 0, TILE_HEIGHT));
    }
    below = above;
  }
}

function compareTile(dir: string, level: number, n: number, expected: Buffer, findings: Findings): void {
  const width = expected.length / HASH_BYTES;
  const path = tilePath(level, n, width);
  const span = TILE_WIDTH ** level;
  const first = n * TILE_WIDTH * span;
  let tile: Buffer | null;
  try {
    tile = readTile(dir, level, n, width);
  } catch (error) {
    if (!(error instanceof TileError)) throw error;
    findings.problem('file_malformed', first, path, error.message);
    return;
  }
  if (tile === null) {
    findings.problem('file_missing', first, path, `${path} is missing`);
    return;
  }
  for (let i = 0; i < width; i++) {
    if (tile.compare(expected, i * HASH_BYTES, (i + 1) * HASH_BYTES, i * HASH_BYTES, (i + 1) * HASH_BYTES) === 0)
      continue;
    const [from, to] = [first + i * span, first + (i + 1) * span - 1];
    if (findings.wrongBundleWithin(from, to)) continue; // named by its record already; this only follows from it
    findings.problem('tile_mismatch', from, path, `records ${from} to ${to} do not hash to what ${path} holds`);
  }
}

function checkRoot(published: Signed | null, tree: Recomputed, findings: Findings): void {
  if (published === null) return;
  const recomputed = tree.frontier(published.size);
  if (recomputed !== null && Buffer.compare(frontierRoot(recomputed), published.root) === 0) return;
  const message = `the ${published.size} records do not make the root that the checkpoint is signed for`;
  findings.problem('root_mismatch', null, paths.checkpoint, message);
}

/** Those beyond the tiles were compared while the journal was read. */
function checkTrusted(
  trusted: readonly Signed[],
  tree: Recomputed,
  published: number,
  size: number,
  findings: Findings,
): void {
  for (const { size: at, root } of trusted) {
    if (at > size) {
      findings.problem(
        'rollback',
        size,
        'trusted checkpoint',
        `an earlier checkpoint has ${at} records, the log has ${size}: ${at - size} were taken away`,
      );
    } else if (at <= published) {
      const then = tree.frontier(at);
      if (then !== null && Buffer.compare(frontierRoot(then), root) === 0) continue;
      findings.problem(
        'rollback',
        null,
        'trusted checkpoint',
        `the first ${at} records are not those of an earlier checkpoint: history was rewritten`,
      );
    }
  }
}
