import { isUtf8 } from 'node:buffer';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import {
  count,
  list,
  literal,
  nullable,
  object,
  oid,
  runId,
  type Shape,
  type Shaped,
  ShapeError,
  sha256,
  text,
  time,
} from './shape.ts';

/**
 * in-toto Statements v1 (github.com/in-toto/attestation) about delivered commits, as docs/attestation.md describes them. The
 * payload is canonical JSON (RFC 8785): one statement is one text, so that two readers never read two.
 *
 *   subject   for the i-th new commit, oldest first: {"name":"commit/i","digest":{"gitCommit":…}}, {"name":"tree/i","digest":{"gitTree":…}}
 */
const STATEMENT = 'https://in-toto.io/Statement/v1';
/** A push that was permitted. */
export const CHANGE = 'https://cordon.dev/attestation/change/v1';
/** A commit with the tree of one that was. */
export const MERGE = 'https://cordon.dev/attestation/merge/v1';

/** Commits in one push, at most; the git gateway takes no more. */
const MAX_COMMITS = 5_000;
/** Paths named in a statement; the digest covers all. */
export const MAX_PATHS = 1_000;

const change = object({
  /** As docs/attestation.md makes it canonical: `forge.example/acme/app`, or `file:///…` for one on a machine. */
  repository: text(),
  /** Full name. */
  ref: text(1024, /^refs\/heads\/./, 'the full name of a branch'),
  /** Where the ref was; null when the push makes it. */
  before: nullable(oid),
  /** The commit that the change begins at; all subjects are new after it. */
  from: oid,
  fromTree: oid,
  /** The commit that the ref is to be at: the last subject. */
  to: oid,
  run: runId,
  requester: text(256),
  task: object({
    /** Of the task's UTF-8 text; null where there was none in words. */
    digest: nullable(sha256),
    origin: object({ kind: literal('prompt', 'file', 'issue', 'command', 'workflow'), uri: nullable(text()) }),
  }),
  agent: object({ kind: text(64), program: text(), commandDigest: nullable(sha256), model: nullable(text(256)) }),
  sandbox: object({ driver: text(64), isolation: text(64), toolboxDigest: nullable(sha256) }),
  policyDigest: sha256,
  decision: object({
    /** Its index in the log. */
    seq: count,
    effect: literal('permit', 'ask'),
    rules: list(text(), 256),
    subjectDigest: sha256,
    /** For `ask`: how many different people must have said yes. */
    required: count,
  }),
  approvals: list(object({ seq: count, by: text(256), subjectDigest: sha256, at: time }), 64),
  diff: object({ digest: sha256, files: count, paths: list(text(4096 * 4), MAX_PATHS) }),
  sbomDigest: nullable(sha256),
  /** Which key signed the commits; null when none did. */
  signing: nullable(
    object({
      /** Fingerprints as OpenSSH shows them. */
      key: text(128),
      authority: text(128),
      /** When the push was taken, and every commit's signature looked at. */
      verifiedAt: time,
    }),
  ),
  /** The log's origin. */
  log: text(256),
  issuedAt: time,
  /** The push may be made until then. */
  expiresAt: time,
});
export type Change = Shaped<typeof change>;

const merge = object({
  repository: text(),
  ref: text(1024, /^refs\/heads\/./, 'the full name of a branch'),
  /** The first parent of the first subject. */
  from: oid,
  to: oid,
  /** Digest of the envelope whose change this is; its bundle is carried along. */
  of: sha256,
  /** The delivered commit, for people. */
  change: oid,
  requester: text(256),
  log: text(256),
  issuedAt: time,
});
export type Merge = Shaped<typeof merge>;

const subject = object({ name: text(32), digest: (value, at) => digestSet(value, at) });
const commitSet = object({ gitCommit: oid });
const treeSet = object({ gitTree: oid });

function digestSet(value: unknown, at: string): { readonly gitCommit?: string; readonly gitTree?: string } {
  return typeof value === 'object' && value !== null && 'gitTree' in value ? treeSet(value, at) : commitSet(value, at);
}

export interface SubjectCommit {
  readonly commit: string;
  readonly tree: string;
}

interface Common {
  /** New commits, oldest first; at least one. */
  readonly commits: readonly SubjectCommit[];
}
export type Statement =
  | (Common & { readonly type: typeof CHANGE; readonly predicate: Change })
  | (Common & { readonly type: typeof MERGE; readonly predicate: Merge });

export function encodeStatement({ type, commits, predicate }: Statement): Buffer {
  const subjects = commits.flatMap(({ commit, tree }, i) => [
    { name: `commit/${i}`, digest: { gitCommit: commit } },
    { name: `tree/${i}`, digest: { gitTree: tree } },
  ]);
  const document = { _type: STATEMENT, subject: subjects, predicateType: type, predicate };
  return Buffer.from(canonicalJson(document as unknown as Json));
}

/** Throws `ShapeError` for all but a statement of ours in its one spelling. */
export function decodeStatement(payload: Buffer): Statement {
  if (!isUtf8(payload)) throw new ShapeError('the statement is not UTF-8');
  const text = payload.toString();
  const value = parseJson(text);
  const predicateType = (value as { predicateType?: unknown } | null)?.predicateType;
  const { commits, predicate } =
    predicateType === MERGE ? statement(value, MERGE, merge) : statement(value, CHANGE, change);
  const decoded = { type: predicateType, commits, predicate } as Statement;
  if (encodeStatement(decoded).compare(payload) !== 0) throw new ShapeError('the statement is not in canonical form');
  if (commits.at(-1)?.commit !== decoded.predicate.to)
    throw new ShapeError('its last commit is not what it was pushed as');
  return decoded;
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ShapeError('it is not JSON');
  }
}

function statement<P>(value: unknown, type: string, predicate: Shape<P>) {
  const parsed = object({
    _type: literal(STATEMENT),
    subject: list(subject, 2 * MAX_COMMITS),
    predicateType: literal(type),
    predicate,
  })(value, '');
  const { subject: subjects } = parsed;
  if (subjects.length === 0 || subjects.length % 2 !== 0)
    throw new ShapeError('subject: expected commits with their trees');
  const commits: SubjectCommit[] = [];
  for (let i = 0; i < subjects.length; i += 2) {
    const [commit, tree] = [subjects[i]?.digest.gitCommit, subjects[i + 1]?.digest.gitTree];
    if (commit === undefined || tree === undefined)
      throw new ShapeError(`subject[${i}]: expected a commit, then its tree`);
    commits.push({ commit, tree });
  }
  if (new Set(commits.map(({ commit }) => commit)).size < commits.length)
    throw new ShapeError('subject: a commit twice');
  return { commits, predicate: parsed.predicate };
}
