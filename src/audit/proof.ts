import * as z from 'zod';
import { AuditInvalidError, NotFoundError } from '../base/errors.ts';
import { strictJsonParse } from '../base/strict-json.ts';
import { NoteError, openCheckpoint, parseVerifierKey } from './checkpoint.ts';
import type { AuditEvent } from './event.ts';
import { openTree, withFrozenTiles } from './live-tree.ts';
import { HASH_BYTES, inclusionProof, leafHash, verifyInclusion } from './merkle.ts';
import { readEvent } from './read.ts';
import { checkRecord } from './record-check.ts';

/** That one record stands in the log at its place, in one document that needs nothing but the public key to check. */
export const proofSchema = z.strictObject({
  format: z.literal('cordon-audit-proof/1'),
  seq: z.int().nonnegative(),
  /** Exactly the text that is hashed. */
  record: z.string(),
  /** From the leaf's sibling up to the root's child, RFC 6962 section 2.1.1; base64. */
  proof: z.array(z.base64()).max(64),
  /** The signed checkpoint that the proof leads to. */
  checkpoint: z.string(),
});
export type AuditProof = z.infer<typeof proofSchema>;

/** Throws `NotFoundError` when there is no such record, `AuditInvalidError` when the log cannot prove it. */
export async function proveRecord(dir: string, vkey: string, seq: number): Promise<AuditProof> {
  const proof = await withFrozenTiles(dir, async (): Promise<AuditProof> => {
    const tree = openTree(dir, vkey);
    const stored = tree !== null && seq < tree.size ? readEvent(dir, seq) : null;
    if (tree === null || stored === null) {
      throw new NotFoundError(`the audit log has no record ${seq}: it has ${tree?.size ?? 0} records, counted from 0`, {
        remedy: 'cordon audit tail tells the last numbers',
      });
    }
    const path = await inclusionProof(tree.subtree, seq, tree.size);
    return {
      format: 'cordon-audit-proof/1',
      seq,
      record: stored.record.toString(),
      proof: path.map((hash) => Buffer.from(hash).toString('base64')),
      checkpoint: tree.note,
    };
  });
  verifyProof(proof, vkey); // a proof that does not hold is worse than none: the log's own files may have been changed
  return proof;
}

/** The hashes of a proof; null when one is not 32 bytes in base64's one spelling. */
export function decodeProof(proof: readonly string[]): Buffer[] | null {
  const hashes = proof.map((text) => Buffer.from(text, 'base64'));
  return hashes.every((hash, i) => hash.length === HASH_BYTES && hash.toString('base64') === proof[i]) ? hashes : null;
}

/** Offline. The event that is proven; throws `AuditInvalidError` saying what does not hold. */
export function verifyProof(proof: AuditProof, vkey: string): { event: AuditEvent; size: number } {
  const invalid = (message: string, cause?: unknown) =>
    new AuditInvalidError(`the proof of record ${proof.seq} does not hold: ${message}`, { cause });
  try {
    const { size, root } = openCheckpoint(proof.checkpoint, parseVerifierKey(vkey));
    const record = Buffer.from(proof.record);
    const hashes = decodeProof(proof.proof);
    if (hashes === null || !verifyInclusion(leafHash(record), proof.seq, size, hashes, root)) {
      throw invalid(`its hashes do not lead from the record to the checkpoint of ${size} records`);
    }
    const check = checkRecord(record, proof.seq);
    if (!check.ok) throw invalid(`the record ${check.message}`);
    return { event: check.event, size };
  } catch (cause) {
    if (cause instanceof NoteError) throw invalid(`its checkpoint cannot be used: ${cause.message}`, cause);
    throw cause;
  }
}

/** Reads a proof document. Throws `AuditInvalidError` for anything else. */
export function parseProof(text: string): AuditProof {
  try {
    return proofSchema.parse(strictJsonParse(text));
  } catch (cause) {
    throw new AuditInvalidError('this is not a proof as "cordon audit prove" writes it', { cause });
  }
}
