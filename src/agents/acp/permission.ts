/** What an agent asks leave for: the name under which that is decided, and how the answer is told. */
import { createHash } from 'node:crypto';
import type { PermissionOption, PermissionOptionKind, RequestPermissionResponse } from '@agentclientprotocol/sdk';
import { safeText } from '../../base/term.ts';

export interface AskedTool {
  readonly id: string;
  /** Canonical: what is decided upon. */
  readonly tool: string;
  /** All that the agent says of the call: what an answer is bound to, and what a person reads. */
  readonly told: ToldCall;
}

/** As JSON each; empty where the agent says nothing of it. What is long is its beginning, and the digest of all of it. */
export interface ToldCall {
  readonly title: string;
  readonly rawInput: string;
  readonly locations: string;
  readonly content: string;
}

/** Characters of one part that are kept, and shown. */
const LONGEST_PART = 4_000;

/** Throws `RangeError` for what is nested without end. */
export function toldPart(value: unknown): string {
  if (value === undefined || value === null) return '';
  const text = JSON.stringify(value);
  if (text.length <= LONGEST_PART) return text;
  return `${text.slice(0, LONGEST_PART)}… [${text.length} characters, sha256:${createHash('sha256').update(text).digest('hex')}]`;
}

/** What a person reads before saying yes to it. */
export function toldInWords(tool: string, { rawInput, locations, content }: ToldCall): string {
  const parts = Object.entries({ input: rawInput, locations, content }).filter(([, text]) => text !== '');
  return [`tool.call of "acp/${tool}"`, ...parts.map(([name, text]) => `${name} ${text}`)].join(' · ');
}

const KINDS = ['read', 'edit', 'delete', 'move', 'search', 'execute', 'think', 'fetch', 'switch_mode', 'other'];
/** Characters of a title that stand in the tool's name; a digest speaks for the rest. */
const LONGEST_TITLE = 200;

/**
 * `execute: git push`: one of the protocol's kinds, and the title in one line with whatever is not plainly visible escaped. Two titles
 * have one name only if they read the same.
 */
export function canonicalTool(kind: string, title: string): string {
  return canonicalName(KINDS.includes(kind) ? kind : 'other', title);
}

/** Likewise of what Cordon itself does for an agent: `fs/write_text_file: /workspace/a.txt`. */
export function canonicalName(what: string, title: string): string {
  const line = safeText(title.normalize('NFC').replace(/\s+/g, ' ').trim());
  if (line === '') return what;
  const characters = [...line];
  if (characters.length <= LONGEST_TITLE) return `${what}: ${line}`;
  const digest = createHash('sha256').update(title).digest('hex');
  return `${what}: ${characters.slice(0, LONGEST_TITLE).join('')}… sha256:${digest}`;
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
