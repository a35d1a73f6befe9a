import { NoteError, openCheckpoint } from '../audit/checkpoint.ts';
import { leafHash, verifyInclusion } from '../audit/merkle.ts';
import { type Bundle, decodeBundle } from './bundle.ts';
import { envelopeDigest, verifyEnvelope } from './envelope.ts';
import { BrokenLink, demand, type HeldLink, reading } from './links.ts';
import { type IssuedRecord, parseIssuedRecord } from './record.ts';
import {
  CHANGE,
  type Change,
  decodeStatement,
  MERGE,
  type Merge,
  type Statement,
  type SubjectCommit,
} from './statement.ts';
import { isRevoked, type Trust } from './trust.ts';

/** What the caller knows and a proof must agree with; what is left out is only told. */
export interface Expectation {
  /** Canonical. */
  readonly repository?: string;
  /** Full name. */
  readonly ref?: string;
  /** One of these must have decided. */
  readonly policies?: readonly string[];
  /** Milliseconds since 1970 at which the push is being made: the permission must not have run out. */
  readonly deliveringAt?: number;
}

/** A bundle whose signatures, log and statement agree. What it says of commits is still to be compared with them. */
export interface Proof {
  readonly commits: readonly SubjectCommit[];
  readonly change: Change;
  /** The change's own commits: the same, unless this repeats the change as a merge. */
  readonly changed: readonly SubjectCommit[];
  readonly merge: Merge | null;
  readonly record: IssuedRecord;
  /** When the log recorded the permission. */
  readonly permitted: IssuedRecord;
  readonly held: readonly HeldLink[];
}

/** Clocks of one machine may be set; more than that apart, its times contradict each other. Milliseconds. */
const SKEW = 5 * 60 * 1000;

/**
 * Everything that can be said of a bundle without a repository: offline, and with trust in nothing but the public keys.
 * Throws `BrokenLink` for the first link that does not hold; `held` has those before it.
 */
export function verifyBundle(bytes: Buffer, trust: Trust, expected: Expectation, held: HeldLink[] = []): Proof {
  const bundle = reading('bundle', () => decodeBundle(bytes));
  const signed = openSigned(bundle, trust, held);
  const { statement } = signed;
  const proof = statement.type === CHANGE ? ofChange(bundle, signed) : ofMerge(bundle, signed, trust, held);
  checkPermit(proof, held);
  checkPolicy(proof, trust, expected, held);
  checkPlace(proof, expected, held);
  return { ...proof, held };
}

interface Signed {
  readonly statement: Statement;
  readonly record: IssuedRecord;
}

function openSigned(bundle: Bundle, trust: Trust, held: HeldLink[]): Signed {
  const { envelope, log } = bundle;
  const keyid = envelope.signatures[0]?.keyid ?? '';
  const attestor = trust.attestorOf(keyid);
  demand(
    attestor !== null,
    'attestor',
    `it is signed by the key ${keyid || 'of nobody'}, which is not in the public key file`,
  );
  demand(verifyEnvelope(envelope, attestor.publicKey), 'attestor', `the signature of ${keyid} is wrong`);
  const statement = reading('statement', () => decodeStatement(Buffer.from(envelope.payload, 'base64')));
  held.push({ link: 'attestor', text: `signed by the attestor ${keyid}` });

  const size = checkLog(bundle, statement.predicate.log, trust);
  const record = reading('record', () => parseIssuedRecord(log.record));
  checkRecord(record, bundle, statement);
  const moment = { time: record.time, seq: record.seq };
  held.push({
    link: 'inclusion',
    text: `record ${record.seq} of the log ${statement.predicate.log}, in its signed tree of ${size}`,
  });

  const { from, until, revokedFrom } = attestor;
  demand(
    record.time >= from && (until === null || record.time <= until),
    'time',
    `it was logged at ${record.time}; its key counts from ${from} to ${until ?? 'now'}`,
  );
  demand(
    Date.parse(statement.predicate.issuedAt) <= Date.parse(record.time) + SKEW,
    'time',
    `it says ${statement.predicate.issuedAt}, and was logged before that, at ${record.time}`,
  );
  demand(
    !isRevoked(revokedFrom, moment),
    'revocation',
    `the attestor’s key is revoked from ${revokedFrom} on; this was logged at ${record.time} as record ${record.seq}`,
  );
  held.push({ link: 'time', text: `logged at ${record.time}, when that key counted` });
  return { statement, record };
}

/** The size of the tree that the checkpoint signs. */
function checkLog({ log }: Bundle, origin: string, trust: Trust): number {
  const verifier = trust.verifiers.get(origin);
  demand(verifier !== undefined, 'checkpoint', `the log ${origin} is not in the public key file`);
  let tree: ReturnType<typeof openCheckpoint>;
  try {
    tree = openCheckpoint(log.checkpoint, verifier);
  } catch (error) {
    if (error instanceof NoteError) throw new BrokenLink('checkpoint', error.message);
    throw error;
  }
  const pinned = trust.logs.find(({ key }) => key === verifier.vkey)?.pinned ?? null;
  const root = Buffer.from(tree.root).toString('base64');
  demand(
    pinned === null || (tree.size === pinned.size && root === pinned.root),
    'checkpoint',
    `only the checkpoint of ${pinned?.size} records counts of this log, and this one is of ${tree.size}`,
  );
  const hashes = log.proof.map((hash) => Buffer.from(hash, 'base64'));
  const leaf = leafHash(Buffer.from(log.record));
  demand(
    verifyInclusion(leaf, log.seq, tree.size, hashes, tree.root),
    'inclusion',
    `the hashes do not lead from the record to the checkpoint of ${tree.size} records`,
  );
  return tree.size;
}

