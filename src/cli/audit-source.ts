import { join } from 'node:path';
import type { AuditEvent } from '../audit/event.ts';
import type { Paths } from '../config/paths.ts';
import type { RunRecord } from '../store/index.ts';
import { type RunStory, readStory } from './run-story.ts';

type OutputKept = Extract<AuditEvent, { type: 'output.kept' }>;

/** What the log says of a run. Its range, when the store knows it, saves reading the rest of the log. */
export async function storyOf(paths: Paths, run: RunRecord): Promise<RunStory> {
  return readStory(await eventsOf(paths, run));
}

export async function eventsOf(paths: Paths, run: RunRecord): Promise<Iterable<AuditEvent>> {
  const { readEvents } = await import('../audit/read.ts');
  const stored = readEvents(paths.audit, {
    run: run.id,
    ...(run.firstAuditSeq === null ? {} : { from: run.firstAuditSeq }),
    ...(run.lastAuditSeq === null ? {} : { to: run.lastAuditSeq }),
  });
  return onlyEvents(stored);
}

function* onlyEvents(stored: Iterable<{ readonly event: AuditEvent }>): Generator<AuditEvent> {
  for (const { event } of stored) yield event;
}

type WithContent = Pick<AuditEvent, 'run'> & { readonly content: OutputKept['content'] };

/** What an event refers to, from beside the log: decrypted, checked against its digest, a chunk at a time. */
export async function* contentChunks(paths: Paths, event: WithContent): AsyncGenerator<Buffer> {
  const { openContentStore } = await import('../audit/content.ts');
  const store = openContentStore({ dir: join(paths.audit, 'content'), keys: paths.keys });
  if (event.run !== null) yield* store.read(event.run, event.content);
}
