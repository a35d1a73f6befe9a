import type { CommitObject } from './clone.ts';

/**
 * Which commits must be proven where people commit as well: those whose author or committer has one of these addresses
 * (`*@agents.acme.example`), and all that name a run in a trailer. A stray agent under a person's name is found only where
 * every commit must be proven.
 */
export function claimsAgent({ bytes }: CommitObject, addresses: readonly string[]): boolean {
  const text = bytes.toString('utf8');
  // git takes a commit that ends with its headers.
  const end = text.indexOf('\n\n');
  const head = end < 0 ? text : text.slice(0, end);
  if (/^Cordon-Run:/im.test(text.slice(head.length))) return true;
  const found = [...head.matchAll(/^(?:author|committer) [^\n]*<([^<>\n]*)>/gm)].map((match) =>
    (match[1] ?? '').toLowerCase(),
  );
  return found.some((address) => addresses.some((pattern) => matches(pattern.toLowerCase(), address)));
}

function matches(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return text === pattern;
  const last = rest.pop() as string;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at + last.length <= text.length;
}
