import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  allowedSigners,
  certifyRun,
  loadOrCreateAuthority,
  readAuthorities,
  revocationList,
  revokeCertificate,
  rotateAuthority,
} from './authority.ts';
import { authoritiesFor, parseAllowedSigners } from './ssh/allowed-signers.ts';
import { certificateProblem } from './ssh/certificate.ts';
import { fingerprint } from './ssh/keys.ts';
import { parseKrl } from './ssh/krl.ts';

let keys: string;
beforeEach(() => {
  keys = mkdtempSync(join(tmpdir(), 'cordon-authority-'));
});
afterEach(() => rmSync(keys, { recursive: true }));

const NOW = '2026-01-01T00:00:00.000Z';
const RUN = { id: '0123456789abcdef', principals: ['agent:0123456789abcdef'], started: Date.parse(NOW), limit: 60_000 };

test('is made once, for this user alone, also when two begin at once', async () => {
  const [first, second] = await Promise.all([loadOrCreateAuthority(keys, NOW), loadOrCreateAuthority(keys, NOW)]);
  expect(first.raw.equals(second.raw)).toBe(true);
  expect((await loadOrCreateAuthority(keys, NOW)).raw.equals(first.raw)).toBe(true);
  for (const name of readdirSync(keys)) expect(statSync(join(keys, name)).mode & 0o077).toBe(0);
});

test('a run’s certificate names the run and outlasts its limit by ten minutes', async () => {
  const authority = await loadOrCreateAuthority(keys, NOW);
  const { certificate, key } = certifyRun(RUN, authority);
  expect(certificate).toMatchObject({ keyId: 'cordon run 0123456789abcdef', principals: RUN.principals });
  expect(certificate.key.raw.equals(key.raw)).toBe(true);
  expect(certificate.serial).toBeGreaterThan(0n);
  const at = (ms: number) => certificateProblem(certificate, { authorities: [authority], at: RUN.started + ms });
  expect([at(0), at(659_000)]).toEqual([null, null]);
  expect([at(-61_000), at(660_000)]).not.toContain(null);
  expect(certifyRun(RUN, authority).certificate.serial).not.toBe(certificate.serial);
  expect(certifyRun(RUN, authority, (bytes) => new Uint8Array(bytes)).certificate.serial).toBe(1n);
});

test('a revoked certificate is in the list, and the list’s version goes up', async () => {
  const authority = await loadOrCreateAuthority(keys, NOW);
  const [one, two] = [certifyRun(RUN, authority), certifyRun(RUN, authority)];
  const issuer = fingerprint(authority.blob);
  const { serial } = one.certificate;
  const state = await revokeCertificate(keys, { run: RUN.id, authority: issuer, serial, at: NOW });
  expect(await revokeCertificate(keys, { run: RUN.id, authority: issuer, serial, at: NOW })).toEqual(state);
  const krl = parseKrl(revocationList(readAuthorities(keys) as typeof state, Date.parse(NOW)));
  expect(krl.version).toBe(2n);
  expect(krl.revoked(one)).toMatch(/is revoked/);
  expect(krl.revoked(two)).toBeNull();
  const elsewhere = revokeCertificate(keys, { run: RUN.id, authority: 'SHA256:other', serial, at: NOW });
  await expect(elsewhere).rejects.toMatchObject({ code: 'conflict' });
});

test('after a rotation new runs have the new authority, and the old one counts until its time', async () => {
  const old = await loadOrCreateAuthority(keys, NOW);
  await rotateAuthority(keys, { now: '2026-01-02T00:00:00.000Z', until: '2026-01-03T00:00:00.000Z' });
  const current = await loadOrCreateAuthority(keys, NOW);
  expect(current.raw.equals(old.raw)).toBe(false);
  const signers = parseAllowedSigners(allowedSigners(readAuthorities(keys) as never).join('\n'));
  const at = (time: string) => authoritiesFor(signers, { namespace: 'git', at: Date.parse(time) }).length;
  expect([at('2026-01-02T12:00:00Z'), at('2026-01-04T00:00:00Z')]).toEqual([2, 1]);
});

test('a file that others could have read or that is damaged stops it', async () => {
  await loadOrCreateAuthority(keys, NOW);
  writeFileSync(join(keys, 'commit-authorities.json'), '{}');
  await expect(loadOrCreateAuthority(keys, NOW)).rejects.toMatchObject({ code: 'enforcement_missing' });
});
