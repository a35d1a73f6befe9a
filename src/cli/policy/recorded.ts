import { join } from 'node:path';
import { resolvePaths } from '../../config/paths.ts';
import type { PolicyAction } from '../../policy/index.ts';
import type { Context } from '../context.ts';

/** Bytes of one run's decisions that are read. */
const MAX_BYTES = 16 * 1024 * 1024;

/** What the last `runs` runs on this machine asked of their policies, oldest first; nothing where none has run yet. */
export async function recordedActions(context: Context, runs: number): Promise<readonly PolicyAction[]> {
  if (runs === 0) return [];
  const { readEvents } = await import('../../audit/read.ts');
  const { openContentStore } = await import('../../audit/content.ts');
  const { audit, keys } = resolvePaths(context.env);
  const content = openContentStore({ dir: join(audit, 'content'), keys });
  const last: PolicyAction[][] = [];
  try {
    for (const { event } of readEvents(audit, { types: ['decisions.recorded'] })) {
      if (event.type !== 'decisions.recorded') continue;
      const { run, resource } = event;
      const decided =
        event.content === undefined || run === null
          ? resource.decided
          : (JSON.parse(
              (await content.readAll(run, event.content, MAX_BYTES)).toString('utf8'),
            ) as typeof resource.decided);
      last.push(decided.map(({ action }) => action as unknown as PolicyAction));
      if (last.length > runs) last.shift();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return last.flat();
}
