import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startVault } from '../../test/fakes/vault.ts';
import { EnforcementError, OutsideError, UsageError } from '../base/errors.ts';
import { parseSettings } from '../config/load.ts';
import { Secret } from './index.ts';
import { openSources } from './sources.ts';

let home: string;
let paths: { readonly secrets: string; readonly keys: string };
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'cordon-sources-'));
  paths = { secrets: join(home, 'secrets'), keys: join(home, 'keys') };
  await mkdir(paths.keys, { mode: 0o700 });
});
afterEach(() => rm(home, { recursive: true }));

const sourcesOf = async (text: string) => (await parseSettings('config.yaml', text)).secrets ?? { sources: [] };

test('from the settings to a value, and nothing of it stays in the environment', async () => {
  const vault = await startVault();
  vault.secrets.set('kv/ci/npm', { version: 1, data: { token: 'the-value-in-vault' } });
  const sources = await sourcesOf(`
version: 1
secrets:
  sources:
    - driver: env
      secrets: {CI_TOKEN: {variable: X_CI_TOKEN, scopes: {hosts: ["*.acme.example"]}}}
    - driver: vault
      address: ${vault.address}
      mount: kv
      token_variable: VAULT_TOKEN
      secrets: {NPM_TOKEN: {path: ci/npm, field: token}}
    - {driver: file, folder: ${home}, secrets: {MOUNTED: {file: mounted}}}
`);
  const env: Record<string, string | undefined> = {
    PATH: '/usr/bin',
    X_CI_TOKEN: 'the-value-in-env',
    VAULT_TOKEN: vault.token,
    CORDON_MASTER_KEY: Buffer.alloc(32, 7).toString('base64'),
  };
  const { store, drivers } = openSources(paths, sources, env);
  expect(env).toEqual({ PATH: '/usr/bin' });
  await store.set('KEPT', new Secret(Buffer.from('the-value-kept'), 'KEPT'));
  const values = await Promise.all(
    [['KEPT', 0] as const, ['CI_TOKEN', 1] as const, ['NPM_TOKEN', 2] as const].map(async ([name, i]) =>
      (await drivers[i]?.read(name))?.value.reveal().toString(),
    ),
  );
  expect(values).toEqual(['the-value-kept', 'the-value-in-env', 'the-value-in-vault']);
  expect(drivers.map(({ source }) => source)).toEqual(['embedded', 'env', 'vault', 'file']);
  await expect(openSources(paths, { sources: [] }, {}).store.read('KEPT')).rejects.toThrow(EnforcementError);
  await vault.close();
});

test.each([
  'sources: [{driver: env, secrets: {lower: {variable: X}}}]',
  'sources: [{driver: env, secrets: {X: {variable: X, scope: {}}}}]',
  'sources: [{driver: keychain, secrets: {}}]',
  'sources: [{driver: file, folder: relative, secrets: {}}]',
  'sources: [{driver: vault, address: "https://v.acme.example", token: hvs.abc, secrets: {}}]',
  'source: []',
])('settings that are refused: %s', async (text) => {
  await expect(sourcesOf(`version: 1\nsecrets: {${text}}\n`)).rejects.toThrow(/config.yaml:2:/);
});

test('a Vault has exactly one token', async () => {
  const sources = await sourcesOf(
    'version: 1\nsecrets: {sources: [{driver: vault, address: "https://v.acme.example", secrets: {}}]}\n',
  );
  expect(() => openSources(paths, sources, {})).toThrow(UsageError);
});

test('a master key in a Vault: what is sealed opens while it answers, and only there', async () => {
  const vault = await startVault();
  const settings = await sourcesOf(`
version: 1
secrets:
  master_key: {transit: {address: "${vault.address}", key: cordon, token_variable: VAULT_TOKEN}}
`);
  const { store } = openSources(paths, settings, { VAULT_TOKEN: vault.token });
  await store.set('KEPT', new Secret(Buffer.from('the-value-kept'), 'KEPT'));
  const read = async () => (await store.read('KEPT')).value.reveal().toString();
  expect(await read()).toBe('the-value-kept');
  expect(await readdir(paths.keys)).toEqual(['secrets.json']); // no key of it is here
  vault.mode = 'sealed';
  await expect(read()).rejects.toThrow(OutsideError);
  await expect(store.set('KEPT', new Secret(Buffer.from('another-value'), 'KEPT'))).rejects.toThrow(OutsideError);
  vault.mode = 'unsealed';
  expect(await read()).toBe('the-value-kept');
  await expect(openSources(paths, { sources: [] }, {}).store.read('KEPT')).rejects.toThrow(EnforcementError);
  const stranger = openSources(paths, settings, { VAULT_TOKEN: 'hvs.wrong' });
  await expect(stranger.store.read('KEPT')).rejects.toThrow(/403/);
  vault.transitKey = Buffer.alloc(32, 1);
  await expect(read()).rejects.toThrow(EnforcementError);
  await vault.close();
});
