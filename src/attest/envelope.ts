import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { canonicalJson } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import { base64, list, literal, object, type Shaped, sha256 } from './shape.ts';

/**
 * DSSE envelopes (github.com/secure-systems-lab/dsse, protocol 1.0.0) around in-toto statements, with one Ed25519 signature:
 *
 *   {"payload":base64,"payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":…,"sig":base64}]}
 *   signed    "DSSEv1 " ‖ len(type) ‖ " " ‖ type ‖ " " ‖ len(payload) ‖ " " ‖ payload     (lengths in bytes, decimal)
 *   keyid     sha256: of the public key's SubjectPublicKeyInfo in DER: what `openssl pkey -pubout -outform DER` writes
 */
const PAYLOAD_TYPE = 'application/vnd.in-toto+json';

/** Characters of base64: a statement about the 5,000 commits that one push may have stays below. */
const MAX_PAYLOAD = 4 * 1024 * 1024;

export const envelopeShape = object({
  payload: base64(MAX_PAYLOAD),
  payloadType: literal(PAYLOAD_TYPE),
  signatures: list(object({ keyid: sha256, sig: base64(128, 64) }), 1),
});
export type Envelope = Shaped<typeof envelopeShape>;

export function keyId(publicKey: KeyObject): string {
  return digest(publicKey.export({ type: 'spki', format: 'der' }));
}

/** DER in front of a raw Ed25519 public key, RFC 8410 section 4. */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');

/** The key of 44 bytes of SubjectPublicKeyInfo; null for anything but an Ed25519 key in its one form. */
export function publicKeyOf(spki: Uint8Array): KeyObject | null {
  const bytes = Buffer.from(spki);
  if (bytes.length !== SPKI.length + 32 || !bytes.subarray(0, SPKI.length).equals(SPKI)) return null;
  try {
    return createPublicKey({ key: bytes, format: 'der', type: 'spki' });
  } catch {
    return null;
  }
}

/** Pre-authentication encoding: type and payload, each with its length, so that neither can pass for part of the other. */
function encoded(payload: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `), payload]);
}

export function signEnvelope(payload: Uint8Array, keyid: string, privateKey: KeyObject): Envelope {
  const sig = sign(null, encoded(payload), privateKey).toString('base64');
  return {
    payload: Buffer.from(payload).toString('base64'),
    payloadType: PAYLOAD_TYPE,
    signatures: [{ keyid, sig }],
  };
}

export function verifyEnvelope(envelope: Envelope, publicKey: KeyObject): boolean {
  const [signature] = envelope.signatures;
  if (signature === undefined || signature.keyid !== keyId(publicKey)) return false;
  return verify(
    null,
    encoded(Buffer.from(envelope.payload, 'base64')),
    publicKey,
    Buffer.from(signature.sig, 'base64'),
  );
}

/** What the log holds of an envelope: it covers the signature and the key's id as well. */
export function envelopeDigest(envelope: Envelope): string {
  return digest(canonicalJson(envelope));
}
