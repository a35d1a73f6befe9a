import type { Redactor } from '../../base/redact/index.ts';
import type { JsonObject, JsonValue } from './wire/wire.ts';

/** What is said in a conversation, in any of the protocols. */
const SAID = new Set([
  'system',
  'instructions',
  'messages',
  'input',
  'contents',
  'systemInstruction',
  'system_instruction',
]);
/** What stands between two texts without being said. */
const ASIDE = new Set(
  (
    'role type id call_id tool_call_id tool_use_id name namespace status phase detail media_type mime_type mimeType ttl ' +
    'signature thoughtSignature thought_signature encrypted_content'
  ).split(' '),
);

/**
 * Takes out secrets that a conversation holds in pieces, one text after the other, where no single text holds one. Only values that are
 * known are looked for: shapes of credentials would be found where one text happens to go on like another began. Null when there are none.
 */
export function redactAcross(body: JsonObject, redactor: Redactor, onMark: (name: string) => void): JsonObject | null {
  if (!redactor.hasValues) return null;
  const said: string[] = [];
  for (const name in body) if (SAID.has(name)) collect(body[name] as JsonValue, said);
  // UTF-8 of texts one after the other, which is not that of all of them where one ends with half a character.
  const whole = said.length === 1 ? (said[0] as string) : said.map((text) => text.toWellFormed()).join('');
  const found = redactor.valuesIn(Buffer.from(whole));
  if (found.length === 0) return null;
  const texts = said.map((text) => Buffer.from(text));
  let [index, at] = [0, 0];
  let done = 0;
  return walk(body, (text) => {
    const bytes = texts[index++] as Buffer;
    const [start, end] = [at, at + bytes.length];
    at = end;
    const pieces: Buffer[] = [];
    let kept = start;
    for (const one of found) {
      if (one.end <= start || one.at >= end) continue;
      if (one.at > kept) pieces.push(bytes.subarray(kept - start, one.at - start));
      // Its mark stands where it begins; its other pieces are left out.
      if (one.at >= start && one.at >= done) {
        pieces.push(Buffer.from(`[secret:${one.name}]`));
        onMark(one.name);
      }
      kept = Math.max(kept, Math.min(one.end, end));
      done = Math.max(done, one.end);
    }
    if (kept === start && pieces.length === 0) return text;
    pieces.push(bytes.subarray(kept - start));
    return Buffer.concat(pieces).toString();
  });
}

/** The texts that `walk` meets, in its order. */
function collect(value: JsonValue, into: string[]): void {
  if (typeof value === 'string') into.push(value);
  else if (Array.isArray(value)) for (const item of value) collect(item, into);
  else if (typeof value === 'object' && value !== null)
    for (const [name, item] of Object.entries(value)) if (!ASIDE.has(name)) collect(item, into);
}

/** The same body with each text of its conversation in place, in order. */
function walk(body: JsonObject, each: (text: string) => string): JsonObject {
  const go = (value: JsonValue): JsonValue => {
    if (typeof value === 'string') return each(value);
    if (Array.isArray(value)) return value.map(go);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, ASIDE.has(name) ? item : go(item)]));
  };
  return Object.fromEntries(Object.entries(body).map(([name, item]) => [name, SAID.has(name) ? go(item) : item]));
}
