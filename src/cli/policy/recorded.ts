import { join } from 'node:path';
import type { AuditEvent } from '../../audit/event.ts';
import { resolvePaths } from '../../config/paths.ts';
import type { Decision, PolicyAction } from '../../policy/index.ts';
import type { Context } from '../context.ts';

/** Bytes of one run's decisions that are read. */
const MAX_BYTES = 16 * 1024 * 1024;

/** What a run asked of its policy, and was told. */
export interface Decided {
  readonly effect: Decision['effect'];
  readonly action: PolicyAction;
}

/** What the last `runs` runs on this machine asked of their policies, oldest first; nothing where none has run yet. */
export async function recordedActions(context: Context, runs: number): Promise<readonly PolicyAction[]> {
  if (runs === 0) return [];
  const last: PolicyAction[][] = [];
  for await (const decided of decisions(context)) {
    last.push(decided.map(({ action }) => action));
    if (last.length > runs) last.shift();
  }
  return last.flat();
}

/** What one run asked; null when its record does not say. */
export async function decidedOf(context: Context, run: string): Promise<readonly Decided[] | null> {
  for await (const decided of decisions(context, run)) return decided;
  return null;
}

async function* decisions(context: Context, run?: string): AsyncGenerator<readonly Decided[]> {
  const { readEvents } = await import('../../audit/read.ts');
  const { openContentStore } = await import('../../audit/content.ts');
  const { audit, keys } = resolvePaths(context.env);
  const content = openContentStore({ dir: join(audit, 'content'), keys });
  const filter = run === undefined ? {} : { run };
  try {
    for (const { event } of readEvents(audit, { types: ['decisions.recorded'], ...filter })) {
      if (event.type === 'decisions.recorded') yield await listOf(event);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }

  async function listOf(event: Extract<AuditEvent, { type: 'decisions.recorded' }>): Promise<readonly Decided[]> {
    const { run: of, resource } = event;
    if (event.content === undefined || of === null) return resource.decided as unknown as readonly Decided[];
    const bytes = await content.readAll(of, event.content, MAX_BYTES);
    return JSON.parse(bytes.toString('utf8')) as readonly Decided[];
  }
}
