import { join } from 'node:path';
import { openContentStore } from '../audit/content.ts';
import { systemClock } from '../base/clock.ts';
import { counted } from '../base/counted.ts';
import { ExitCode } from '../base/errors.ts';
import { safeText } from '../base/term.ts';
import { findRun } from '../runs/registry.ts';
import { deleteContent, expiredRuns, type Keeper, type Pruned, sweepExpired } from '../runs/retention.ts';
import { type Context, outputOf } from './context.ts';
import { withLocalData } from './local.ts';
import type { OutputOptions } from './output.ts';
import { withLog } from './secrets-local.ts';

export interface PruneOptions extends OutputOptions {
  readonly dryRun?: boolean;
}

const ALL = 1_000_000;

/** Exit code 7 when something could not be deleted. */
export async function prune(context: Context, id: string | undefined, options: PruneOptions): Promise<void> {
  const out = outputOf(context, options);
  const dry = options.dryRun === true;
  const pruned = await withLocalData(context, ({ paths, store }) =>
    withLog(paths, async (log, principal): Promise<Pruned> => {
      const content = openContentStore({ dir: join(paths.audit, 'content'), keys: paths.keys });
      const keeper: Keeper = { store, log, content, clock: systemClock };
      const named = id === undefined ? null : await findRun(store, id);
      if (dry) {
        const due = named === null ? await expiredRuns(keeper, ALL) : [named];
        return { deleted: due.map((run) => run.id), failed: [] };
      }
      if (named === null) return sweepExpired(keeper, principal, ALL);
      await deleteContent(keeper, named, principal, 'asked for');
      return { deleted: [named.id], failed: [] };
    }),
  );
  if (pruned.failed.length > 0) context.exitCode = ExitCode.outside;
  if (out.json) {
    out.document({ dryRun: dry, ...pruned });
    return;
  }
  const said = dry ? 'would be deleted' : 'is deleted; the log still tells what happened';
  out.line(`what was kept of ${counted(pruned.deleted.length, 'run')} ${said}`);
  out.line(...pruned.deleted.map((run) => `  ${run}`));
  out.line(...pruned.failed.map(({ run, reason }) => out.style.red(`  ${run}: ${safeText(reason)}`)));
}
