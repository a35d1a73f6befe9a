import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FakeVault, startVault } from '../../../test/fakes/vault.ts';
import { CordonError, EnforcementError, NotFoundError, OutsideError, UsageError } from '../../base/errors.ts';
import { type VaultOptions, vaultSecrets } from './vault.ts';

let vault: FakeVault;
beforeEach(async () => {
  vault = await startVault();
  vault.secrets.set('secret/ci/npm', { version: 3, data: { token: 'the-value-in-vault', n: 5 } });
});
afterEach(() => vault.close());

function open(options: Partial<VaultOptions> = {}) {
  return vaultSecrets({
    address: vault.address,
    token: { value: vault.token },
    secrets: { NPM_TOKEN: { path: 'ci/npm', field: 'token' } },
    ...options,
  });
}
const failure = async (options: Partial<VaultOptions> = {}): Promise<CordonError> => {
  const error = await open(options)
    .read('NPM_TOKEN')
    .catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(CordonError);
  expect((error as CordonError).remedy).toBeTruthy();
  expect((error as CordonError).message).not.toContain(vault.token);
  return error as CordonError;
};

test('asks for exactly the one path, in the namespace, and knows the version', async () => {
  const { entry } = await open({ namespace: 'team/a' }).read('NPM_TOKEN');
  expect(entry).toMatchObject({ version: '3', updated: Date.parse('2026-01-02T03:04:05.678Z') });
  expect(vault.requests).toEqual([{ url: '/v1/secret/data/ci/npm', namespace: 'team/a' }]);
});

test('a path is a path, whatever is in it', async () => {
  vault.secrets.set('secret/a b/c?d#e%2f', { version: 1, data: { token: 'the-odd-value' } });
  const odd = open({ secrets: { NPM_TOKEN: { path: 'a b/c?d#e%2f', field: 'token' } } });
  expect((await odd.read('NPM_TOKEN')).value.reveal().toString()).toBe('the-odd-value');
  for (const path of ['../sys/seal', 'a//b', '/a', 'a/', '.', '']) {
    expect(() => open({ secrets: { NPM_TOKEN: { path, field: 'token' } } })).toThrow(UsageError);
  }
});

test.each([
  ['sealed', OutsideError, /sealed/],
  ['standby', OutsideError, /standby/],
  ['redirect', OutsideError, /307/],
  ['html', OutsideError, /KV engine/],
  ['endless', OutsideError, /cannot be reached \(too long\)/],
] as const)('%s', async (mode, kind, message) => {
  vault.mode = mode;
  const error = await failure();
  expect(error).toBeInstanceOf(kind);
  expect(error.message).toMatch(message);
  expect(vault.requests).toHaveLength(1); // not tried again, not followed
});

test('one that never answers', async () => {
  vault.mode = 'hang';
  expect((await failure({ timeout: 20 })).message).toMatch(/did not answer within 20 ms/);
});

test('one that is not there', async () => {
  await vault.close();
  expect((await failure()).message).toMatch(/cannot be reached \(ECONNREFUSED\)/);
  vault = await startVault();
});

test('a token that may not, a secret that is not, a field that is not', async () => {
  expect(await failure({ token: { value: 'hvs.wrong' } })).toBeInstanceOf(EnforcementError);
  expect(await failure({ secrets: { NPM_TOKEN: { path: 'ci/gone', field: 'token' } } })).toBeInstanceOf(NotFoundError);
  for (const field of ['missing', 'n', '__proto__', 'constructor']) {
    expect(await failure({ secrets: { NPM_TOKEN: { path: 'ci/npm', field } } })).toBeInstanceOf(NotFoundError);
  }
});

test('the token’s file is read anew, and only when nobody else can read it', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'cordon-vault-'));
  const file = join(dir, 'token');
  expect(await failure({ token: { file } })).toBeInstanceOf(EnforcementError);
  await writeFile(file, 'hvs.old\n', { mode: 0o600 });
  const driver = open({ token: { file } });
  await expect(driver.read('NPM_TOKEN')).rejects.toThrow(/403/);
  await writeFile(file, `${vault.token}\n`);
  await driver.read('NPM_TOKEN');
  await chmod(file, 0o644);
  await expect(driver.read('NPM_TOKEN')).rejects.toThrow(EnforcementError);
  await rm(dir, { recursive: true });
});

test('a token that would be a second header is none', async () => {
  expect(await failure({ token: { value: 'a\r\nX-Evil: b' } })).toBeInstanceOf(UsageError);
});

test('never in the clear over a network', () => {
  for (const address of [
    'http://vault.acme.example:8200',
    'http://127.0.0.1.evil.example',
    'ftp://localhost',
    'vault',
  ]) {
    expect(() => open({ address })).toThrow(UsageError);
  }
});
