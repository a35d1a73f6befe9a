import type { ContentRef } from '../audit/event.ts';
import type { Json } from '../base/canonical-json.ts';
import type { RunScope } from './scope.ts';

/** Bytes of one answer, call or result that are kept. */
const MOST = 8 * 1024 * 1024;

/** Whether the run and its policy have what is said to and by models kept. */
export function keepsContent({ request, loaded }: Pick<RunScope, 'request' | 'loaded'>): boolean {
  return request.record && loaded.policy.llm.content !== 'none';
}

/** Beside the log, encrypted; nothing where the run or its policy keeps no content. */
export async function keepContent(scope: RunScope, value: Json): Promise<{ content?: ContentRef }> {
  if (!keepsContent(scope)) return {};
  const { system, run } = scope;
  // Redacted as values: in JSON's text an escape could hide where a secret begins.
  const bytes = Buffer.from(JSON.stringify(run.log.redacted(value)));
  const options = { mediaType: 'application/json', maxBytes: Math.max(MOST, bytes.length) };
  return { content: await system.content.put(run.id, bytes, options) };
}
