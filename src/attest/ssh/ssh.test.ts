import { describe, expect, test } from 'vitest';
import { authoritiesFor, formatAllowedSigner, matchesAny, parseAllowedSigners } from './allowed-signers.ts';
import {
  type CertificateFields,
  certificateProblem,
  formatCertificate,
  issueCertificate,
  parseCertificate,
  parseCertificateLine,
} from './certificate.ts';
import { joinCommit, splitCommit } from './commit.ts';
import { fingerprint, formatPublicKey, parsePublicKeyLine, privateKeyFromSeed } from './keys.ts';
import { formatKrl, parseKrl } from './krl.ts';
import { parseSshSignature, signMessage, verifyMessage } from './sshsig.ts';
import { SshFormatError, sshString, uint32 } from './wire.ts';

const authority = privateKeyFromSeed(Buffer.alloc(32, 1));
const key = privateKeyFromSeed(Buffer.alloc(32, 2));
const other = privateKeyFromSeed(Buffer.alloc(32, 3));
const START = Date.UTC(2026, 0, 1);
const fields: CertificateFields = {
  serial: 7n,
  keyId: 'cordon run 0123456789abcdef',
  principals: ['a@acme.example', 'agent@cordon.invalid'],
  validAfter: BigInt(START / 1000),
  validBefore: BigInt(START / 1000 + 3600),
  criticalOptions: new Map(),
  extensions: new Map(),
};
const certificate = issueCertificate(key, fields, authority);
const message = Buffer.from('a message\n');

describe('certificates', () => {
  test('read back as they were issued', () => {
    const {
      blob,
      key: certified,
      authority: by,
      ...rest
    } = parseCertificateLine(formatCertificate(certificate, 'run'));
    expect(rest).toEqual(fields);
    expect(certified.raw.equals(key.raw)).toBe(true);
    expect(by.raw.equals(authority.raw)).toBe(true);
    expect(blob.equals(certificate.blob)).toBe(true);
  });

  test('every byte counts, and none may follow', () => {
    for (let at = 0; at < certificate.blob.length; at++) {
      const damaged = Buffer.from(certificate.blob);
      damaged[at] = (damaged[at] as number) ^ 1;
      expect(() => parseCertificate(damaged), `byte ${at}`).toThrow(SshFormatError);
    }
    expect(() => parseCertificate(Buffer.concat([certificate.blob, Buffer.of(0)]))).toThrow('after its end');
    expect(() => parseCertificate(certificate.blob.subarray(0, -1))).toThrow('too early');
  });

  const demand = { authorities: [authority], at: START };
  test.each<[string, Partial<Parameters<typeof certificateProblem>[1]>, RegExp | null]>([
    ['in time', {}, null],
    ['in its last second', { at: START + 3_599_999 }, null],
    ['for somebody it names', { principal: 'a@acme.example' }, null],
    ['a second early', { at: START - 1 }, /valid from 2026-01-01T00:00:00Z only/],
    ['when it has just ended', { at: START + 3_600_000 }, /valid until 2026-01-01T01:00:00Z/],
    ['for somebody else', { principal: 'b@acme.example' }, /not for b@acme\.example/],
    ['by another authority', { authorities: [other] }, /authority SHA256:\S+ is not trusted/],
    ['by none', { authorities: [] }, /is not trusted/],
  ])('%s', (_name, more, expected) => {
    const problem = certificateProblem(certificate, { ...demand, ...more });
    if (expected === null) expect(problem).toBeNull();
    else expect(problem).toMatch(expected);
  });

  test('an unknown critical option makes it worthless, an extension does not', () => {
    const options = new Map([['force-command', sshString('true')]]);
    const bound = issueCertificate(key, { ...fields, criticalOptions: options }, authority);
    expect(certificateProblem(bound, demand)).toMatch(/"force-command", which is unknown/);
    const extended = issueCertificate(key, { ...fields, extensions: options }, authority);
    expect(certificateProblem(extended, demand)).toBeNull();
  });

  test.each<[string, Partial<CertificateFields>]>([
    ['for everybody', { principals: [] }],
    ['for a list in one name', { principals: ['a,b'] }],
    ['for a pattern', { principals: ['*'] }],
    ['never valid', { validBefore: fields.validAfter }],
    ['with a key id of two lines', { keyId: 'cordon run x\ny' }],
  ])('is not issued %s', (_name, more) => {
    expect(() => issueCertificate(key, { ...fields, ...more }, authority)).toThrow(SshFormatError);
  });
});

