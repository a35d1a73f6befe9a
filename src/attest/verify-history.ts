import type { Clone, CommitObject } from './clone.ts';
import type { TreeDiff } from './diff.ts';
import { demand } from './links.ts';
import { MAX_PATHS } from './statement.ts';
import type { Proof } from './verify-bundle.ts';

const MISSING = 'this clone does not have it: fetch it (git fetch --unshallow, where the clone is shallow)';

/**
 * Compares what a proof says of commits with the commits: each has the tree that was stated, and together they are all that
 * is new between the stated ends. Only bytes that were hashed are believed. Throws `BrokenLink`.
 */
export async function checkHistory(proof: Proof, clone: Clone): Promise<void> {
  await checkCommits(proof.commits, clone);
  const { change, changed, commits, merge } = proof;
  if (merge === null) {
    await checkEnds(commits, change.from, new Set(), clone);
    const from = await clone.commit(change.from);
    demand(
      from === null || from.tree === change.fromTree,
      'range',
      `${change.from} has the tree ${from?.tree}, not the one that was judged`,
    );
    return;
  }
  await checkEnds(commits, merge.from, new Set(changed.map(({ commit }) => commit)), clone);
  await checkMerge(proof, merge.from, clone);
}

async function checkCommits(commits: Proof['commits'], clone: Clone): Promise<void> {
  const found = await Promise.all(commits.map(({ commit }) => clone.commit(commit)));
  found.forEach((commit, i) => {
    const stated = commits[i] as Proof['commits'][number];
    demand(commit !== null, 'range', `it also covers ${stated.commit}, and ${MISSING}`);
    demand(
      commit.tree === stated.tree,
      'commit',
      `${stated.commit} has the tree ${commit.tree}, and ${stated.tree} was authorised`,
    );
  });
}

/** Every parent of a stated commit is stated, or `from`, or older than that; and `from` is one of them. */
async function checkEnds(
  commits: Proof['commits'],
  from: string,
  known: ReadonlySet<string>,
  clone: Clone,
): Promise<void> {
  const stated = new Set(commits.map(({ commit }) => commit));
  const objects = (await Promise.all([...stated].map((oid) => clone.commit(oid)))) as CommitObject[];
  const outside = new Set(
    objects.flatMap(({ parents }) => parents).filter((oid) => !stated.has(oid) && !known.has(oid)),
  );
  demand(outside.delete(from), 'range', `none of its commits follows ${from}, where it is said to begin`);
  const last = objects.at(-1) as CommitObject;
  const reached = reachable(last.oid, new Map(objects.map((commit) => [commit.oid, commit])));
  demand(reached === stated.size, 'range', `it covers ${stated.size} commits, of which ${last.oid} has ${reached}`);
  if (outside.size === 0) return;
  demand(
    await clone.descends(from, outside),
    'range',
    `it leaves out commits between ${from} and its end: ${[...outside][0]}`,
  );
}

function reachable(start: string, commits: ReadonlyMap<string, CommitObject>): number {
  const seen = new Set([start]);
  for (const oid of seen)
    for (const parent of commits.get(oid)?.parents ?? []) if (commits.has(parent)) seen.add(parent);
  return seen.size;
}

/** What a merge brings is what the change brought: from the same tree, through trees that were judged, to the same tree. */
async function checkMerge({ change, changed, commits }: Proof, from: string, clone: Clone): Promise<void> {
  const base = await clone.commit(from);
  demand(base !== null, 'range', `it begins at ${from}, and ${MISSING}`);
  demand(
    base.tree === change.fromTree,
    'range',
    `${from} is not the state that the change was made on: merging by tree would undo what came after`,
  );
  const trees = new Set(changed.map(({ tree }) => tree));
  const other = commits.find(({ tree }) => !trees.has(tree));
  demand(other === undefined, 'change', `${other?.commit} has a tree that was not judged`);
  demand(commits.at(-1)?.tree === changed.at(-1)?.tree, 'change', 'it ends with another tree than the change');
}

export function treesOf({ change, changed }: Proof): { readonly from: string; readonly to: string } {
  return { from: change.fromTree, to: changed.at(-1)?.tree ?? '' };
}

/** The listing of what changed is the one that was judged. */
export function checkDiff({ change: { diff } }: Proof, found: TreeDiff): void {
  demand(
    found.digest === diff.digest,
    'change',
    `what changed has the digest ${found.digest}, and ${diff.digest} was judged`,
  );
  const paths = found.paths.slice(0, MAX_PATHS);
  const same =
    diff.files === found.paths.length &&
    diff.paths.length === paths.length &&
    paths.every((path, i) => path === diff.paths[i]);
  demand(same, 'change', 'it names other files than those that changed');
}
