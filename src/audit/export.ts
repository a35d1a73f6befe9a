import { lstatSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { syncFolder, writeDurably } from '../base/durable-file.ts';
import { ConflictError, NotFoundError, StorageError } from '../base/errors.ts';
import { realDisk, replaceFile } from './disk.ts';
import { type LiveTree, openTree, withFrozenTiles } from './live-tree.ts';
import { inclusionProof } from './merkle.ts';
import { TileEdge } from './publish.ts';
import { readEvents, readRecords } from './read.ts';

/**
 * An export in one file: one JSON object a line. The first says what it is, the others are records, in order.
 *
 *   {"format":"cordon-audit-export/1","kind":"log"|"run","run":…,"checkpoint":…,"records":…}
 *   {"seq":…,"record":"…","proof":[…]}          proof only in the export of one run
 *
 * `record` is exactly the text that is hashed. The records of a whole log make the checkpoint's root; those of one run
 * each have a proof that leads to it: that they are in the log, not that no other record of the run is.
 */
export const exportHeaderSchema = z.strictObject({
  format: z.literal('cordon-audit-export/1'),
  kind: z.enum(['log', 'run']),
  run: z.string().nullable(),
  checkpoint: z.string(),
  records: z.int().nonnegative(),
});
export type ExportHeader = z.infer<typeof exportHeaderSchema>;

export const exportLineSchema = z.strictObject({
  seq: z.int().nonnegative(),
  record: z.string(),
  proof: z.array(z.string()).max(64).optional(),
});

export interface ExportOptions {
  readonly dir: string;
  readonly vkey: string;
  /** A path where nothing is yet. */
  readonly out: string;
  /** `folder` (whole logs only) is C2SP tlog-tiles, which other people's tools read. Default `file`. */
  readonly as?: 'file' | 'folder';
  /** Only this run; `from` and `to` (its first and last seq) spare reading the rest of the log. */
  readonly run?: string;
  readonly from?: number;
  readonly to?: number;
}

export interface Exported {
  readonly records: number;
  /** First and last seq; null when there is no record. */
  readonly from: number | null;
  readonly to: number | null;
  readonly checkpoint: string;
}

const FIRST_RUN = 'it begins with the first run: cordon run -- CMD…';

/**
 * Writes an export that `verifyAudit` takes. On failure nothing is left at `out`.
 * Throws `ConflictError` when something is at `out`, `StorageError` when it cannot be written there, `NotFoundError` for an empty log or
 * an unknown run.
 */
export async function exportAudit(options: ExportOptions): Promise<Exported> {
  const { dir, vkey, out, run, as = 'file' } = options;
  if (lstatSync(out, { throwIfNoEntry: false }) !== undefined) {
    throw new ConflictError(`there is something at ${out} already`, { remedy: 'name a path where nothing is' });
  }
  return withFrozenTiles(dir, async () => {
    const tree = openTree(dir, vkey);
    if (tree === null) throw new NotFoundError(`the audit log in ${dir} has no records yet`, { remedy: FIRST_RUN });
    if (run !== undefined) return exportRun(options, tree, run);
    return as === 'folder' ? exportFolder(dir, tree, vkey, out) : exportFile(dir, tree, out);
  }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.path === undefined || !cause.path.startsWith(out)) throw cause;
    throw new StorageError(`${out} could not be written: ${cause.message}`, {
      cause,
      remedy: 'name a path in a folder that is there and that you may write to',
    });
  });
}

/** Many small pieces as few writes; the file appears with its whole content or not at all. */
async function writeLines(
  out: string,
  write: (line: (value: object) => Promise<void>) => Promise<void>,
): Promise<void> {
  const temporary = `${out}.part`;
  let handle: FileHandle | undefined;
  try {
    handle = await open(temporary, 'wx', 0o600);
    const file = handle;
    let [parts, length] = [[] as string[], 0];
    const flush = async () => {
      await file.write(parts.join(''));
      [parts, length] = [[], 0];
    };
    await write(async (value) => {
      const text = `${JSON.stringify(value)}\n`;
      parts.push(text);
      length += text.length;
      if (length > 256 * 1024) await flush();
    });
    await flush();
    await handle.sync();
    await handle.close();
    handle = undefined;
    await rename(temporary, out);
  } catch (error) {
    await handle?.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(out));
}

async function exportFile(dir: string, tree: LiveTree, out: string): Promise<Exported> {
  await writeLines(out, async (line) => {
    const header: ExportHeader = {
      format: 'cordon-audit-export/1',
      kind: 'log',
      run: null,
      checkpoint: tree.note,
      records: tree.size,
    };
    await line(header);
    for (const { seq, record } of readRecords(dir, 0, tree.size - 1)) await line({ seq, record: record.toString() });
  });
  return { records: tree.size, from: 0, to: tree.size - 1, checkpoint: tree.note };
}

async function exportRun({ dir, out, from = 0, to }: ExportOptions, tree: LiveTree, run: string): Promise<Exported> {
  const filter = { run, from, to: Math.min(to ?? tree.size - 1, tree.size - 1) };
  const seqs: number[] = [];
  for (const { seq } of readEvents(dir, filter)) seqs.push(seq);
  if (seqs.length === 0) throw new NotFoundError(`the audit log in ${dir} has no records of run ${run}`);
  await writeLines(out, async (line) => {
    const header: ExportHeader = {
      format: 'cordon-audit-export/1',
      kind: 'run',
      run,
      checkpoint: tree.note,
      records: seqs.length,
    };
    await line(header);
    for (const { seq, record } of readEvents(dir, filter)) {
      const proof = await inclusionProof(tree.subtree, seq, tree.size);
      await line({ seq, record: record.toString(), proof: proof.map((hash) => Buffer.from(hash).toString('base64')) });
    }
  });
  return { records: seqs.length, from: seqs[0] ?? null, to: seqs.at(-1) ?? null, checkpoint: tree.note };
}

async function exportFolder(dir: string, tree: LiveTree, vkey: string, out: string): Promise<Exported> {
  try {
    const edge = TileEdge.empty();
    const write = async (tiles: ReadonlyMap<string, Uint8Array>) => {
      for (const [path, bytes] of tiles) {
        await mkdir(dirname(join(out, path)), { recursive: true, mode: 0o700 });
        await replaceFile(realDisk, join(out, path), bytes);
      }
    };
    await mkdir(out, { mode: 0o700 });
    for (const { record } of readRecords(dir, 0, tree.size - 1)) {
      const filled = edge.add(record);
      if (filled.size > 0) await write(filled);
    }
    await write(edge.partial());
    await writeDurably(join(out, 'audit.vkey'), `${vkey}\n`);
    await writeDurably(join(out, 'checkpoint'), tree.note);
  } catch (error) {
    await rm(out, { recursive: true, force: true });
    throw error;
  }
  return { records: tree.size, from: 0, to: tree.size - 1, checkpoint: tree.note };
}
