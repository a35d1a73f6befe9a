import type { ObjectInfo, ObjectReader } from '../../base/git-objects.ts';
import { credentialIn } from '../../base/redact/shapes.ts';
import type { Finding } from './checks.ts';
import type { CommitFacts } from './commits.ts';

const MiB = 1024 * 1024;
const SCANNED_FILE = 8 * MiB;

export async function findCredentials(
  change: {
    readonly blobs: readonly ObjectInfo[];
    readonly commits: readonly CommitFacts[];
    readonly paths: readonly string[];
  },
  reader: ObjectReader,
  /** The name of a secret of this run in the bytes, or null. */
  secretIn: ((bytes: Buffer | string) => string | null) | undefined,
  findings: Finding[],
): Promise<boolean> {
  let found = false;
  const look = (bytes: Buffer | string, commit: string | null, where: string) => {
    const kind = credentialIn(bytes) ?? secretIn?.(bytes) ?? null;
    if (kind === null) return;
    found = true;
    findings.push({
      severity: 'note',
      path: null,
      commit,
      message: `${where} holds what looks like a credential (${kind})`,
    });
  };
  for (const { oid, message, author, committer } of change.commits) {
    look(message, oid, 'its message');
    look(`${author}\n${committer}`, oid, 'its author or committer');
  }
  look(change.paths.join('\n'), null, 'the name of a file');
  for (const blob of change.blobs) {
    if (blob.size > SCANNED_FILE) continue;
    look((await reader.readSized(blob)) ?? '', null, `blob ${blob.oid.slice(0, 12)}`);
  }
  return found;
}
