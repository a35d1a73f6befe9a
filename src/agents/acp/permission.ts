/** What an agent asks leave for: the name under which that is decided, and how the answer is told. */
import { createHash } from 'node:crypto';
import type { PermissionOption, PermissionOptionKind, RequestPermissionResponse } from '@agentclientprotocol/sdk';
import { safeText } from '../../base/term.ts';

export interface AskedTool {
  readonly id: string;
  /** Canonical: what is decided upon. */
  readonly tool: string;
  /** As the agent words it. */
  readonly title: string;
}

const KINDS = ['read', 'edit', 'delete', 'move', 'search', 'execute', 'think', 'fetch', 'switch_mode', 'other'];
/** Characters of a title that stand in the tool's name; a digest speaks for the rest. */
const LONGEST_TITLE = 200;

/**
 * `execute: git push`: one of the protocol's kinds, and the title in one line with whatever is not plainly visible escaped. Two titles
 * have one name only if they read the same.
 */
export function canonicalTool(kind: string, title: string): string {
  const known = KINDS.includes(kind) ? kind : 'other';
  const line = safeText(title.normalize('NFC').replace(/\s+/g, ' ').trim());
  if (line === '') return known;
  const characters = [...line];
  if (characters.length <= LONGEST_TITLE) return `${known}: ${line}`;
  const digest = createHash('sha256').update(title).digest('hex');
  return `${known}: ${characters.slice(0, LONGEST_TITLE).join('')}… sha256:${digest}`;
}

export interface Answer {
  readonly response: RequestPermissionResponse;
  /** Null when none of the options says what was decided: the request is then cancelled. */
  readonly option: PermissionOptionKind | null;
}

/** By kind, as ids are each agent's own. What is permitted is this one call: leave for ever is never given. */
export function answerWith(options: readonly PermissionOption[], permitted: boolean): Answer {
  const kinds = permitted ? (['allow_once'] as const) : (['reject_once', 'reject_always'] as const);
  for (const kind of kinds) {
    const option = options.find((one) => one.kind === kind);
    if (option !== undefined)
      return { response: { outcome: { outcome: 'selected', optionId: option.optionId } }, option: kind };
  }
  return { response: { outcome: { outcome: 'cancelled' } }, option: null };
}
