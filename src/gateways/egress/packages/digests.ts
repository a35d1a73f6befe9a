import { createHash } from 'node:crypto';

/** As subresource integrity writes it. */
export interface Hash {
  readonly algorithm: 'sha512' | 'sha256' | 'sha1';
  readonly base64: string;
}

export function hashText({ algorithm, base64 }: Hash): string {
  return `${algorithm}-${base64}`;
}

/** All hashes that an index may name, over bytes as they stream by: which it names may be known only afterwards. */
export class Digests {
  readonly #hashes = { sha512: createHash('sha512'), sha256: createHash('sha256'), sha1: createHash('sha1') };
  bytes = 0;

  take(part: Buffer): void {
    this.bytes += part.length;
    for (const hash of Object.values(this.#hashes)) hash.update(part);
  }

  /** Once. */
  end(): Readonly<Record<Hash['algorithm'], string>> {
    const { sha512, sha256, sha1 } = this.#hashes;
    return { sha512: sha512.digest('base64'), sha256: sha256.digest('base64'), sha1: sha1.digest('base64') };
  }
}
