import { isOid } from '../../base/git.ts';

/** Bytes of a commit that may be signed; more than inspectPush takes would never be delivered. */
export const MAX_PAYLOAD = 1024 * 1024;
/** Seconds by which a date may lie outside the run: clocks are read before and after one another. */
const TOLERANCE = 120;
const MAX_PARENTS = 64;

/** Whoever stands in an author or committer line. */
export interface Identity {
  /** The whole line behind the header's name. */
  readonly line: string;
  readonly mail: string;
  /** Seconds since 1970. */
  readonly seconds: number;
}

/** A commit that is to be signed: the object as it will be, without its signature. Everything is the guest's word. */
export interface SignPayload {
  readonly tree: string;
  readonly parents: readonly string[];
  readonly author: Identity;
  readonly committer: Identity;
}

/** Why it is not signed; ends in a sentence that git shows. */
export class SignRefusal extends Error {}

const IDENTITY = /^(?:[^\s<>][^<>\p{Cc}]* )?<([^<>\p{Cc}]*)> (0|[1-9]\d{0,11}) [+-]\d{4}$/u;

/**
 * Reads exactly what `git commit` makes: tree, parents, author, committer, then at most an encoding and the tags that are
 * merged, an empty line and the message. Anything else is refused, so that a signature of a run never stands on what another
 * program would read as something other than this commit. Throws `SignRefusal`.
 */
export function parseSignPayload(bytes: Buffer, format: 'sha1' | 'sha256'): SignPayload {
  if (bytes.length > MAX_PAYLOAD) throw new SignRefusal(`it is larger than ${MAX_PAYLOAD} bytes`);
  const blank = bytes.indexOf('\n\n');
  if (/^object [0-9a-f]+\ntype /.test(bytes.toString('latin1', 0, 100)))
    throw new SignRefusal('it is a tag; only commits are signed here');
  if (blank < 0 || !bytes.subarray(0, 5).equals(Buffer.from('tree '))) throw new SignRefusal('it is not a commit');
  if (bytes.includes(0)) throw new SignRefusal('the commit has NUL bytes');
  const head = bytes.toString('utf8', 0, blank);
  if (Buffer.byteLength(head) !== blank || head.includes('\ufffd'))
    throw new SignRefusal('the headers of the commit are not UTF-8');
  const lines = head.split('\n');
  const oid = (text: string, what: string) => {
    if (!isOid(text) || text.length !== (format === 'sha1' ? 40 : 64))
      throw new SignRefusal(`its ${what} is not an id of this repository`);
    return text;
  };
  const take = (name: string) => {
    const line = lines.shift();
    if (!line?.startsWith(`${name} `)) throw new SignRefusal(`it is not a commit: no ${name} where one is expected`);
    return line.slice(name.length + 1);
  };
  const tree = oid(take('tree'), 'tree');
  const parents: string[] = [];
  while (lines[0]?.startsWith('parent ')) parents.push(oid(take('parent'), 'parent'));
  if (parents.length > MAX_PARENTS || new Set(parents).size < parents.length)
    throw new SignRefusal('it has one parent twice, or too many');
  const [author, committer] = [identity(take('author'), 'author'), identity(take('committer'), 'committer')];
  refuseOtherHeaders(lines);
  return { tree, parents, author, committer };
}

function identity(line: string, what: string): Identity {
  const [, mail, seconds] = IDENTITY.exec(line) ?? [];
  if (mail === undefined || line.length > 1000) throw new SignRefusal(`its ${what} is malformed`);
  return { line, mail: mail.trim().toLowerCase(), seconds: Number(seconds) };
}

function refuseOtherHeaders(lines: readonly string[]): void {
  let within = '';
  const seen = new Set<string>();
  for (const line of lines) {
    if (line.startsWith(' ') && within === 'mergetag') continue;
    within = line.split(' ', 1)[0] as string;
    if (within.startsWith('gpgsig')) throw new SignRefusal('it has a signature already');
    if (within === 'encoding' && !seen.has(within) && /^encoding [\w.:-]{1,40}$/.test(line)) seen.add(within);
    else if (within !== 'mergetag' || !/^mergetag object [0-9a-f]+$/.test(line))
      throw new SignRefusal(`it has a header that git does not write: ${JSON.stringify(within.slice(0, 40))}`);
  }
}

export interface SignSurroundings {
  /** Milliseconds since 1970. */
  readonly started: number;
  readonly now: number;
  /** True for a commit of the history that the run was given, and for one it signed before. */
  known(oid: string): Promise<boolean>;
  /** True for an author line of that history: a commit that is picked or amended keeps its author and date. */
  authored(line: string): Promise<boolean>;
}

/** Whether the commit can have been made in this run, now. Throws `SignRefusal`. */
export async function requireOfThisRun(payload: SignPayload, where: SignSurroundings): Promise<void> {
  const { author, committer, parents } = payload;
  if (parents.length === 0) throw new SignRefusal('it begins a history of its own; commits here go on from the base');
  for (const parent of parents) {
    if (await where.known(parent)) continue;
    throw new SignRefusal(
      `its parent ${parent.slice(0, 12)} is not known: it is neither of the history this run was given nor signed in it; sign that one first (git commit --amend -S, or git rebase with --gpg-sign)`,
    );
  }
  const [from, to] = [Math.floor(where.started / 1000) - TOLERANCE, Math.floor(where.now / 1000) + TOLERANCE];
  const within = ({ seconds }: Identity) => from <= seconds && seconds <= to;
  if (!within(committer)) throw new SignRefusal('its committer’s date is not within this run');
  if (!within(author) && !(await where.authored(author.line)))
    throw new SignRefusal('its author’s date is not within this run, nor that of a commit which is picked or amended');
}
