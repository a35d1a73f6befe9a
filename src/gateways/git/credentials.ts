import type { ObjectInfo, ObjectReader } from '../../base/git-objects.ts';
import { credentialIn } from '../../base/redact/shapes.ts';
import type { Finding } from './checks.ts';
import type { CommitFacts } from './commits.ts';

const MiB = 1024 * 1024;
const SCANNED_FILE = 8 * MiB;

export async function findCredentials(
  blobs: readonly ObjectInfo[],
  commits: readonly CommitFacts[],
  reader: ObjectReader,
  findings: Finding[],
): Promise<boolean> {
  let found = false;
  const note = (kind: string, commit: string | null, where: string) => {
    found = true;
    findings.push({
      severity: 'note',
      path: null,
      commit,
      message: `${where} holds what looks like a credential (${kind})`,
    });
  };
  for (const commit of commits) {
    const kind = credentialIn(commit.message);
    if (kind !== null) note(kind, commit.oid, 'its message');
  }
  for (const blob of blobs) {
    if (blob.size > SCANNED_FILE) continue;
    const kind = credentialIn((await reader.readSized(blob)) ?? '');
    if (kind !== null) note(kind, null, `blob ${blob.oid.slice(0, 12)}`);
  }
  return found;
}