describe('signatures', () => {
  test('hold for their message, namespace and key', () => {
    const bare = parseSshSignature(signMessage(message, 'git', key));
    expect(bare.certificate).toBeNull();
    expect(fingerprint(bare.key.blob)).toBe(fingerprint(key.blob));
    expect(verifyMessage(bare, message, 'git')).toBe(true);
    expect(verifyMessage(bare, Buffer.from('another\n'), 'git')).toBe(false);
    expect(verifyMessage(bare, message, 'file')).toBe(false);
    const carried = parseSshSignature(signMessage(message, 'git', key, certificate));
    expect(carried.certificate?.serial).toBe(7n);
    expect(verifyMessage(carried, message, 'git')).toBe(true);
  });

  test('are not made with another key’s certificate, and do not verify with one put in', () => {
    expect(() => signMessage(message, 'git', other, certificate)).toThrow('not one of this key');
    const swapped = { ...parseSshSignature(signMessage(message, 'git', other)), key: certificate.key };
    expect(verifyMessage(swapped, message, 'git')).toBe(false);
  });

  const armoured = signMessage(message, 'git', key);
  test.each<[string, string]>([
    ['text before', `hello\n${armoured}`],
    ['text after', `${armoured}hello\n`],
    ['a second signature', armoured + armoured],
    ['no end', armoured.slice(0, armoured.indexOf('-----END'))],
    ['blanks', armoured.replace('\nU1NI', '\n U1NI')],
    ['url-safe base64', armoured.replace(/[+/]/, '_')],
    ['bytes after the end', rearm((blob) => Buffer.concat([blob, Buffer.of(0)]))],
    ['version 2', rearm((blob) => Buffer.concat([blob.subarray(0, 6), uint32(2), blob.subarray(10)]))],
  ])('are not read with %s', (_name, text) => {
    expect(() => parseSshSignature(text)).toThrow(SshFormatError);
  });

  function rearm(change: (blob: Buffer) => Buffer): string {
    const blob = Buffer.from(armoured.split('\n').slice(1, -2).join(''), 'base64');
    return `-----BEGIN SSH SIGNATURE-----\n${change(blob).toString('base64')}\n-----END SSH SIGNATURE-----\n`;
  }
});

describe('allowed signers', () => {
  const line = formatAllowedSigner(
    {
      principals: ['*'],
      certAuthority: true,
      namespaces: ['git'],
      validAfter: START,
      validBefore: null,
      key: authority,
    },
    'cordon',
  );

  test('read back as they were written', () => {
    expect(line).toMatch(/^\* cert-authority,namespaces="git",valid-after="20260101000000Z" ssh-ed25519 \S+ cordon$/);
    const [signer] = parseAllowedSigners(`# comment\n\n${line}\n`);
    expect(signer).toMatchObject({ principals: ['*'], certAuthority: true, namespaces: ['git'], validAfter: START });
    expect(signer?.key.raw.equals(authority.raw)).toBe(true);
  });

  test('an authority vouches in its namespace and time', () => {
    const signers = parseAllowedSigners(`${line}\nme@acme.example ${formatPublicKey(key)}\n`);
    expect(signers).toHaveLength(2);
    expect(authoritiesFor(signers, { namespace: 'git', at: START })).toHaveLength(1);
    expect(authoritiesFor(signers, { namespace: 'file', at: START })).toEqual([]);
    expect(authoritiesFor(signers, { namespace: 'git', at: START - 1 })).toEqual([]);
  });

  test('names with blanks stand in quotes; keys of other types vouch for nothing', () => {
    const [signer, ...rest] = parseAllowedSigners(`"a b@acme.example,c" namespaces="git,file" ${formatPublicKey(key)}
x ssh-rsa AAAAB3NzaC1yc2E=`);
    expect(signer?.principals).toEqual(['a b@acme.example', 'c']);
    expect(signer?.namespaces).toEqual(['git', 'file']);
    expect(rest).toEqual([]);
  });

  test.each([
    `* ${formatPublicKey(key).slice(0, -3)}`,
    `* cert-authority=yes ${formatPublicKey(key)}`,
    `* cert-authority,cert-authority ${formatPublicKey(key)}`,
    `* unknown ${formatPublicKey(key)}`,
    `* namespaces ${formatPublicKey(key)}`,
    `* namespaces="git ${formatPublicKey(key)}`,
    `* valid-after="20260101" ${formatPublicKey(key)}`,
    `* valid-after="20260231Z" ${formatPublicKey(key)}`,
    `a,,b ${formatPublicKey(key)}`,
    '* nothing else',
  ])('%s is an error', (text) => {
    expect(() => parseAllowedSigners(`\n${text}`)).toThrow(/^line 2: /);
  });

  test.each<[string, string, boolean]>([
    ['*', 'x', true],
    ['a*c?', 'abbcd', true],
    ['a*c?', 'abbc', false],
    ['!b*,*', 'bc', false],
    ['!b*,*', 'cb', true],
    ['*a*a*a*a*b', 'a'.repeat(5000), false],
  ])('%s against %.10s: %s', (patterns, text, expected) => {
    expect(matchesAny(patterns.split(','), text)).toBe(expected);
  });
});

