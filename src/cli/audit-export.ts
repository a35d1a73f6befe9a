import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { exportAudit } from '../audit/export.ts';
import { openAuditLog } from '../audit/log.ts';
import { proveRecord } from '../audit/proof.ts';
import { counted } from '../base/counted.ts';
import { ConflictError, StorageError } from '../base/errors.ts';
import { loginName } from '../base/login.ts';
import { safeText, shellWord } from '../base/term.ts';
import { loadSettings } from '../config/load.ts';
import { type Paths, resolvePaths } from '../config/paths.ts';
import { findRun } from '../runs/registry.ts';
import type { RunRecord } from '../store/index.ts';
import { readPublicKey } from './audit-key.ts';
import { type Context, outputOf } from './context.ts';
import { withLocalData } from './local.ts';
import type { Output, OutputOptions } from './output.ts';
import { requester } from './run-request.ts';

export interface ExportOptions extends OutputOptions {
  readonly run?: string;
  readonly folder?: boolean;
  readonly otlp?: boolean;
}

/** Copies the log, or one run of it, and records in the log that somebody did. */
export async function exportLog(context: Context, path: string, options: ExportOptions): Promise<void> {
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  const target = resolve(context.cwd, path);
  const run = await withLocalData(context, async ({ store }) =>
    options.run === undefined ? null : findRun(store, options.run),
  );
  if (run !== null && options.otlp) return exportSpans(run, target, paths, out);
  const exported = await exportAudit({
    dir: paths.audit,
    vkey: await readPublicKey(undefined, context.cwd, paths),
    out: target,
    as: options.folder ? 'folder' : 'file',
    ...(run === null ? {} : runRange(run)),
  });
  await recordExport(paths, run?.id ?? null, target, exported);
  if (out.json) {
    out.document({ path: target, ...exported });
    return;
  }
  out.line(
    `${counted(exported.records, 'record')} in ${out.style.bold(safeText(target))}`,
    `  cordon audit verify ${shellWord(target)} --key ${out.style.dim('KEY')}`,
    `  ${out.style.dim(`KEY is the line in ${safeText(paths.keys)}/audit.vkey; hand it over by another way than the export`)}`,
  );
}

/** A view for other programs, which no key verifies: that it was made is recorded all the same. */
async function exportSpans(run: RunRecord, target: string, paths: Paths, out: Output): Promise<void> {
  const [{ otlpOf }, { readEvents }] = await Promise.all([import('../audit/otlp.ts'), import('../audit/read.ts')]);
  const events = [...readEvents(paths.audit, runRange(run))].map(({ event }) => event);
  const traces = otlpOf(run.id, events);
  await writeNew(target, `${JSON.stringify(traces)}\n`);
  const [first, last] = [events[0]?.seq ?? null, events.at(-1)?.seq ?? null];
  await recordExport(paths, run.id, target, { records: events.length, from: first, to: last });
  const { spans } = traces.resourceSpans[0].scopeSpans[0];
  if (out.json) out.document({ path: target, spans: spans.length });
  else out.line(`${counted(spans.length, 'span')} in ${out.style.bold(safeText(target))}`);
}

/** Throws `ConflictError` where there is something already. */
async function writeNew(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new ConflictError(`there is something at ${safeText(file)} already`, {
        cause,
        remedy: 'name another file',
      });
    }
    throw new StorageError(`${safeText(file)} could not be written: ${(cause as Error).message}`, { cause });
  }
}

function runRange(run: RunRecord) {
  return {
    run: run.id,
    ...(run.firstAuditSeq === null ? {} : { from: run.firstAuditSeq }),
    ...(run.lastAuditSeq === null ? {} : { to: run.lastAuditSeq }),
  };
}

async function recordExport(
  paths: Paths,
  run: string | null,
  target: string,
  exported: { readonly records: number; readonly from: number | null; readonly to: number | null },
): Promise<void> {
  const { from, to, records } = exported;
  const principal = requester(await loadSettings(paths.configFile), loginName());
  const log = await openAuditLog({ dir: paths.audit, keys: paths.keys });
  try {
    const resource = { run, from: from ?? 0, to: to ?? 0, records, target: target.slice(0, 4_096) };
    await log.append({ type: 'audit.exported', run: null, principal, action: null, resource });
  } finally {
    await log.close();
  }
}

/** Writes the proof that one record is in the log to a file or to standard output. */
export async function prove(
  context: Context,
  seq: number,
  options: OutputOptions & { output?: string },
): Promise<void> {
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  const proof = await proveRecord(paths.audit, await readPublicKey(undefined, context.cwd, paths), seq);
  if (options.output === undefined) {
    out.document(proof);
    return;
  }
  const file = resolve(context.cwd, options.output);
  await writeNew(file, `${JSON.stringify(proof, null, 2)}\n`);
  if (out.json) out.document({ path: file });
  else out.line(`wrote ${safeText(file)}`, `  cordon audit verify ${shellWord(file)} --key ${out.style.dim('KEY')}`);
}
