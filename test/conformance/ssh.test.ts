/** Our SSH formats against OpenSSH's own `ssh-keygen` and git, both ways. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatAllowedSigner, parseAllowedSigners } from '../../src/attest/ssh/allowed-signers.ts';
import {
  certificateProblem,
  formatCertificate,
  issueCertificate,
  parseCertificateLine,
} from '../../src/attest/ssh/certificate.ts';
import { joinCommit, splitCommit } from '../../src/attest/ssh/commit.ts';
import { fingerprint, formatPublicKey, generateKey, parsePublicKeyLine } from '../../src/attest/ssh/keys.ts';
import { formatKrl, parseKrl } from '../../src/attest/ssh/krl.ts';
import { parseSshSignature, signMessage, verifyMessage } from '../../src/attest/ssh/sshsig.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'cordon-ssh-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function run(command: string, args: readonly string[], input: string | Buffer = '') {
  const result = spawnSync(command, args, {
    cwd: dir,
    input,
    timeout: 20_000,
    env: { PATH: process.env.PATH, HOME: dir, GIT_CONFIG_NOSYSTEM: '1' },
  });
  if (result.error !== undefined) throw new Error(`${command} is missing: run scripts/setup`, { cause: result.error });
  return { code: result.status, text: `${result.stdout}${result.stderr}`, stdout: result.stdout };
}
const keygen = (args: readonly string[], input?: string | Buffer) => run('ssh-keygen', args, input);
function file(name: string, content: string | Buffer): string {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
}

const NOW = Date.now();
const authority = generateKey();
const key = generateKey();
const message = Buffer.from('what is signed\n\0\xff');
const certificate = issueCertificate(
  key,
  {
    serial: 18_446_744_073_709_551_615n,
    keyId: 'cordon run 0123456789abcdef',
    principals: ['a@acme.example', 'agent@cordon.invalid'],
    validAfter: BigInt(Math.floor(NOW / 1000) - 60),
    validBefore: BigInt(Math.floor(NOW / 1000) + 3600),
    criticalOptions: new Map(),
    extensions: new Map([['x@cordon.invalid', Buffer.alloc(0)]]),
  },
  authority,
);
const trust = `${formatAllowedSigner({ principals: ['*'], certAuthority: true, namespaces: ['git'], validAfter: null, validBefore: null, key: authority })}\n`;

describe('what we make, OpenSSH reads', () => {
  test('a certificate, field for field', () => {
    const path = file('run-cert.pub', `${formatCertificate(certificate)}\n`);
    const { code, text } = keygen(['-L', '-f', path]);
    expect(code, text).toBe(0);
    expect(text).toContain('Type: ssh-ed25519-cert-v01@openssh.com user certificate');
    expect(text).toContain(`Signing CA: ED25519 ${fingerprint(authority.blob)}`);
    expect(text).toContain('Key ID: "cordon run 0123456789abcdef"');
    expect(text).toContain('Serial: 18446744073709551615');
    expect(text).toMatch(/Principals: \n\s+a@acme\.example\n\s+agent@cordon\.invalid/);
    expect(text).toContain('Critical Options: (none)');
  });

  test('a public key and its fingerprint', () => {
    const path = file('run.pub', `${formatPublicKey(key, 'run')}\n`);
    expect(keygen(['-l', '-f', path]).text).toContain(`256 ${fingerprint(key.blob)} run (ED25519)`);
  });

  const verify = (signature: string, content: Buffer, principal: string, ...more: string[]) =>
    keygen(
      ['-Y', 'verify', '-n', 'git', '-f', file('trust', trust), '-I', principal, '-s', file('s', signature), ...more],
      content,
    );

  test('a signature with a certificate, for whom it names and nobody else', () => {
    const signature = signMessage(message, 'git', key, certificate);
    expect(verify(signature, message, 'a@acme.example').text).toContain('Good "git" signature for a@acme.example');
    expect(verify(signature, message, 'b@acme.example').code).not.toBe(0);
    expect(verify(signature, Buffer.from('other'), 'a@acme.example').code).not.toBe(0);
    expect(verify(signMessage(message, 'file', key, certificate), message, 'a@acme.example').code).not.toBe(0);
    expect(verify(signMessage(message, 'git', key), message, 'a@acme.example').code).not.toBe(0);
    const principals = ['-Y', 'find-principals', '-f', file('trust', trust), '-s', file('s', signature)];
    expect(keygen(principals, message).text).toBe('a@acme.example\nagent@cordon.invalid\n');
  });

  test('a revocation list, by serial and by key', () => {
    const fields = { version: 1n, generated: NOW, comment: 'cordon' };
    const cases: [Parameters<typeof formatKrl>[0], number][] = [
      [{ ...fields, serials: [], keys: [] }, 0],
      [{ ...fields, serials: [{ authority, serials: [1n, 5n] }], keys: [] }, 0],
      [{ ...fields, serials: [{ authority, serials: [5n, certificate.serial, 1n] }], keys: [] }, 1],
      [{ ...fields, serials: [{ authority: key, serials: [certificate.serial] }], keys: [] }, 0],
      [{ ...fields, serials: [], keys: [key] }, 1],
      [{ ...fields, serials: [], keys: [authority] }, 1],
    ];
    const path = file('asked-cert.pub', `${formatCertificate(certificate)}\n`);
    const signature = signMessage(message, 'git', key, certificate);
    for (const [content, code] of cases) {
      const list = file('krl', formatKrl(content));
      expect(keygen(['-Q', '-f', list, path])).toMatchObject({ code });
      expect(verify(signature, message, 'a@acme.example', '-r', list).code === 0).toBe(code === 0);
      expect(parseKrl(readFileSync(list)).revoked({ key, certificate }) === null).toBe(code === 0);
    }
  });
});

describe('what OpenSSH makes, we read', () => {
  const PASS = ['-N', '', '-q', '-t', 'ed25519'];
  beforeAll(() => {
    keygen([...PASS, '-C', 'ca', '-f', 'ca']);
    keygen([...PASS, '-C', 'user', '-f', 'user']);
    keygen(['-q', '-s', 'ca', '-I', 'an id', '-n', 'x@acme.example,y', '-z', '42', '-V', '-1h:+1h', 'user.pub']);
  });
  const read = (name: string) => readFileSync(join(dir, name), 'utf8');

  test('keys and certificates', () => {
    const made = parseCertificateLine(read('user-cert.pub'));
    expect(made).toMatchObject({ serial: 42n, keyId: 'an id', principals: ['x@acme.example', 'y'] });
    expect([...made.extensions.keys()]).toContain('permit-pty');
    const ca = parsePublicKeyLine(read('ca.pub'));
    expect(certificateProblem(made, { authorities: [ca], at: Date.now(), principal: 'y' })).toBeNull();
    expect(certificateProblem(made, { authorities: [ca], at: Date.now() + 7_200_000 })).toMatch(/valid until/);
  });

  test('signatures by key and by certificate', () => {
    for (const [signer, carried] of [
      ['user.pub', false],
      ['user-cert.pub', true],
    ] as const) {
      // Without an agent ssh-keygen wants the private key beside the public file that is named.
      writeFileSync(join(dir, signer.replace(/\.pub$/, '')), read('user'), { mode: 0o600 });
      const { stdout, code, text } = keygen(['-Y', 'sign', '-n', 'git', '-f', signer], message);
      expect(code, text).toBe(0);
      const signature = parseSshSignature(stdout.toString());
      expect(signature.certificate?.serial ?? null).toBe(carried ? 42n : null);
      expect(verifyMessage(signature, message, 'git')).toBe(true);
    }
  });

  test('revocation lists of serials, ranges, key ids, keys and digests', () => {
    const made = parseCertificateLine(read('user-cert.pub'));
    const signer = { key: made.key, certificate: made };
    const lists: [string, boolean][] = [
      ['serial: 1\nserial: 9', false],
      ['serial: 42', true],
      ['serial: 40-41', false],
      ['serial: 3\nserial: 42\nserial: 43\nserial: 60', true],
      ['serial: 3\nserial: 41\nserial: 43\nserial: 60', false],
      ['serial: 40-1000', true],
      ['id: an id', true],
      ['id: another id', false],
      [`key: ${read('user.pub')}`, true],
      [`sha256: ${read('user.pub')}`, true],
    ];
    for (const [spec, revoked] of lists) {
      const { code, text } = keygen(['-k', '-f', 'made.krl', '-s', 'ca.pub', file('spec', `${spec}\n`)]);
      expect(code, text).toBe(0);
      expect(parseKrl(readFileSync(join(dir, 'made.krl'))).revoked(signer) !== null, spec).toBe(revoked);
    }
  });
});

describe.each(['sha1', 'sha256'] as const)('commits in a repository of %s', (format) => {
  const repository = () => join(dir, `repository-${format}`);
  const identity = `A <a@acme.example> ${Math.floor(NOW / 1000)} +0000`;
  const git = (args: readonly string[], input?: string | Buffer) =>
    run('git', ['-C', repository(), '-c', `gpg.ssh.allowedSignersFile=${file('trust', trust)}`, ...args], input);
  const write = (commit: Buffer) => {
    const { code, text } = git(['hash-object', '-t', 'commit', '-w', '--stdin'], commit);
    expect(code, text).toBe(0);
    return text.trim();
  };

  beforeAll(() => {
    execFileSync('git', ['init', '-q', `--object-format=${format}`, repository()]);
  });

  test('ours are good for git verify-commit, and not after revocation, a change or another time', () => {
    const tree = git(['write-tree']).text.trim();
    const payload = Buffer.from(`tree ${tree}\nauthor ${identity}\ncommitter ${identity}\n\nsubject\n`);
    const commit = joinCommit(payload, signMessage(payload, 'git', key, certificate), format);
    const good = git(['verify-commit', '-v', write(commit)]);
    expect(good).toMatchObject({ code: 0 });
    expect(good.text).toContain('Good "git" signature for a@acme.example');
    const list = file('git-krl', formatKrl({ version: 1n, generated: NOW, comment: '', serials: [], keys: [key] }));
    expect(git(['-c', `gpg.ssh.revocationFile=${list}`, 'verify-commit', write(commit)]).code).not.toBe(0);
    const moved = Buffer.from(commit.toString('latin1').replace('subject', 'another'), 'latin1');
    expect(git(['verify-commit', write(moved)]).code).not.toBe(0);
    const late = Buffer.from(payload.toString().replaceAll(/> \d+ /g, '> 4000000000 '));
    const expired = joinCommit(late, signMessage(late, 'git', key, certificate), format);
    expect(git(['verify-commit', write(expired)]).code).not.toBe(0);
  });

  test('git’s own come apart into what was signed', () => {
    keygen(['-N', '', '-q', '-t', 'ed25519', '-f', `git-${format}`]);
    const config = ['-c', 'gpg.format=ssh', '-c', `user.signingkey=${join(dir, `git-${format}`)}`];
    const author = ['-c', 'user.name=A', '-c', 'user.email=a@acme.example'];
    const made = git([...config, ...author, 'commit', '-q', '-S', '--allow-empty', '-m', 'é\n\nbody\n']);
    expect(made.code, made.text).toBe(0);
    const { payload, signature } = splitCommit(git(['cat-file', 'commit', 'HEAD']).stdout, format);
    expect(verifyMessage(parseSshSignature(signature ?? ''), payload, 'git')).toBe(true);
  });
});

test('the line that trusts an authority is read back by us', () => {
  expect(parseAllowedSigners(trust)[0]?.key.raw.equals(authority.raw)).toBe(true);
});
