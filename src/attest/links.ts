import { ShapeError } from './shape.ts';

/** The links of the chain from a commit to the people and keys behind it, and what it means when one is broken. */
export const links = {
  found: 'nobody has shown that this commit was authorised',
  bundle: 'the proof is not one that Cordon wrote: it was damaged, or made by hand',
  attestor: 'whoever signed this proof is not somebody you trust, or the proof was changed after it was signed',
  statement: 'the signed text is not a statement that can be read in only one way',
  checkpoint: 'the log that the proof names did not sign this checkpoint: it is another log’s, or a forged one',
  inclusion: 'the record is not in the log: the log was edited, or the proof belongs to another record',
  record: 'the log recorded another statement than this one',
  time: 'the statement was not signed when its key counted, or its times contradict the log’s',
  revocation: 'the key or the run was revoked before the log recorded this',
  permit: 'the policy did not permit this push, or not without approvals that are missing',
  policy: 'the push was judged by another policy than the one that was to be in force',
  expiry: 'the permission had run out: an old proof is being used again',
  repository: 'the proof is for another repository: it is being used where it does not belong',
  ref: 'the proof is for another branch: the commit was not authorised to be there',
  commit: 'this commit is not the one that was authorised, or its object was changed in this clone',
  range: 'the history is not the one that was authorised: commits were added, left out or put on another base',
  change: 'what changed is not what was judged',
  signature: 'the commit’s own signature is not one that the run’s key made while it counted',
} as const;
export type LinkName = keyof typeof links;

export interface HeldLink {
  readonly link: LinkName;
  /** What holds, for a person; made of checked values, to be shown escaped. */
  readonly text: string;
}

/** A link that does not hold. */
export class BrokenLink extends Error {
  readonly link: LinkName;
  constructor(link: LinkName, message: string) {
    super(message);
    this.link = link;
  }
}

export function demand(holds: boolean, link: LinkName, message: string): asserts holds {
  if (!holds) throw new BrokenLink(link, message);
}

/** Reads something that must have a shape; what has not breaks the link. */
export function reading<T>(link: LinkName, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ShapeError) throw new BrokenLink(link, error.message);
    throw error;
  }
}
