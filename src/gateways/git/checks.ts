import { join } from 'node:path';
import { CordonError, LimitError } from '../../base/errors.ts';
import { git, gitFailure, isOid } from '../../base/git.ts';
import { type ObjectInfo, ObjectReader } from '../../base/git-objects.ts';
import { credentialIn } from '../../base/redact/shapes.ts';
import { formatSize } from '../../base/size.ts';
import { safeText } from '../../base/term.ts';
import type { GitPushAction } from '../../policy/action.ts';
import { inspectChanges } from './changes.ts';
import { type CommitFacts, mailOf, parseCommit } from './commits.ts';
import { allText, type Quarantine } from './quarantine.ts';
import { TreeError, TreeWalker } from './trees.ts';

/** Something found in a push. `refuse`: it may not be delivered whatever the policy says. All text is printable. */
export interface Finding {
  readonly severity: 'refuse' | 'note';
  readonly path: string | null;
  readonly commit: string | null;
  readonly message: string;
}

export interface PushLimits {
  /** New objects, of all types. */
  readonly objects: number;
  readonly commits: number;
  /** Bytes of all new objects, inflated. */
  readonly bytes: number;
  /** Bytes of one file; the policy's own limit is lower. */
  readonly fileBytes: number;
  /** Bytes of one commit object, its message included. */
  readonly commitBytes: number;
  /** Paths that differ, over all commits together. */
  readonly changedPaths: number;
  readonly treeBytes: number;
  readonly depth: number;
  readonly pathBytes: number;
  /** Milliseconds for any one step. */
  readonly time: number;
}

const MiB = 1024 * 1024;

export const defaultPushLimits: PushLimits = {
  objects: 200_000,
  commits: 5_000,
  bytes: 2048 * MiB,
  fileBytes: 256 * MiB,
  commitBytes: 1 * MiB,
  changedPaths: 100_000,
  treeBytes: 16 * MiB,
  depth: 256,
  pathBytes: 4096,
  time: 120_000,
};

export interface PushRequest {
  readonly quarantine: Quarantine;
  /** The commit that was pushed. */
  readonly head: string;
  /** As the policy names the repository. */
  readonly repository: string;
  /** Full name of the ref it is to become. */
  readonly ref: string;
  readonly kind?: GitPushAction['kind'];
  readonly limits?: Partial<PushLimits>;
}

export interface PushInspection {
  /** For the policy. Null when a limit stopped the inspection: then there is a `refuse` finding that says which. */
  readonly facts: GitPushAction | null;
  readonly findings: readonly Finding[];
  /** New commits, oldest first. */
  readonly commits: readonly CommitFacts[];
}

/**
 * Reads everything new in a push: each commit and what it changes against its first parent, not only where the
 * whole ends up, so that nothing can pass through history unseen. All objects are hostile: sizes are looked up before
 * content is read, trees are walked in our own code up to a bound, and git runs as plumbing on our own configuration.
 *
 * Throws only when git itself cannot be run; what the pusher did wrong is a finding.
 */
export async function inspectPush(request: PushRequest): Promise<PushInspection> {
  const limits = { ...defaultPushLimits, ...request.limits };
  const findings: Finding[] = [];
  const reader = new ObjectReader(request.quarantine.place);
  try {
    return await inspect(request, limits, reader, findings);
  } catch (error) {
    if (!(error instanceof LimitError) && !(error instanceof TreeError)) throw error;
    findings.push({ severity: 'refuse', path: null, commit: null, message: `the push has ${error.message}` });
    return { facts: null, findings, commits: [] };
  } finally {
    reader.close();
  }
}

async function inspect(
  request: PushRequest,
  limits: PushLimits,
  reader: ObjectReader,
  findings: Finding[],
): Promise<PushInspection> {
  const { quarantine, head, ref } = request;
  const objects = await newObjects(request, limits, reader);
  const blobs = objects.filter((object) => object.type === 'blob');
  const commits = await newCommits(objects, request, limits, reader, findings);
  await requireDescent(request, findings);
  const walker = new TreeWalker(reader, limits);
  const changedPaths = await inspectChanges({ commits, base: quarantine.base, head, walker, reader, limits, findings });
  const secrets = await findCredentials(blobs, commits, reader, findings);
  const authors = new Set(commits.flatMap((commit) => [mailOf(commit.author), mailOf(commit.committer)]));
  return {
    commits,
    findings,
    facts: {
      action: 'git.push',
      repository: request.repository,
      ref,
      kind: request.kind ?? 'create',
      tag: ref.startsWith('refs/tags/'),
      changedPaths,
      changedLines: await changedLines(request, commits, limits),
      largestFile: blobs.reduce((largest, blob) => Math.max(largest, blob.size), 0),
      commits: commits.length,
      authors: [...authors].map(safeText).sort(),
      // No key of a run signs yet; a signature that nobody has verified is none.
      signed: false,
      secrets,
    },
  };
}