function checkRecord(record: IssuedRecord, bundle: Bundle, statement: Statement): void {
  const { resource } = record;
  const { repository, ref, to } = statement.predicate;
  demand(
    record.seq === bundle.log.seq,
    'record',
    `it says that it is record ${record.seq}, and stands at ${bundle.log.seq}`,
  );
  demand(resource.envelope === envelopeDigest(bundle.envelope), 'record', `it is of the envelope ${resource.envelope}`);
  const same =
    resource.key === bundle.envelope.signatures[0]?.keyid &&
    resource.predicateType === statement.type &&
    resource.repository === repository &&
    resource.ref === ref &&
    resource.to === to &&
    resource.commits === statement.commits.length;
  demand(same, 'record', 'it says something else than the statement');
}

type Agreed = Omit<Proof, 'held'>;

function ofChange(bundle: Bundle, { statement, record }: Signed): Agreed {
  demand(statement.type === CHANGE && bundle.of === null, 'bundle', 'a permitted change carries another one along');
  const { predicate, commits } = statement;
  demand(
    record.run === predicate.run && record.cause === predicate.decision.seq,
    'record',
    'it is of another run or decision',
  );
  demand(predicate.decision.seq < record.seq, 'time', 'it was logged before it was decided');
  demand(
    record.time <= predicate.expiresAt,
    'expiry',
    `it had run out at ${predicate.expiresAt}, before it was logged`,
  );
  return { commits, change: predicate, changed: commits, merge: null, record, permitted: record };
}

/** A merge repeats a change, whose own proof it carries; both must hold. */
function ofMerge(bundle: Bundle, { statement, record }: Signed, trust: Trust, held: HeldLink[]): Agreed {
  demand(
    statement.type === MERGE && bundle.of !== null,
    'bundle',
    'the merge does not carry the change that it repeats',
  );
  const inner = openSigned(bundle.of, trust, held);
  const { predicate } = statement;
  demand(inner.statement.type === CHANGE, 'bundle', 'it repeats something that is no change');
  demand(
    predicate.of === envelopeDigest(bundle.of.envelope),
    'statement',
    'it repeats another change than the one it carries',
  );
  const agreed = ofChange(bundle.of, inner);
  const { change } = agreed;
  demand(
    predicate.repository === change.repository && predicate.change === change.to,
    'statement',
    'it repeats a change of another repository, or another commit',
  );
  return { ...agreed, commits: statement.commits, merge: predicate, record };
}

function checkPermit({ change, permitted }: Agreed, held: HeldLink[]): void {
  const { decision, approvals } = change;
  const people = new Set<string>();
  for (const { by, subjectDigest, seq, at } of approvals) {
    demand(
      subjectDigest === decision.subjectDigest,
      'permit',
      `the approval of ${by} is for something else (${subjectDigest})`,
    );
    demand(
      seq > decision.seq && seq < permitted.seq && Date.parse(at) <= Date.parse(permitted.time) + SKEW,
      'permit',
      `the approval of ${by} was not given between the decision and the push`,
    );
    people.add(by);
  }
  if (decision.effect === 'permit') {
    demand(
      approvals.length === 0 && decision.required === 0,
      'permit',
      'it was permitted by rule, and has approvals all the same',
    );
    demand(decision.rules.length > 0, 'permit', 'no rule permitted it');
  } else {
    const needed = Math.max(1, decision.required);
    demand(people.size >= needed, 'permit', `it needed ${needed} approvals and has ${people.size}`);
  }
  const by = approvals.map((approval) => `${approval.by} at ${approval.at}`);
  held.push({
    link: 'permit',
    text:
      by.length === 0
        ? `permitted by ${decision.rules.join('; ')}`
        : `approved by ${by.join(' and ')}, for exactly this push`,
  });
}

function checkPolicy({ change, permitted }: Agreed, trust: Trust, { policies }: Expectation, held: HeldLink[]): void {
  const { policyDigest } = change;
  const { time } = permitted;
  demand(policies === undefined || policies.includes(policyDigest), 'policy', `it was judged by ${policyDigest}`);
  const inForce = trust.policies?.some(
    ({ digest, from, until }) => digest === policyDigest && from <= time && (until === null || time < until),
  );
  demand(inForce !== false, 'policy', `${policyDigest} was not in force at ${time}`);
  const told = policies !== undefined || inForce !== undefined;
  held.push({ link: 'policy', text: `under the policy ${policyDigest}${told ? ', which was in force' : ''}` });
  demand(
    !isRevoked(trust.revokedRuns.find(({ run }) => run === change.run)?.revokedFrom ?? null, permitted),
    'revocation',
    `the run ${change.run} is revoked`,
  );
}

function checkPlace({ change, merge }: Agreed, expected: Expectation, held: HeldLink[]): void {
  const { repository, ref } = merge ?? change;
  demand(
    expected.repository === undefined || expected.repository === repository,
    'repository',
    `it is for ${repository}, not for ${expected.repository}`,
  );
  demand(expected.ref === undefined || expected.ref === ref, 'ref', `it is for ${ref}, not for ${expected.ref}`);
  held.push({ link: 'ref', text: `for ${ref} of ${repository}` });
  const { deliveringAt: at } = expected;
  if (at === undefined || merge !== null) return;
  const [from, until] = [Date.parse(change.issuedAt) - SKEW, Date.parse(change.expiresAt)];
  demand(
    at >= from && at <= until,
    'expiry',
    `the push could be made from ${change.issuedAt} to ${change.expiresAt}, and it is ${new Date(at).toISOString()}`,
  );
}
