import { SshFormatError } from './wire.ts';

/**
 * The signature in a git commit object (gitformat-signature(5)): a header whose further lines begin with a blank,
 *
 *   gpgsig -----BEGIN SSH SIGNATURE-----          in a repository of SHA-1 objects
 *   gpgsig-sha256 -----BEGIN SSH SIGNATURE-----   in one of SHA-256 objects
 *
 * Signed is the object without these two headers; all else, the message included, stands as it is.
 */
export type ObjectFormat = 'sha1' | 'sha256';

const NAMES = { sha1: 'gpgsig', sha256: 'gpgsig-sha256' } as const;

export interface SignedCommit {
  /** Exactly the bytes that are signed. */
  readonly payload: Buffer;
  /** Armoured; null when the commit has none for this object format. */
  readonly signature: string | null;
}

/**
 * Takes a commit object apart as git does. Throws `SshFormatError` where git's own reading could be another than a
 * person's: a signature twice, a header that only begins like one, NUL bytes among the headers.
 */
export function splitCommit(commit: Uint8Array, format: ObjectFormat): SignedCommit {
  const bytes = Buffer.from(commit.buffer, commit.byteOffset, commit.byteLength);
  const blank = bytes.indexOf('\n\n');
  const head = bytes.subarray(0, blank < 0 ? bytes.length : blank + 1);
  if (head.includes(0)) throw new SshFormatError('the commit has NUL bytes among its headers');
  const payload: Buffer[] = [];
  const found = new Map<string, Buffer[]>();
  let signature: Buffer[] | null = null;
  for (const line of linesOf(head)) {
    if (line[0] !== 0x20) signature = startOf(line, found);
    else signature?.push(line.subarray(1));
    if (signature === null) payload.push(line);
  }
  payload.push(bytes.subarray(head.length));
  const own = found.get(NAMES[format]);
  return {
    payload: Buffer.concat(payload),
    signature: own === undefined ? null : Buffer.concat(own).toString('latin1'),
  };
}

function* linesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(10, at);
    const next = end < 0 ? bytes.length : end + 1;
    yield bytes.subarray(at, next);
    at = next;
  }
}

/** The list that a signature's lines are gathered in; null for every other header. */
function startOf(line: Buffer, found: Map<string, Buffer[]>): Buffer[] | null {
  const text = line.toString('latin1');
  if (!text.startsWith('gpgsig')) return null;
  const name = Object.values(NAMES).find((known) => text.startsWith(`${known} `));
  if (name === undefined || found.has(name))
    throw new SshFormatError('the commit has a signature twice, or a header that only looks like one');
  const lines = [line.subarray(name.length + 1)];
  found.set(name, lines);
  return lines;
}

/** The commit with the signature in it, where git puts it: after the other headers. */
export function joinCommit(payload: Uint8Array, signature: string, format: ObjectFormat): Buffer {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const blank = bytes.indexOf('\n\n');
  const cut = blank < 0 ? bytes.length : blank + 1;
  const header = `${NAMES[format]} ${signature.replace(/\n$/, '').replaceAll('\n', '\n ')}\n`;
  return Buffer.concat([bytes.subarray(0, cut), Buffer.from(header, 'latin1'), bytes.subarray(cut)]);
}
