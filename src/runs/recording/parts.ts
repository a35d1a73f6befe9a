import { sha256Hex } from '../../base/digest.ts';
import { steady } from './volatile.ts';

/** One part of what an agent asks a model: a message, the tools, the rest. */
export interface Part {
  /** 16 hex digits, of its steady form. */
  readonly digest: string;
  /** Its beginning, for a person. */
  readonly text: string;
}

const LISTS = ['messages', 'input', 'contents'];
const SHOWN = 300;

/** Tools and settings first, then the conversation, message by message. `known`: those of earlier requests, which are told again each time. */
export function partsOf(
  body: Readonly<Record<string, unknown>>,
  own: readonly string[],
  known: Map<string, Part> = new Map(),
): Part[] {
  const conversation = LISTS.flatMap((name) => (Array.isArray(body[name]) ? (body[name] as unknown[]) : []));
  const rest = Object.fromEntries(
    Object.entries(body).filter(([name, value]) => !LISTS.includes(name) || !Array.isArray(value)),
  );
  return [rest, ...conversation].map((part) => {
    const whole = JSON.stringify(part);
    const before = known.get(whole);
    if (before !== undefined) return before;
    const text = steady(whole, own);
    const found = { digest: sha256Hex(text).slice(0, 16), text: text.slice(0, SHOWN) };
    known.set(whole, found);
    return found;
  });
}

/** The same for two requests that differ only in what changes from run to run. */
export function likeness(parts: readonly Part[]): string {
  return sha256Hex(parts.map(({ digest }) => digest).join(' '));
}

/** The first part in which two requests differ, from 0; null when they are alike. */
export function firstDifference(expected: readonly Part[], actual: readonly Part[]): number | null {
  const longest = Math.max(expected.length, actual.length);
  for (let i = 0; i < longest; i++) if (expected[i]?.digest !== actual[i]?.digest) return i;
  return null;
}
