import type { Attestor } from './attestor.ts';
import { BUNDLE_FORMAT, type Bundle, encodeBundle, type LogProof } from './bundle.ts';
import { envelopeDigest, signEnvelope } from './envelope.ts';
import type { IssuedRecord } from './record.ts';
import { encodeStatement, type Statement } from './statement.ts';

/** What issuing needs of the log. */
export interface IssueLog {
  /** Appends an event `attestation.issued`, durably; resolves with its index. */
  append(resource: IssuedRecord['resource']): Promise<number>;
  /** The record at that index, and that a signed checkpoint covers it. */
  prove(seq: number): Promise<LogProof>;
}

export interface Issued {
  readonly bundle: Bundle;
  readonly bytes: Buffer;
  /** Of the envelope: what the log holds. */
  readonly digest: string;
  readonly seq: number;
}

/** Signs a statement and has the log record it, before anything is done with it. `of`: the bundle that a merge repeats. */
export async function issue(
  statement: Statement,
  attestor: Attestor,
  log: IssueLog,
  of: Bundle | null = null,
): Promise<Issued> {
  const envelope = signEnvelope(encodeStatement(statement), attestor.keyid, attestor.privateKey);
  const { repository, ref, to } = statement.predicate;
  const envelopeIs = envelopeDigest(envelope);
  const seq = await log.append({
    envelope: envelopeIs,
    key: attestor.keyid,
    predicateType: statement.type,
    repository,
    ref,
    to,
    commits: statement.commits.length,
  });
  const bundle: Bundle = { format: BUNDLE_FORMAT, envelope, log: await log.prove(seq), of };
  return { bundle, bytes: encodeBundle(bundle), digest: envelopeIs, seq };
}
