import type { ObjectInfo, ObjectReader } from '../../base/git-objects.ts';
import type { SecretScan } from './credentials.ts';
import type { PushLimits } from './push-limits.ts';

export interface ContentsRequest {
  /** Every new blob, wherever it stands. */
  readonly blobs: readonly ObjectInfo[];
  readonly contents: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly reader: ObjectReader;
  readonly scan: SecretScan;
  readonly limits: PushLimits;
}

/**
 * Reads every new blob once, also one that a later commit removes again, and looks for credentials in it. Resolves with the
 * paths of new or changed files that are binary, sorted; a copy of what the base has counts as new at its new path.
 */
export async function readContents(request: ContentsRequest): Promise<readonly string[]> {
  const { blobs, contents, reader, scan, limits } = request;
  const binaries = new Set<string>();
  const fresh = new Set<string>();
  const note = (oid: string, bytes: Buffer) => {
    if (isBinary(bytes)) for (const path of contents.get(oid)?.keys() ?? []) binaries.add(path);
  };
  for (const blob of blobs) {
    fresh.add(blob.oid);
    const bytes = await reader.readSized(blob);
    if (bytes === null) continue;
    note(blob.oid, bytes);
    const [place] = contents.get(blob.oid) ?? [];
    scan.blob(bytes, blob.oid, place);
  }
  for (const oid of contents.keys()) {
    if (fresh.has(oid)) continue;
    const bytes = await reader.read(oid, 'blob', limits.fileBytes);
    if (bytes !== null) note(oid, bytes);
  }
  return [...binaries].sort();
}

/** As git sees it: a NUL among the first bytes. */
const HEAD = 8000;

function isBinary(bytes: Buffer): boolean {
  return bytes.subarray(0, HEAD).includes(0);
}
