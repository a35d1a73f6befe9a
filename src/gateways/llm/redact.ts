import type { Redactor } from '../../base/redact/index.ts';
import { redactAcross } from './redact-across.ts';
import { ModelRefusal } from './refusal.ts';
import type { JsonObject, JsonValue } from './wire/wire.ts';

export interface Redacted {
  /** As it leaves. */
  readonly bytes: Buffer;
  readonly body: JsonObject;
  /** Names of what was taken out, with how often. */
  readonly marks: Readonly<Record<string, number>>;
  /** What `bytes` were searched for. */
  readonly knowledge: object;
}

/** With the JSON of each item of its conversation, as `splitQuestion` (runs/recording/parts.ts) has them; null where something was taken out. */
export interface RedactedNow extends Redacted {
  readonly items: readonly string[] | null;
}

/** The names under which the protocols have a conversation's items, in this order. */
export const CONVERSATIONS = ['messages', 'input', 'contents'] as const;

/**
 * Takes secrets out of a request before it leaves. What is searched is the bytes that would be sent, so that no way of writing JSON hides
 * anything; what is replaced are the texts in it. Throws `ModelRefusal` where the policy refuses such prompts, and where a secret would be
 * left all the same (in a name). `raw`: what the caller sent, to be sent on where it is the same.
 */
export function redactRequest(
  body: JsonObject,
  redactor: Redactor,
  mode: 'replace' | 'refuse',
  raw: Buffer | null = null,
): RedactedNow {
  const { bytes, items } = bytesOf(body, raw);
  const { knowledge } = redactor;
  const marks: Record<string, number> = {};
  const mark = (name: string) => {
    marks[name] = (marks[name] ?? 0) + 1;
  };
  const found = redactor.matches(bytes);
  const single = found ? (replaced(body, redactor, mark) as JsonObject) : body;
  const across = redactAcross(single, redactor, mark);
  if (!found && across === null) return { bytes, body, marks, knowledge, items };
  const clean = across ?? single;
  const what = Object.keys(marks).join(', ') || 'a secret';
  if (mode === 'refuse')
    throw new ModelRefusal('secret', 403, 'secret_in_prompt', `the prompt holds ${what} (llm_policy.secrets: refuse)`);
  const sent = Buffer.from(JSON.stringify(clean));
  if (redactor.matches(sent))
    throw new ModelRefusal('secret', 403, 'secret_in_prompt', `the prompt holds ${what} where it cannot be taken out`);
  return { bytes: sent, body: clean, marks, knowledge, items: null };
}

/** Most callers write JSON as we do, and then the bytes that they sent are those that go on. `raw` is UTF-8. */
function bytesOf(body: JsonObject, raw: Buffer | null): { readonly bytes: Buffer; readonly items: readonly string[] } {
  const { text, items } = jsonOf(body);
  const same = raw !== null && raw.length === Buffer.byteLength(text) && raw.toString() === text;
  return { bytes: same ? raw : Buffer.from(text), items };
}

/** What `JSON.stringify` makes of it, put together from its conversation's items: the recording asks for these, and they are nearly all of it. */
export function jsonOf(body: JsonObject): { readonly text: string; readonly items: readonly string[] } {
  const lists = new Map<string, readonly string[]>();
  for (const name of CONVERSATIONS) {
    const list = Object.hasOwn(body, name) ? body[name] : null;
    if (Array.isArray(list))
      lists.set(
        name,
        list.map((item) => JSON.stringify(item) ?? 'null'),
      );
  }
  const members: string[] = [];
  for (const [name, value] of Object.entries(body)) {
    const list = lists.get(name);
    const text = list === undefined ? JSON.stringify(value) : `[${list.join(',')}]`;
    // As JSON has it, what is undefined is not there.
    if (text !== undefined) members.push(`${JSON.stringify(name)}:${text}`);
  }
  return { text: `{${members.join(',')}}`, items: [...lists.values()].flat() };
}

function replaced(value: JsonValue, redactor: Redactor, onMark: (name: string) => void): JsonValue {
  if (typeof value === 'string') {
    const open = redactor.open(onMark);
    const pieces = open.write(Buffer.from(value), true);
    return open.marks === 0 ? value : Buffer.concat(pieces).toString();
  }
  if (Array.isArray(value)) return value.map((item) => replaced(item, redactor, onMark));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, replaced(item, redactor, onMark)]));
}
