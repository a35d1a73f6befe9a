/** What changes from run to run though nothing else does: ids, times, random names. */
const VOLATILE: readonly (readonly [RegExp, string])[] = [
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi, '<uuid>'],
  [/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?/g, '<time>'],
  [/\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? \w+ \w+,? \d{4}( \d\d:\d\d:\d\d)?/g, '<date>'],
  [/\b\d{4}-\d\d-\d\d\b/g, '<date>'],
  // As `ls -l` shows them.
  [/\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d (\d\d:\d\d| \d{4})/g, '<date>'],
  [/\b1[5-9]\d{8}(\d{3})?\b/g, '<epoch>'],
  [/\b(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})\b/g, '<hex>'],
  [/\/tmp\/[A-Za-z0-9._-]+/g, '/tmp/<name>'],
  [/\b(took |in )?\d+(\.\d+)? ?(ms|s|seconds)\b/g, '<duration>'],
];

/** The text with all that in its place; `own` are further words of this run alone: its id, its token. */
export function steady(text: string, own: readonly string[] = []): string {
  let out = text;
  for (const word of own) out = out.replaceAll(word, '<run>');
  for (const [pattern, name] of VOLATILE) out = out.replace(pattern, name);
  return out;
}
