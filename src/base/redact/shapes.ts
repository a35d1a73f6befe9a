/**
 * Shapes of credentials that are never anything else: issuers gave them a prefix so that they can be found
 * (the list follows what secret scanners agree upon). Passwords without a shape are not found by this.
 * The one list for all who look for credentials: pushes are refused by it and output is redacted by it.
 */
export interface TokenShape {
  /** As it stands in a mark: `[secret:github-token]`. */
  readonly id: string;
  /** For a person: `GitHub token`. */
  readonly kind: string;
  /** What it begins with; at least {@link SHAPE_WINDOW} characters, none within another of the same shape. */
  readonly prefixes: readonly string[];
  /** Characters of the rest, as in the brackets of a regular expression. */
  readonly body: string;
  /** Fewest characters of the rest. */
  readonly min: number;
  /** When set, the rest has exactly `min` characters and none of these behind it. */
  readonly notAfter?: string;
  /** Characters that cannot stand before it: there it is the middle of something else. */
  readonly notBefore: string;
}

export const SHAPE_WINDOW = 4;

export const tokenShapes: readonly TokenShape[] = [
  {
    id: 'aws-access-key',
    kind: 'AWS access key',
    prefixes: ['AKIA', 'ASIA'],
    body: 'A-Z2-7',
    min: 16,
    notAfter: 'A-Z0-9',
    notBefore: 'A-Z0-9',
  },
  {
    id: 'github-token',
    kind: 'GitHub token',
    prefixes: ['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'],
    body: 'A-Za-z0-9',
    min: 36,
    notBefore: 'A-Za-z0-9_',
  },
  {
    id: 'github-token',
    kind: 'GitHub token',
    prefixes: ['github_pat_'],
    body: 'A-Za-z0-9_',
    min: 82,
    notBefore: 'A-Za-z0-9_',
  },
  {
    id: 'gitlab-token',
    kind: 'GitLab token',
    prefixes: ['glpat-', 'gldt-', 'glrt-', 'glsoat-'],
    body: 'A-Za-z0-9_-',
    min: 20,
    notBefore: 'A-Za-z0-9_-',
  },
  { id: 'npm-token', kind: 'npm token', prefixes: ['npm_'], body: 'A-Za-z0-9', min: 36, notBefore: 'A-Za-z0-9_' },
  {
    id: 'slack-token',
    kind: 'Slack token',
    prefixes: ['xoxa-', 'xoxb-', 'xoxe-', 'xoxo-', 'xoxp-', 'xoxr-', 'xoxs-'],
    body: '0-9A-Za-z-',
    min: 20,
    notBefore: 'a-z0-9',
  },
  {
    id: 'google-api-key',
    kind: 'Google API key',
    prefixes: ['AIza'],
    body: '0-9A-Za-z_-',
    min: 35,
    notAfter: 'A-Za-z0-9_-',
    notBefore: 'A-Za-z0-9_-',
  },
  {
    id: 'anthropic-key',
    kind: 'Anthropic key',
    prefixes: ['sk-ant-'],
    body: 'A-Za-z0-9_-',
    min: 42,
    notBefore: 'a-z0-9',
  },
  {
    id: 'openai-key',
    kind: 'OpenAI key',
    prefixes: ['sk-proj-', 'sk-svcacct-', 'sk-admin-'],
    body: 'A-Za-z0-9_-',
    min: 40,
    notBefore: 'a-z0-9',
  },
  {
    id: 'stripe-key',
    kind: 'Stripe key',
    prefixes: ['rk_live_', 'sk_live_'],
    body: '0-9A-Za-z',
    min: 20,
    notBefore: 'a-z0-9',
  },
];

/**
 * A private key in PEM (RFC 7468), its lines ended as in a file or, as in a service account's JSON, by an escaped line feed
 * with key material behind it: source code that only writes the header is no key.
 */
export const privateKeyShape = {
  id: 'private-key',
  kind: 'private key',
  prefix: '-----BEGIN ',
  head: '-----BEGIN (?:[A-Z0-9]{1,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----(?:\\r?\\n|(?:\\\\r)?\\\\n[A-Za-z0-9+/]{16})',
  /** Most characters of what `head` matches. */
  headMax: 90,
} as const;

function tokenPattern({ prefixes, body, min, notAfter, notBefore }: TokenShape): string {
  const end = notAfter === undefined ? '' : `(?![${notAfter}])`;
  return `(?<![${notBefore}])(?:${prefixes.join('|')})[${body}]{${min}}${end}`;
}

const patterns: readonly (readonly [string, RegExp])[] = [
  [privateKeyShape.kind, new RegExp(privateKeyShape.head)],
  ...tokenShapes.map((shape) => [shape.kind, new RegExp(tokenPattern(shape))] as const),
];

/** The kind of the first credential in the bytes, or null. Linear in their length. */
export function credentialIn(bytes: Buffer | string): string | null {
  return findCredential(bytes)?.kind ?? null;
}

/** The same, with the offset in bytes at which it begins. */
export function findCredential(bytes: Buffer | string): { readonly kind: string; readonly at: number } | null {
  const text = typeof bytes === 'string' ? bytes : bytes.toString('latin1');
  for (const [kind, pattern] of patterns) {
    const at = text.search(pattern);
    if (at >= 0) return { kind, at };
  }
  return null;
}
