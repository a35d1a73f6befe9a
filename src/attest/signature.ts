import type { CommitObject } from './clone.ts';
import { BrokenLink, demand } from './links.ts';
import { certificateProblem } from './ssh/certificate.ts';
import { splitCommit } from './ssh/commit.ts';
import { fingerprint, parsePublicKeyLine } from './ssh/keys.ts';
import { parseSshSignature, verifyMessage } from './ssh/sshsig.ts';
import { SshFormatError } from './ssh/wire.ts';
import type { Trust } from './trust.ts';
import type { Proof } from './verify-bundle.ts';

/**
 * Checks a commit's own signature: made by the key that the statement names, whose certificate is the run's, of an authority
 * that is trusted, good when Cordon took the push (which the log bounds; the commit's own date is its author's word), and not
 * revoked. Returns what holds, for a person. Throws `BrokenLink`.
 */
export function checkSignature(
  commit: CommitObject,
  proof: Proof,
  signing: NonNullable<Proof['change']['signing']>,
  format: 'sha1' | 'sha256',
  trust: Trust,
): string {
  try {
    checkSigned(commit, proof, signing, format, trust);
  } catch (error) {
    if (error instanceof SshFormatError) throw new BrokenLink('signature', error.message);
    throw error;
  }
  return `the commit by the run’s key ${signing.key}, certified by ${signing.authority}`;
}

function checkSigned(
  commit: CommitObject,
  { change, permitted }: Proof,
  signing: NonNullable<Proof['change']['signing']>,
  format: 'sha1' | 'sha256',
  trust: Trust,
): void {
  const { payload, signature } = splitCommit(commit.bytes, format);
  demand(signature !== null, 'signature', `${commit.oid} is not signed, and is said to be`);
  const { certificate, ...signed } = parseSshSignature(signature);
  demand(
    verifyMessage({ ...signed, certificate }, payload, 'git'),
    'signature',
    'it is not a signature of this commit',
  );
  demand(certificate !== null, 'signature', 'its key is not certified');
  demand(
    fingerprint(signed.key.blob) === signing.key,
    'signature',
    `it is by another key (${fingerprint(signed.key.blob)})`,
  );
  demand(
    fingerprint(certificate.authority.blob) === signing.authority && certificate.keyId === `cordon run ${change.run}`,
    'signature',
    `its certificate is for ${JSON.stringify(certificate.keyId)}, not for the run ${change.run}`,
  );
  const at = signing.verifiedAt;
  demand(at <= permitted.time, 'time', `its signature is said to have been checked at ${at}, after it was logged`);
  const authorities = trust.authorities.filter(({ from, until }) => from <= at && (until === null || at <= until));
  const demands = { authorities: authorities.map(({ key }) => parsePublicKeyLine(key)), at: Date.parse(at) };
  const problem = certificateProblem(certificate, demands);
  demand(problem === null, 'signature', `its certificate does not hold at ${at}: ${problem}`);
  const revoked = trust.revocations?.revoked({ key: signed.key, certificate }) ?? null;
  demand(revoked === null, 'revocation', revoked ?? '');
}
