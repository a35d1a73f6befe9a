/**
 * Shapes of credentials that are never anything else: issuers gave them a prefix so that they can be found
 * (the list follows what secret scanners agree upon). Passwords without a shape are not found by this.
 */
const SHAPES: readonly (readonly [string, RegExp])[] = [
  ['private key', /-----BEGIN (?:[A-Z0-9]{1,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----\r?\n/],
  ['AWS access key', /(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Z0-9])/],
  ['GitHub token', /(?<![A-Za-z0-9_])(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})/],
  ['GitLab token', /(?<![A-Za-z0-9_-])gl(?:pat|dt|rt|soat)-[A-Za-z0-9_-]{20,}/],
  ['npm token', /(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}/],
  ['Slack token', /(?<![a-z0-9])xox[abeoprs]-[0-9A-Za-z-]{20,}/],
  ['Google API key', /(?<![A-Za-z0-9_-])AIza[0-9A-Za-z_-]{35}(?![A-Za-z0-9_-])/],
  ['Anthropic key', /(?<![a-z0-9])sk-ant-[a-z0-9]+-[A-Za-z0-9_-]{40,}/],
  ['OpenAI key', /(?<![a-z0-9])sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,}/],
  ['Stripe key', /(?<![a-z0-9])[rs]k_live_[0-9A-Za-z]{20,}/],
];

/** The kind of the first credential in the bytes, or null. Linear in their length. */
export function credentialIn(bytes: Buffer | string): string | null {
  const text = typeof bytes === 'string' ? bytes : bytes.toString('latin1');
  return SHAPES.find(([, shape]) => shape.test(text))?.[0] ?? null;
}
