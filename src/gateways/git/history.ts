import { LimitError } from '../../base/errors.ts';
import type { ObjectInfo, ObjectReader } from '../../base/git-objects.ts';
import { formatSize } from '../../base/size.ts';
import type { Finding, PushRequest } from './checks.ts';
import { type CommitFacts, parseCommit } from './commits.ts';
import type { PushLimits } from './push-limits.ts';

export async function newCommits(
  objects: readonly ObjectInfo[],
  request: PushRequest,
  limits: PushLimits,
  reader: ObjectReader,
  look: (bytes: Buffer, commit: string) => void,
  findings: Finding[],
): Promise<readonly CommitFacts[]> {
  const infos = objects.filter((object) => object.type === 'commit');
  if (infos.length > limits.commits)
    throw new LimitError('push', `${infos.length} commits; at most ${limits.commits} are taken`);
  const commits: CommitFacts[] = [];
  // rev-list names the newest first.
  for (const info of infos.reverse()) {
    const bytes = info.size > limits.commitBytes ? null : await reader.readSized(info);
    const commit = bytes === null ? null : parseCommit(info.oid, bytes);
    if (commit === null)
      throw new LimitError(
        'push',
        `a commit that is malformed or larger than ${formatSize(limits.commitBytes)}: ${info.oid}`,
      );
    if (bytes !== null) look(bytes, commit.oid);
    if (commit.parents.length === 0 && request.quarantine.base !== commit.oid) {
      findings.push({
        severity: 'refuse',
        path: null,
        commit: commit.oid,
        message: 'a history of its own, unrelated to the base, is merged in',
      });
    }
    if (/[\p{Cc}\p{Cf}]/u.test(`${commit.author}${commit.committer}`)) {
      findings.push({
        severity: 'refuse',
        path: null,
        commit: commit.oid,
        message: 'its author or committer has control characters',
      });
    }
    if (/[\p{Cc}--[\n\t\r]]|[\u202a-\u202e\u2066-\u2069]/v.test(commit.message)) {
      findings.push({
        severity: 'note',
        path: null,
        commit: commit.oid,
        message: 'its message has control or bidirectional characters',
      });
    }
    const signed = commit.hasSignature && bytes !== null && ((await request.isSigned?.(bytes)) ?? false);
    commits.push({ ...commit, signed });
  }
  if (objects.some((object) => object.type === 'tag'))
    throw new LimitError(
      'push',
      'a tag object where commits are expected: push the commit that it names, TAG^{commit}',
    );
  return commits;
}

/** A new commit has the base as its parent exactly when the base is an ancestor of the head. */
export function requireDescent(
  { quarantine, head }: PushRequest,
  commits: readonly CommitFacts[],
  findings: Finding[],
): void {
  if (head === quarantine.base || commits.some(({ parents }) => parents.includes(quarantine.base))) return;
  findings.push({
    severity: 'refuse',
    path: null,
    commit: head,
    message: `the pushed branch does not contain the base ${quarantine.base}`,
  });
}
