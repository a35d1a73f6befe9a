import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatAllowedSigner, parseAllowedSigners } from '../../src/attest/ssh/allowed-signers.ts';
import { issueCertificate, parseCertificate } from '../../src/attest/ssh/certificate.ts';
import { joinCommit, splitCommit } from '../../src/attest/ssh/commit.ts';
import { parsePublicKey, privateKeyFromSeed } from '../../src/attest/ssh/keys.ts';
import { formatKrl, parseKrl } from '../../src/attest/ssh/krl.ts';
import { parseSshSignature, signMessage, verifyMessage } from '../../src/attest/ssh/sshsig.ts';
import { SshFormatError } from '../../src/attest/ssh/wire.ts';

/** Damaged bytes are refused with the one error of these formats, or mean exactly what the whole ones mean. */
const options = { seed: 20_261_121, numRuns: 600 };
const authority = privateKeyFromSeed(Buffer.alloc(32, 1));
const key = privateKeyFromSeed(Buffer.alloc(32, 2));
const fields = {
  serial: 7n,
  keyId: 'cordon run 0123456789abcdef',
  principals: ['a@acme.example', 'agent@cordon.invalid'],
  validAfter: 1000n,
  validBefore: 2000n,
  criticalOptions: new Map([['a', Buffer.from('b')]]),
  extensions: new Map(),
};
const certificate = issueCertificate(key, fields, authority);
const message = Buffer.from('a message');
const list = formatKrl({
  version: 1n,
  generated: 0,
  comment: 'c',
  serials: [{ authority, serials: [7n, 9n] }],
  keys: [key],
});
const line = formatAllowedSigner({
  principals: ['*'],
  certAuthority: true,
  namespaces: ['git'],
  validAfter: 0,
  validBefore: null,
  key: authority,
});

type Cut = { at: number; remove: number; insert: Uint8Array };
const cuts: fc.Arbitrary<Cut[]> = fc.array(
  fc.record({
    at: fc.nat(),
    remove: fc.integer({ min: 0, max: 8 }),
    insert: fc.uint8Array({ maxLength: 8 }),
  }),
  { minLength: 1, maxLength: 3 },
);

function damage(bytes: Buffer, edits: readonly Cut[]): Buffer {
  let result = bytes;
  for (const { at, remove, insert } of edits) {
    const place = at % (result.length + 1);
    result = Buffer.concat([result.subarray(0, place), insert, result.subarray(place + remove)]);
  }
  return result;
}

/** What the parser makes of it; null when it refuses as it should. Any other error fails the test. */
function attempt<T>(parse: () => T): T | null {
  try {
    return parse();
  } catch (error) {
    if (error instanceof SshFormatError) return null;
    throw error;
  }
}

describe('damaged', () => {
  test('certificates never read as others', () => {
    fc.assert(
      fc.property(cuts, (edits) => {
        const bytes = damage(certificate.blob, edits);
        const read = attempt(() => parseCertificate(bytes));
        expect(read === null || bytes.equals(certificate.blob)).toBe(true);
      }),
      options,
    );
  });

  test('signatures verify only over what was signed', () => {
    const armoured = Buffer.from(signMessage(message, 'git', key, certificate));
    fc.assert(
      fc.property(cuts, fc.boolean(), (edits, inside) => {
        const lines = armoured.toString().split('\n');
        const blob = Buffer.from(lines.slice(1, -2).join(''), 'base64');
        const text = inside
          ? [lines[0], damage(blob, edits).toString('base64'), ...lines.slice(-2)].join('\n')
          : damage(armoured, edits).toString('latin1');
        const read = attempt(() => parseSshSignature(text));
        if (read === null || !verifyMessage(read, message, 'git')) return;
        expect(read.key.raw.equals(key.raw)).toBe(true);
        expect(read.certificate?.blob.equals(certificate.blob)).toBe(true);
      }),
      options,
    );
  });

  test('keys, revocation lists and allowed signers are read or refused', () => {
    fc.assert(
      fc.property(cuts, (edits) => {
        attempt(() => parsePublicKey(damage(key.blob, edits)));
        attempt(() => parseKrl(damage(list, edits)));
        attempt(() => parseAllowedSigners(damage(Buffer.from(line), edits).toString('utf8')));
      }),
      options,
    );
  });

  test('commits come apart into bytes that go together again', () => {
    const payload = Buffer.from('tree 1\nauthor a\ncommitter b\n\nmessage\n');
    const signed = joinCommit(payload, signMessage(payload, 'git', key), 'sha1');
    fc.assert(
      fc.property(cuts, (edits) => {
        const bytes = damage(signed, edits);
        const split = attempt(() => splitCommit(bytes, 'sha1'));
        if (split === null) return;
        expect(attempt(() => splitCommit(split.payload, 'sha1'))?.payload.equals(split.payload)).toBe(true);
        if (split.signature === null) expect(split.payload.length).toBeLessThanOrEqual(bytes.length);
      }),
      options,
    );
  });
});
