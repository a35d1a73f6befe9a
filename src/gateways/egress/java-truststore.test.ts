import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createAuthority } from './authority.ts';
import { javaTruststore, TRUSTSTORE_PASSWORD } from './java-truststore.ts';

const NOW = 1_800_000_000_000;
const certificates = ['one', 'two'].map((name) => createAuthority(name, NOW).certificate);
const store = javaTruststore(`# roots\n${certificates.join('')}`, NOW);

test('holds the certificates of the bundle, and a digest of all', () => {
  expect(store.subarray(0, 12).toString('hex')).toBe('feedfeed0000000200000002');
  for (const certificate of certificates) expect(store.includes(new X509Certificate(certificate).raw)).toBe(true);
  const secret = Buffer.from([...TRUSTSTORE_PASSWORD].flatMap((letter) => [0, letter.charCodeAt(0)]));
  const digest = createHash('sha1').update(secret).update('Mighty Aphrodite').update(store.subarray(0, -20)).digest();
  expect(store.subarray(-20).equals(digest)).toBe(true);
});

test.skipIf(!existsSync('/usr/bin/keytool'))('is what Java reads (needs keytool)', () => {
  const dir = mkdtempSync(join(tmpdir(), 'cordon-java-'));
  const file = join(dir, 'ca.jks');
  writeFileSync(file, store);
  const list = execFileSync('/usr/bin/keytool', ['-list', '-keystore', file, '-storepass', TRUSTSTORE_PASSWORD], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  rmSync(dir, { recursive: true });
  expect(list).toContain('Your keystore contains 2 entries');
  for (const certificate of certificates) expect(list).toContain(new X509Certificate(certificate).fingerprint256);
});
