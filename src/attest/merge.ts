import type { Attestor } from './attestor.ts';
import type { Bundle } from './bundle.ts';
import type { Clone } from './clone.ts';
import { envelopeDigest } from './envelope.ts';
import { type Issued, type IssueLog, issue } from './issue.ts';
import { demand } from './links.ts';
import { commitsBetween } from './range.ts';
import { MERGE, type Merge, type SubjectCommit } from './statement.ts';
import type { Proof } from './verify-bundle.ts';
import { checkHistory } from './verify-history.ts';

export interface MergeRequest {
  /** The commit that a forge, or a person, made of the change. */
  readonly to: string;
  /** The commit before the first that was made. */
  readonly from: string;
  /** Full name of the branch it was merged to. */
  readonly ref: string;
  readonly requester: string;
  readonly origin: string;
  readonly issuedAt: string;
}

/**
 * States that commits repeat a permitted change: squashed, rebased or merged, from the same tree to the same tree. All that a
 * verifier will look at is looked at first. Throws `BrokenLink` when it is not so.
 */
export async function issueMerge(
  clone: Clone,
  change: { readonly bundle: Bundle; readonly proof: Proof },
  request: MergeRequest,
  attestor: Attestor,
  log: IssueLog,
): Promise<Issued> {
  const { proof, bundle } = change;
  const { to, from, ref, requester, origin, issuedAt } = request;
  const predicate: Merge = {
    repository: proof.change.repository,
    ref,
    from,
    to,
    of: envelopeDigest(bundle.envelope),
    change: proof.change.to,
    requester,
    log: origin,
    issuedAt,
  };
  const commits = await newCommits(clone, proof, from, to);
  await checkHistory({ ...proof, commits, merge: predicate }, clone);
  return issue({ type: MERGE, commits, predicate }, attestor, log, bundle);
}

async function newCommits(
  clone: Clone,
  { changed }: Proof,
  from: string,
  to: string,
): Promise<readonly SubjectCommit[]> {
  const known = new Set(changed.map(({ commit }) => commit));
  demand(!known.has(to), 'commit', `${to} is a commit of the change itself, and needs no further proof`);
  const listed = (await commitsBetween(clone, from, to)).filter((oid) => !known.has(oid));
  const objects = await Promise.all(listed.map((oid) => clone.commit(oid)));
  const commits = objects.flatMap((object) => (object === null ? [] : [{ commit: object.oid, tree: object.tree }]));
  demand(commits.at(-1)?.commit === to, 'range', `${to} does not follow ${from}`);
  return commits;
}
