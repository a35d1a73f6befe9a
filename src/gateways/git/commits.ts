import { isOid } from '../../base/git.ts';

/** What matters of a commit object; everything is the pusher's word. */
export interface CommitFacts {
  readonly oid: string;
  readonly tree: string;
  readonly parents: readonly string[];
  /** As written: `Name <mail> seconds zone`. */
  readonly author: string;
  readonly committer: string;
  /** True when there is a signature; whether it is good is not said here. */
  readonly hasSignature: boolean;
  /** True when it is a good one of the run's own key. */
  readonly signed: boolean;
  readonly message: string;
}

/** Null for what is no well-formed commit. git has run fsck on it; this reads it the same way or not at all. */
export function parseCommit(oid: string, bytes: Buffer): CommitFacts | null {
  const text = bytes.toString('utf8');
  const end = text.indexOf('\n\n');
  const lines = (end < 0 ? text.replace(/\n$/, '') : text.slice(0, end))
    .split('\n')
    .filter((line) => !line.startsWith(' '));
  const take = (name: string) =>
    lines[0]?.startsWith(`${name} `) ? (lines.shift() as string).slice(name.length + 1) : null;
  const tree = take('tree');
  const parents: string[] = [];
  for (let parent = take('parent'); parent !== null; parent = take('parent')) parents.push(parent);
  const author = take('author');
  const committer = take('committer');
  if (tree === null || author === null || committer === null || ![tree, ...parents].every(isOid)) return null;
  // A second header of these would be read by one program and skipped by another.
  if (lines.some((line) => /^(?:tree|parent|author|committer) /.test(line))) return null;
  const hasSignature = lines.some((line) => /^gpgsig(?:-sha256)? /.test(line));
  return {
    oid,
    tree,
    parents,
    author,
    committer,
    hasSignature,
    signed: false,
    message: end < 0 ? '' : text.slice(end + 2),
  };
}

/** The address in an author or committer line, lower case; the whole line when it has none. */
export function mailOf(identity: string): string {
  return (/<([^<>]*)>/.exec(identity)?.[1] ?? identity).trim().toLowerCase();
}
