import { boundary, framed, type TaskPart } from '../agents/task.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import type { RunRequest } from './request.ts';
import type { RunScope } from './scope.ts';

type Told = Pick<RunRequest, 'requester' | 'task' | 'context'>;

/** The parts of a run's task: the requester's own word first. What is not that is data to an agent, and is marked as that. */
export function promptParts({ requester, task, context = [] }: Told): readonly TaskPart[] {
  return [{ kind: 'task', by: requester.id, source: null, text: task ?? '' }, ...context];
}

/** The prompt as one text. */
export function promptText(parts: readonly TaskPart[], scope: Pick<RunScope, 'offered'>): string {
  return promptTexts(parts, scope).join('\n\n');
}

/** The same, part by part. A task that is the requester's alone needs no marks around it. */
export function promptTexts(parts: readonly TaskPart[], { offered }: Pick<RunScope, 'offered'>): readonly string[] {
  const [task] = parts;
  if (parts.length === 1 && task !== undefined) return [`Task, from ${task.by}:\n\n${task.text.trim()}`];
  return framed(parts, boundary(parts, offered.seed));
}

/** What a program finds at `$CORDON_TASK_FILE`. */
export function taskFile(request: RunRequest, scope: Pick<RunScope, 'offered'>): string {
  const { task, context = [] } = request;
  return `${context.length === 0 ? (task ?? '') : promptText(promptParts(request), scope)}\n`;
}

/** A part as it stands in records: whose word it is and which text, not the text. */
export function recordedPart({ kind, by, source, text }: TaskPart) {
  const from = kind === 'task' ? 'requester' : (source ?? by ?? kind);
  return { from, kind, by, source, bytes: Buffer.byteLength(text), digest: digest(text) };
}

/** Over all that an agent is told to do, and from where it came, as a proof names it. */
export function taskOrigin({ task, context = [], requester }: Told): {
  readonly digest: string | null;
  readonly origin: { readonly kind: 'prompt' | 'file' | 'issue' | 'command'; readonly uri: string | null };
} {
  if (context.length === 0) {
    return {
      digest: task === null ? null : digest(task),
      origin: { kind: task === null ? 'command' : 'prompt', uri: null },
    };
  }
  const parts = promptParts({ requester, task, context }).map(recordedPart);
  const of = (...kinds: readonly TaskPart['kind'][]) => context.find(({ kind }) => kinds.includes(kind));
  const issue = of('issue', 'comment');
  const first = issue ?? of('file');
  const kind = issue !== undefined ? 'issue' : first !== undefined ? 'file' : 'prompt';
  return { digest: digest(canonicalJson(parts)), origin: { kind, uri: first?.source ?? null } };
}
