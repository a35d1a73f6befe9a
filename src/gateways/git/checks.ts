import { LimitError } from '../../base/errors.ts';
import { ObjectReader } from '../../base/git-objects.ts';
import { safeText } from '../../base/term.ts';
import type { GitPushAction, PushDependencies } from '../../policy/action.ts';
import { type Changes, inspectChanges, readTreeId } from './changes.ts';
import { type CommitFacts, mailOf } from './commits.ts';
import { readContents } from './contents.ts';
import { SecretScan } from './credentials.ts';
import { newCommits, requireDescent } from './history.ts';
import { changedLines } from './lines.ts';
import type { LockRules } from './lockfiles/inspect.ts';
import { newObjects } from './objects.ts';
import { defaultPushLimits, type PushLimits } from './push-limits.ts';
import type { Quarantine } from './quarantine.ts';
import { TreeError, TreeWalker } from './trees.ts';

export type { PushLimits };

/**
 * Something found in a push. `refuse`: it may not be delivered whatever the policy says. `evidence`: what a fact rests on.
 * All text is printable.
 */
export interface Finding {
  readonly severity: 'refuse' | 'note' | 'evidence';
  readonly path: string | null;
  readonly commit: string | null;
  /** From 1. */
  readonly line?: number;
  readonly message: string;
  /** What an `evidence` is of; absent = credentials. */
  readonly about?: 'dependencies';
}

export interface PushRequest {
  readonly quarantine: Quarantine;
  /** The commit that was pushed. */
  readonly head: string;
  /** As the policy names the repository. */
  readonly repository: string;
  /** Full name of the ref it is to become. */
  readonly ref: string;
  readonly kind?: GitPushAction['kind'];
  /** The name of a secret of this run that the bytes hold, in any encoding; null when they hold none. */
  readonly secretIn?: (bytes: Buffer | string) => string | null;
  /** True for a commit object that this run's own key signed; absent = there is no such key. */
  readonly isSigned?: (commit: Buffer) => Promise<boolean>;
  /** What to hold lock files to; absent = they are not read. */
  readonly locks?: LockRules;
  readonly limits?: Partial<PushLimits>;
}

export interface PushInspection {
  /** For the policy. Null when a limit stopped the inspection: then there is a `refuse` finding that says which. */
  readonly facts: GitPushAction | null;
  readonly findings: readonly Finding[];
  /** New commits, oldest first. */
  readonly commits: readonly CommitFacts[];
  /** Every path that changes, with the first new commit that changes it. */
  readonly touched: ReadonlyMap<string, string>;
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
    return { facts: null, findings, commits: [], touched: new Map() };
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
  const scan = new SecretScan(request.secretIn, findings);
  const look = (bytes: Buffer, commit: string) => scan.commit(bytes, commit);
  const commits = await newCommits(objects, request, limits, reader, look, findings);
  requireDescent(request, commits, findings);
  const walker = new TreeWalker(reader, limits);
  const changes = await inspectChanges({
    commits,
    base: quarantine.base,
    head,
    walker,
    reader,
    limits,
    findings,
  });
  const { touched, contents } = changes;
  const changedPaths = [...touched.keys()];
  scan.names(ref, touched);
  // Not before the walk has bounded the paths: git would follow 10^10 of them.
  const [lines, binaries] = await Promise.all([
    changedLines(request, commits, limits),
    readContents({ blobs, contents, reader, scan, limits }),
  ]);
  const dependencies = await lockfiles(request, { changes, reader, walker, findings });
  const authors = new Set(commits.flatMap((commit) => [mailOf(commit.author), mailOf(commit.committer)]));
  return {
    commits,
    findings,
    touched,
    facts: {
      action: 'git.push',
      repository: request.repository,
      ref,
      kind: request.kind ?? 'create',
      head,
      tag: ref.startsWith('refs/tags/'),
      changedPaths,
      changedLines: lines,
      largestFile: blobs.reduce((largest, blob) => Math.max(largest, blob.size), 0),
      commits: commits.length,
      authors: [...authors].map(safeText).sort(),
      // By the run's own key; a signature of anybody else's, or one that nobody can verify, is none here.
      signed: commits.length > 0 && commits.every((commit) => commit.signed),
      secrets: scan.found,
      ...(binaries.length === 0 ? {} : { binaries }),
      ...(dependencies === null ? {} : { dependencies }),
    },
  };
}

/** Loaded where a policy speaks of packages. */
async function lockfiles(
  { locks, quarantine, head }: PushRequest,
  parts: { changes: Changes; reader: ObjectReader; walker: TreeWalker; findings: Finding[] },
): Promise<PushDependencies | null> {
  if (locks === undefined) return null;
  const { inspectLockfiles } = await import('./lockfiles/inspect.ts');
  const [from, to] = await Promise.all([quarantine.base, head].map((commit) => readTreeId(parts.reader, commit)));
  return inspectLockfiles({ ...locks, ...parts, base: from ?? '', head: to ?? '' });
}
