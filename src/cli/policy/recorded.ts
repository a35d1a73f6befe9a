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

/** What one run asked, and every file that it executed; null when its record does not say. */
export async function decidedOf(context: Context, run: string): Promise<readonly Decided[] | null> {
  for await (const decided of decisions(context, run)) return [...decided, ...(await executed(context, run))];
  return null;
}

/** Most commands are let run by what is mounted, and nobody is asked: each file that ran is a question to another policy. */
async function executed(context: Context, run: string): Promise<readonly Decided[]> {
  const { readEvents } = await import('../../audit/read.ts');
  const { withoutOwn } = await import('../../runs/recording/trace.ts');
  const commands: { readonly id: number; readonly parent: number; readonly argv: readonly string[] }[] = [];
  const files = new Map<number, { readonly path: string; readonly sha256: string }>();
  const types = ['command.started', 'command.exited'] as const;
  for (const { event } of readEvents(resolvePaths(context.env).audit, { run, types })) {
    if (event.type === 'command.started') commands.push(event.resource);
    if (event.type !== 'command.exited' || event.outcome.how.kind === 'failed') continue;
    const { id, path, sha256 } = event.resource;
    if (sha256 !== null) files.set(id, { path, sha256 });
  }
  const ran = new Map<string, Decided>();
  for (const { id } of withoutOwn(commands)) {
    const file = files.get(id);
    if (file === undefined || file.path.startsWith('/run/cordon/')) continue; // the sandbox's own, and the agent's
    ran.set(JSON.stringify(file), { effect: 'permit', action: { action: 'command.execute', ...file } });
  }
  return [...ran.values()];
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
