/**
 * Credentials without an issuer's prefix, told by what stands around them. Looser than the shapes that output is redacted by
 * (base/redact/shapes.ts), and so looked for in pushes only, where a person can say that one is none.
 */
interface Rule {
  readonly kind: string;
  /** Linear in the length of the text. Group 1, where there is one, is the value. */
  readonly pattern: RegExp;
  /** The value must look random: words, placeholders and references are no secrets. */
  readonly random: boolean;
}

const NAME = '(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|client[_-]?secret|auth[_-]?key)';

const rules: readonly Rule[] = [
  {
    kind: 'JSON web token',
    pattern:
      /(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,8000}\.[A-Za-z0-9_-]{20,2000}(?![A-Za-z0-9_-])/g,
    random: false,
  },
  { kind: 'Google OAuth token', pattern: /(?<![A-Za-z0-9_-])ya29\.[A-Za-z0-9_-]{30,2000}/g, random: false },
  {
    kind: 'Google client secret',
    pattern: /(?<![A-Za-z0-9_-])GOCSPX-[A-Za-z0-9_-]{28}(?![A-Za-z0-9_-])/g,
    random: false,
  },
  { kind: 'Azure storage key', pattern: /AccountKey=[A-Za-z0-9+/]{86}==/g, random: false },
  {
    kind: 'password in an address',
    pattern: /[a-z][a-z0-9+.-]{1,20}:\/\/[^\s:@/'"<>{}$]{1,100}:([^\s:@/'"<>{}$]{8,200})@[A-Za-z0-9.-]{1,250}/g,
    random: true,
  },
  {
    kind: 'password',
    pattern: new RegExp(`${NAME}["']?[ \\t]{0,4}(?::|=>?|:=)[ \\t]{0,4}["']([^"'\\s]{12,200})["']`, 'gi'),
    random: true,
  },
];

/** Matches looked at per rule and text: a file made of near misses takes no more time than that. */
const TRIES = 1000;

/** The first of them, and where; null when there is none. */
export function looseCredential(bytes: Buffer): { readonly kind: string; readonly at: number } | null {
  const text = bytes.toString('latin1');
  for (const { kind, pattern, random } of rules) {
    let tries = 0;
    for (const match of text.matchAll(pattern)) {
      if (!random || looksRandom(match[1] ?? '')) return { kind, at: match.index };
      if (++tries > TRIES) return { kind, at: match.index };
    }
  }
  return null;
}

/** Names of RFC 8141 (`urn:ietf:params:oauth:token-type:x509`) name a kind of token, and are none. */
const NAMESPACED = /^urn:[a-z0-9][a-z0-9-]{1,31}:/i;

/** Three kinds of characters, and as varied as chance makes them. */
function looksRandom(value: string): boolean {
  const kinds = [/[a-z]/, /[A-Z]/, /[0-9]/, /[^A-Za-z0-9]/].filter((kind) => kind.test(value)).length;
  if (kinds < 3 || /example|placeholder|changeme|your|dummy|xxxx|\*\*\*|\$\{|\{\{|<[a-z]/i.test(value)) return false;
  if (NAMESPACED.test(value)) return value.split(':').some((part) => part.length >= 12 && looksRandom(part));
  if (isName(value)) return false;
  return entropy(value) >= 3.2;
}

/** What programs call things: `?NonExpressionParenEnd`, `Session.COOKIE_SECRET`. Chance makes no words of four letters, one after the other. */
function isName(value: string): boolean {
  if (!/^[?:.]?[A-Za-z]+(?:[._:/-][A-Za-z]+)*$/.test(value)) return false;
  const words = value.match(/[A-Z]?[a-z]+|[A-Z]+/g) ?? [];
  return words.length > 0 && words.join('').length / words.length >= 4;
}

/** Bits a character. */
function entropy(value: string): number {
  const counts = new Map<string, number>();
  for (const character of value) counts.set(character, (counts.get(character) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / value.length) * Math.log2(count / value.length);
  return bits;
}