/** Ids, types and sizes of what is reachable from the head and not from the base. Throws `LimitError`. */
async function newObjects(
  request: PushRequest,
  limits: PushLimits,
  reader: ObjectReader,
): Promise<readonly ObjectInfo[]> {
  const { quarantine, head } = request;
  const args = ['rev-list', '--objects', '--no-object-names', head, '--not', quarantine.base];
  const listing = await git(quarantine.place, args, {
    timeout: limits.time,
    maxOutput: (limits.objects + 1) * 65,
  }).catch((cause: unknown) => {
    if (!(cause instanceof CordonError)) throw cause;
    throw new LimitError(
      'push',
      `more than ${limits.objects} objects, or takes longer than ${limits.time} ms to list`,
      { cause },
    );
  });
  if (listing.exitCode !== 0) {
    throw new LimitError('push', 'objects that are missing or malformed', {
      cause: gitFailure(quarantine.place, args, listing),
    });
  }
  const oids = listing.stdout.toString('latin1').split('\n').filter(isOid);
  if (oids.length > limits.objects) throw new LimitError('push', `more than ${limits.objects} objects`);
  const infos = await Promise.all(oids.map((oid) => reader.info(oid)));
  const objects = infos.filter((info) => info !== null);
  const total = objects.reduce((sum, object) => sum + object.size, 0);
  const largest = objects.find(
    (object) =>
      object.size > (object.type === 'blob' ? limits.fileBytes : Math.max(limits.treeBytes, limits.commitBytes)),
  );
  if (objects.length < oids.length) throw new LimitError('push', 'objects that are missing');
  if (total > limits.bytes)
    throw new LimitError('push', `${formatSize(total)} of objects; at most ${formatSize(limits.bytes)} are taken`);
  if (largest !== undefined) throw new LimitError('push', `one ${largest.type} of ${formatSize(largest.size)}`);
  return objects;
}

async function newCommits(
  objects: readonly ObjectInfo[],
  request: PushRequest,
  limits: PushLimits,
  reader: ObjectReader,
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
    commits.push(commit);
  }
  if (objects.some((object) => object.type === 'tag'))
    throw new LimitError('push', 'a tag object where commits are expected');
  return commits;
}

async function requireDescent({ quarantine, head }: PushRequest, findings: Finding[]): Promise<void> {
  const result = await git(quarantine.place, ['merge-base', '--is-ancestor', quarantine.base, head], {
    timeout: 60_000,
  });
  if (result.exitCode !== 0) {
    findings.push({
      severity: 'refuse',
      path: null,
      commit: head,
      message: `the pushed branch does not contain the base ${quarantine.base}`,
    });
  }
}

/**
 * Lines added and removed, summed over every commit against its first parent. Everything counts as text:
 * one NUL byte in a file would make git call it binary and count nothing (`--text` does not reach the counting).
 */
async function changedLines(
  { quarantine }: PushRequest,
  commits: readonly CommitFacts[],
  limits: PushLimits,
): Promise<number> {
  const pairs = commits
    .filter((commit) => commit.parents.length > 0)
    .map((commit) => `${commit.oid} ${commit.parents[0]}\n`);
  if (pairs.length === 0) return 0;
  const args = [
    'diff-tree',
    '--stdin',
    '-r',
    '--numstat',
    '--no-renames',
    '--no-ext-diff',
    '--no-textconv',
    '--no-color',
  ];
  const options = {
    stdin: pairs.join(''),
    timeout: limits.time,
    maxOutput: 256 * MiB,
    config: [
      `core.bigFileThreshold=${limits.fileBytes + 1}`,
      'core.quotePath=true',
      `core.attributesFile=${join(quarantine.place.gitDir, allText)}`,
    ],
  };
  const result = await git(quarantine.place, args, options).catch((cause: unknown) => {
    if (!(cause instanceof CordonError)) throw cause;
    throw new LimitError('push', 'changes whose lines cannot be counted in time', { cause });
  });
  if (result.exitCode !== 0)
    throw new LimitError('push', 'changes that git cannot compare', {
      cause: gitFailure(quarantine.place, args, result),
    });
  let lines = 0;
  for (const line of result.stdout.toString('latin1').split('\n')) {
    const counts = /^(\d+)\t(\d+)\t/.exec(line);
    if (counts !== null) lines += Number(counts[1]) + Number(counts[2]);
  }
  return lines;
}

const SCANNED_FILE = 8 * MiB;

async function findCredentials(
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
