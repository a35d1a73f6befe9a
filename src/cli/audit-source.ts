import type { AuditEvent } from '../audit/event.ts';
import type { Paths } from '../config/paths.ts';
import type { RunRecord } from '../store/index.ts';
import { type RunStory, readStory } from './run-story.ts';

type OutputKept = Extract<AuditEvent, { type: 'output.kept' }>;

/** What the log says of a run. Its range, when the store knows it, saves reading the rest of the log. */
export async function storyOf(paths: Paths, run: RunRecord): Promise<RunStory> {
  const { readEvents } = await import('../audit/read.ts');
  const stored = readEvents(paths.audit, {
    run: run.id,
    ...(run.firstAuditSeq === null ? {} : { from: run.firstAuditSeq }),
    ...(run.lastAuditSeq === null ? {} : { to: run.lastAuditSeq }),
  });
  return readStory(stored.map(({ event }) => event));
}

/** The bytes beside the log that an event refers to, checked against its digest. */
export async function outputBytes(paths: Paths, event: OutputKept): Promise<Buffer> {
  const { openContent } = await import('../audit/content.ts');
  return openContent(paths).read(event.run, event.content);
}