describe('revocation lists', () => {
  const made = { version: 3n, generated: START, comment: 'cordon' };
  const signer = { key, certificate };
  test('name serials of one authority, and keys', () => {
    const empty = parseKrl(formatKrl({ ...made, serials: [], keys: [] }));
    expect(empty).toMatchObject({ version: 3n, generated: START, comment: 'cordon' });
    expect(empty.revoked(signer)).toBeNull();
    const serial = parseKrl(formatKrl({ ...made, serials: [{ authority, serials: [9n, 7n] }], keys: [] }));
    expect(serial.revoked(signer)).toBe('its certificate 7 is revoked');
    expect(serial.revoked({ key, certificate: null })).toBeNull();
    const another = parseKrl(formatKrl({ ...made, serials: [{ authority: other, serials: [7n] }], keys: [] }));
    expect(another.revoked(signer)).toBeNull();
    expect(parseKrl(formatKrl({ ...made, serials: [], keys: [key] })).revoked(signer)).toBe('its key is revoked');
    expect(parseKrl(formatKrl({ ...made, serials: [], keys: [authority] })).revoked(signer)).toMatch(/^the authority/);
  });

  test('what is not understood is refused, not passed over', () => {
    const list = formatKrl({ ...made, serials: [{ authority, serials: [7n] }], keys: [key] });
    const unknown = Buffer.concat([list, Buffer.of(9), sshString('')]);
    expect(() => parseKrl(unknown)).toThrow('section of type 9');
    expect(() => parseKrl(list.subarray(0, -1))).toThrow('too early');
    expect(() => parseKrl(Buffer.concat([list, Buffer.of(2)]))).toThrow('too early');
    expect(() => formatKrl({ ...made, serials: [{ authority, serials: [0n] }], keys: [] })).toThrow('serial 0');
  });
});

describe('signatures in commits', () => {
  const head = `tree ${'1'.repeat(40)}\nparent ${'2'.repeat(40)}\nauthor A <a@acme.example> 1 +0000\ncommitter A <a@acme.example> 1 +0000\n`;
  const payload = Buffer.from(`${head}\nsubject\n\ngpgsig not a header\n`);
  const signature = signMessage(payload, 'git', key);

  test.each(['sha1', 'sha256'] as const)('go in and come out in a repository of %s', (format) => {
    const signed = joinCommit(payload, signature, format);
    const split = splitCommit(signed, format);
    expect(split.payload.equals(payload)).toBe(true);
    expect(split.signature).toBe(signature);
    const elsewhere = splitCommit(signed, format === 'sha1' ? 'sha256' : 'sha1');
    expect(elsewhere.signature).toBeNull();
    expect(elsewhere.payload.equals(payload)).toBe(true);
  });

  test('bytes of any encoding stay as they are, and a mergetag is part of what is signed', () => {
    const tag = 'mergetag object 3\n gpgsig inside\n';
    const odd = Buffer.concat([Buffer.from(`${head}${tag}encoding latin1\n\n`), Buffer.of(0xe9, 0xff, 0x0a)]);
    expect(splitCommit(joinCommit(odd, signature, 'sha1'), 'sha1').payload.equals(odd)).toBe(true);
    expect(splitCommit(odd, 'sha1').payload.equals(odd)).toBe(true);
  });

  test.each([
    `${head}gpgsig a\n b\ngpgsig c\n\nm`,
    `${head}gpgsigs a\n\nm`,
    `${head}gpgsig\n\nm`,
    `${head}gpgsig-sha1 a\n\nm`,
    `${head}x \0\n\nm`,
  ])('two, or none that is one, are refused: %j', (text) => {
    expect(() => splitCommit(Buffer.from(text), 'sha1')).toThrow(SshFormatError);
  });
});

test('lines of other keys are refused', () => {
  expect(() => parsePublicKeyLine(`ssh-rsa ${key.blob.toString('base64')}`)).toThrow(SshFormatError);
  expect(() => parsePublicKeyLine(formatPublicKey(key).replace('AAAA', 'AAAB'))).toThrow(SshFormatError);
  expect(parsePublicKeyLine(formatPublicKey(key, 'comment')).raw.equals(key.raw)).toBe(true);
});
