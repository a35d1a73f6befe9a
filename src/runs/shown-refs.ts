/** What of the repository a run may fetch beside the branch that it starts from: `git.fetch.refs`. */
import { PolicyDeniedError } from '../base/errors.ts';
import { gitText, isOid } from '../base/git.ts';
import { decide, type EffectivePolicy } from '../policy/index.ts';
import type { Repository } from './workspace.ts';

/** A branch or tag of the repository as it was when the run began. */
export interface ShownRef {
  /** Full name. */
  readonly name: string;
  /** What it points to: a commit, or an annotated tag of one. */
  readonly oid: string;
  readonly commit: string;
}

/** Each is a line in what a fetch is told, and a tip that history is walked from. */
const MOST = 1_000;

/**
 * The refs that the policy permits as they are: one that it asks about is not shown. `branch` is the name that the base goes by, and
 * is not among them. Throws `PolicyDeniedError` when they are too many.
 */
export async function shownRefs(repository: Repository, branch: string, policy: EffectivePolicy): Promise<ShownRef[]> {
  if (!policy.git.fetch.more) return [];
  const base = `refs/heads/${branch}`;
  const shown = (await everyRef(repository)).filter(({ name }) => {
    // One name cannot be a folder of the other.
    if (name === base || name.startsWith(`${base}/`) || base.startsWith(`${name}/`)) return false;
    return (
      decide(policy, { action: 'git.fetch', repository: repository.name, ref: name, base: false }).effect === 'permit'
    );
  });
  if (shown.length <= MOST) return shown;
  throw new PolicyDeniedError(`git.fetch.refs shows ${shown.length} branches and tags, more than ${MOST}`, [], {
    remedy: 'name fewer: a longer prefix, or the ones that are needed',
  });
}

/** Sorted by the bytes of their names. What does not lead to a commit is left out. */
async function everyRef(repository: Repository): Promise<ShownRef[]> {
  const format = '%(refname)%00%(objectname)%00%(objecttype)%00%(*objectname)%00%(*objecttype)';
  const args = ['for-each-ref', `--format=${format}`, 'refs/heads', 'refs/tags'];
  const text = await gitText({ gitDir: repository.commonDir }, args, { maxOutput: 256 * 1024 ** 2 });
  return text.split('\n').flatMap((line) => {
    const [name = '', oid = '', type, peeled = '', peeledType] = line.split('\0');
    const commit = type === 'commit' ? oid : peeledType === 'commit' ? peeled : '';
    return isOid(oid) && isOid(commit) ? [{ name, oid, commit }] : [];
  });
}
