import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { type Envelope, envelopeShape } from './envelope.ts';
import { base64, count, list, literal, object, type Shape, type Shaped, ShapeError, text } from './shape.ts';
import { parseJson } from './statement.ts';

/**
 * All that it takes to check a statement, but for the public keys: canonical JSON and a newline.
 *
 *   {"envelope":DSSE,"format":"cordon-attestation/1","log":audit proof of the record that holds its digest,"of":bundle|null}
 *
 * `of` is the bundle of the change that a merge repeats. Its git form is a blob with exactly these bytes at
 * `refs/attestations/cordon/<last commit>`.
 */
export const BUNDLE_FORMAT = 'cordon-attestation/1';
export const BUNDLE_REFS = 'refs/attestations/cordon/';
/** Bytes. */
export const MAX_BUNDLE = 9 * 1024 * 1024;

const logProof = object({
  format: literal('cordon-audit-proof/1'),
  seq: count,
  /** Exactly the text that is hashed. */
  record: text(0xffff),
  proof: list(base64(44, 32), 64),
  checkpoint: text(16 * 1024),
});
export type LogProof = Shaped<typeof logProof>;

export interface Bundle {
  readonly format: typeof BUNDLE_FORMAT;
  readonly envelope: Envelope;
  readonly log: LogProof;
  readonly of: Bundle | null;
}

const inner = object({
  format: literal(BUNDLE_FORMAT),
  envelope: envelopeShape,
  log: logProof,
  of: ((value, at) => (value === null ? null : outerOnly(at))) as Shape<null>,
});
const outer = object({
  format: literal(BUNDLE_FORMAT),
  envelope: envelopeShape,
  log: logProof,
  of: (value, at) => (value === null ? null : inner(value, at)),
});

function outerOnly(at: string): never {
  throw new ShapeError(`${at}: expected nothing below it`);
}

export function encodeBundle(bundle: Bundle): Buffer {
  return Buffer.from(`${canonicalJson(bundle as unknown as Json)}\n`);
}

/** Throws `ShapeError` for all but a bundle in its one spelling: no unknown key, no key twice, no white space. */
export function decodeBundle(bytes: Buffer): Bundle {
  if (bytes.length > MAX_BUNDLE) throw new ShapeError(`it has ${bytes.length} bytes, more than ${MAX_BUNDLE}`);
  const bundle = outer(parseJson(bytes.toString()), '');
  if (!encodeBundle(bundle).equals(bytes)) throw new ShapeError('it is not in canonical form');
  return bundle;
}
