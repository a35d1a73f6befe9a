import { BUNDLE_REFS } from './bundle.ts';
import type { Clone } from './clone.ts';
import { demand } from './links.ts';
import { subjectsOf } from './subjects.ts';

/**
 * Refs of a push where proofs lie hold proofs of the commit that they name, and nothing else: a commit that came in there would be
 * known to the repository, and new to no branch it goes to later. What the proofs are worth is judged with the commits. Throws
 * `BrokenLink`.
 */
export async function checkProofs(clone: Clone, pushed: ReadonlyMap<string, readonly string[]>): Promise<void> {
  for (const [commit, oids] of pushed) {
    for (const oid of oids) {
      const bytes = (await clone.typeOf(oid)) === 'blob' ? await clone.blob(oid) : null;
      demand(
        bytes !== null && subjectsOf(bytes).includes(commit),
        'bundle',
        `what ${BUNDLE_REFS}${commit} is set to (${oid}) is no proof of that commit: only proofs lie there`,
      );
    }
  }
}

/** A file or a folder under a ref has no proof, and a replacement is read in the place of what was proven. Throws `BrokenLink`. */
export async function checkNamesCommit(clone: Clone, ref: string, oid: string): Promise<void> {
  demand(!ref.startsWith('refs/replace/'), 'ref', `${ref} would put ${oid} in the place of an object that is there`);
  const type = await clone.typeOf(oid);
  demand(
    type === 'commit',
    'commit',
    `${ref} is set to ${oid}, which is ${type ?? 'not there'}: only commits can be proven`,
  );
}
