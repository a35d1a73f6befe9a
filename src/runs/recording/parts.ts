import { sha256Hex } from '../../base/digest.ts';
import { CONVERSATIONS } from '../../gateways/llm/redact.ts';
import { type Own, steadied, type VolatileWord } from './volatile.ts';

/** One value of a part, or one line of a long text. */
export interface Leaf {
  /** `content[0].text line 3`. */
  readonly path: string;
  /** 16 hex digits, of its steady form. */
  readonly digest: string;
  /** The beginning of that, for a person. */
  readonly text: string;
  /** What was taken out of it. */
  readonly words: readonly VolatileWord[];
}

/** One part of what an agent asks a model: a message; the first is all that is no message: tools, settings, instructions. */
export interface Part {
  /** 16 hex digits, of its steady form: the same for two that differ only in what changes from run to run. */
  readonly digest: string;
  readonly leaves: readonly Leaf[];
}

const LISTS: readonly string[] = CONVERSATIONS;
const SHOWN = 300;
/** Leaves of a part, and lines of one text, that are told apart; what follows is one more. */
const MAX_LEAVES = 2_000;
const MAX_LINES = 400;

/** Tools and settings first, then the conversation, message by message. */
export function splitQuestion(body: Readonly<Record<string, unknown>>): unknown[] {
  const isConversation = (name: string) => LISTS.includes(name) && Array.isArray(body[name]);
  const rest = Object.fromEntries(Object.entries(body).filter(([name]) => !isConversation(name)));
  const parts: unknown[] = [rest];
  for (const name of LISTS) if (isConversation(name)) for (const item of body[name] as unknown[]) parts.push(item);
  return parts;
}

export function partOf(value: unknown, own: Own): Part {
  const leaves: Leaf[] = [];
  for (const [path, text] of textsOf(value)) {
    const steady = steadied(text, own);
    leaves.push({
      path,
      digest: textDigest(steady.text),
      text: steady.text.slice(0, SHOWN),
      words: steady.words,
    });
  }
  return { digest: partDigest(leaves), leaves };
}

export function textDigest(text: string): string {
  return sha256Hex(text).slice(0, 16);
}

export function partDigest(leaves: readonly Pick<Leaf, 'path' | 'digest'>[]): string {
  return textDigest(leaves.map(({ path, digest }) => `${digest} ${path}\n`).join(''));
}

function textsOf(value: unknown): readonly (readonly [path: string, text: string])[] {
  const found: [string, string][] = [];
  const visit = (path: string, one: unknown) => {
    if (found.length >= MAX_LEAVES) found.push(joined(found.pop(), path, one));
    else if (typeof one === 'string') found.push(...lines(path, one));
    else if (typeof one !== 'object' || one === null) found.push([path, JSON.stringify(one) ?? 'undefined']);
    else if (Array.isArray(one)) for (const [i, each] of one.entries()) visit(`${path}[${i}]`, each);
    else for (const [name, each] of sorted(one)) visit(path === '' ? name : `${path}.${name}`, each);
  };
  visit('', value);
  return found;
}

/** An object's members have no order, and some agents write them in another one each time. */
function sorted(one: object): [string, unknown][] {
  return Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1));
}

function joined(last: [string, string] | undefined, path: string, one: unknown): [string, string] {
  return [last?.[0] ?? path, `${last?.[1] ?? ''}\n${path} ${JSON.stringify(one)}`];
}

function lines(path: string, text: string): [string, string][] {
  const all = text.split('\n');
  if (all.length === 1) return [[path, text]];
  const apart = all.slice(0, MAX_LINES).map((line, i): [string, string] => [`${path} line ${i + 1}`, line]);
  if (all.length > MAX_LINES) apart.push([`${path} line ${MAX_LINES + 1}`, all.slice(MAX_LINES).join('\n')]);
  return apart;
}

/** The same for two requests that differ only in what changes from run to run. */
export function likeness(parts: readonly { readonly digest: string }[]): string {
  return sha256Hex(parts.map(({ digest }) => digest).join(' '));
}

export interface PartDifference {
  /** `tools[3].name`, `message 4, content line 2`. */
  readonly at: string;
  readonly expected: string;
  readonly actual: string;
}

/** Where two requests first differ in more than what changes from run to run; null when they do not. */
export function firstDifference(expected: readonly Part[], actual: readonly Part[]): PartDifference | null {
  const longest = Math.max(expected.length, actual.length);
  for (let i = 0; i < longest; i++) {
    const [before, now] = [expected[i], actual[i]];
    if (before?.digest === now?.digest) continue;
    return leafDifference(i, before?.leaves ?? [], now?.leaves ?? []);
  }
  return null;
}

function leafDifference(part: number, before: readonly Leaf[], now: readonly Leaf[]): PartDifference {
  const longest = Math.max(before.length, now.length);
  for (let i = 0; i < longest; i++) {
    const [expected, actual] = [before[i], now[i]];
    if (expected?.path === actual?.path && expected?.digest === actual?.digest) continue;
    const path = expected?.path ?? actual?.path ?? '';
    const shown = (leaf: Leaf | undefined) =>
      leaf === undefined ? 'nothing' : leaf.path === path ? leaf.text : `${leaf.path}: ${leaf.text}`;
    return { at: placeOf(part, path), expected: shown(expected), actual: shown(actual) };
  }
  return { at: placeOf(part, ''), expected: 'nothing', actual: 'nothing' };
}

export function placeOf(part: number, path: string): string {
  if (part === 0) return path;
  return path === '' ? `message ${part}` : `message ${part}, ${path}`;
}
