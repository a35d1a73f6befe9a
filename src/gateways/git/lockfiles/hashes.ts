/** Bytes of a digest, by algorithm. What is weaker than SHA-256 says nothing: somebody can make another file of that hash. */
const STRONG: Readonly<Record<string, number>> = { sha512: 64, sha384: 48, sha256: 32 };
const WEAK: Readonly<Record<string, number>> = { sha1: 20, md5: 16, sha224: 28 };

/** In place of the hash of a file that has none. */
export const NO_HASH = 'none';

export type Hashes =
  /** As subresource integrity writes them. */
  { readonly strong: readonly string[] } | { readonly problem: string };

/**
 * Hashes as lock files write them: `sha512-<base64>`, several with spaces between, or `sha256:<hex>`.
 * Every one of them must be whole: what a reader skips as malformed must not hide what stands beside it.
 */
export function readHashes(texts: readonly string[]): Hashes {
  const strong: string[] = [];
  let weak: string | null = null;
  for (const text of texts.flatMap((each) => each.split(/[ \t]+/)).filter((each) => each !== '')) {
    if (text === NO_HASH) return { problem: 'has a file without a hash' };
    const match = /^(?:([a-z0-9]+)-([A-Za-z0-9+/]+={0,2})|([a-z0-9]+)[:=]([0-9a-f]+))$/.exec(text);
    const algorithm = match?.[1] ?? match?.[3] ?? '';
    const [base64, hex] = [match?.[2], match?.[4]];
    const bytes = base64 === undefined ? Buffer.from(hex ?? '', 'hex') : Buffer.from(base64, 'base64');
    const isWhole = base64 === undefined ? bytes.toString('hex') === hex : bytes.toString('base64') === base64;
    const size = Object.hasOwn(STRONG, algorithm) ? STRONG[algorithm] : undefined;
    const small = Object.hasOwn(WEAK, algorithm) ? WEAK[algorithm] : undefined;
    if (match === null || !isWhole || bytes.length !== (size ?? small)) return { problem: 'has a malformed hash' };
    if (size === undefined) weak = algorithm;
    else strong.push(`${algorithm}-${bytes.toString('base64')}`);
  }
  if (strong.length > 0) return { strong };
  return { problem: weak === null ? 'has no integrity hash' : `has no stronger hash than ${weak.toUpperCase()}` };
}
