import { chmod, mkdir, mkdtemp, readlink, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSecrets, Secret } from '../../src/secrets/index.ts';
import { startVault } from '../fakes/vault.ts';
import { secretsConformance } from './secrets.ts';

const folder = () => mkdtemp(join(tmpdir(), 'cordon-secrets-'));
const scopes = { hosts: ['*.ACME.example.'] };

secretsConformance('embedded', async () => {
  const dir = await folder();
  const driver = openSecrets('embedded', { dir: join(dir, 'secrets'), keys: join(dir, 'keys') });
  await mkdir(join(dir, 'keys'), { mode: 0o700 });
  return {
    driver,
    source: 'embedded',
    async put(name, value) {
      // The store itself takes nothing that short: a file that somebody else made is what is left.
      if (value.length < 8) await writeFile(join(dir, 'secrets', `${name}.1.json`), value, { mode: 0o600 });
      else await driver.set(name, new Secret(Buffer.from(value), name), name === 'A_TOKEN' ? scopes : {});
    },
    take: async (name) => void (await driver.remove(name)),
    dispose: () => rm(dir, { recursive: true }),
  };
});

secretsConformance('env', async () => {
  const env: Record<string, string> = { PATH: '/usr/bin' };
  return {
    driver: openSecrets('env', {
      env,
      secrets: { B_TOKEN: { variable: 'CI_B_TOKEN' }, A_TOKEN: { variable: 'CI_A_TOKEN', scopes } },
    }),
    source: 'env',
    put: async (name, value) => {
      env[`CI_${name}`] = value;
    },
    take: async (name) => void delete env[`CI_${name}`],
    dispose: async () => {},
  };
});

/** As the kubelet does it: a folder for each version, a link to it that is exchanged, and links through that. */
secretsConformance('file, a Kubernetes volume', async () => {
  const dir = await folder();
  const current: Record<string, string> = {};
  let version = 0;
  const publish = async () => {
    const next = `..2026_01_01_${++version}`;
    await mkdir(join(dir, next));
    for (const [file, value] of Object.entries(current)) await writeFile(join(dir, next, file), value, { mode: 0o440 });
    await symlink(next, join(dir, '..data_tmp'));
    const before = await readlink(join(dir, '..data')).catch(() => null);
    await rename(join(dir, '..data_tmp'), join(dir, '..data'));
    for (const file of Object.keys(current)) await symlink(join('..data', file), join(dir, file)).catch(() => {});
    if (before !== null) await rm(join(dir, before), { recursive: true });
  };
  return {
    driver: openSecrets('file', {
      folder: dir,
      secrets: { A_TOKEN: { file: 'a-token', scopes }, B_TOKEN: { file: 'b-token' } },
    }),
    source: 'file',
    async put(name, value) {
      current[name.toLowerCase().replace('_', '-')] = `${value}\n`;
      await publish();
    },
    async take(name) {
      delete current[name.toLowerCase().replace('_', '-')];
      await publish();
    },
    dispose: () => rm(dir, { recursive: true }),
  };
});

secretsConformance('vault', async () => {
  const vault = await startVault();
  const dir = await folder();
  const file = join(dir, 'token');
  await writeFile(file, `${vault.token}\n`);
  await chmod(file, 0o600);
  let version = 0;
  return {
    driver: openSecrets('vault', {
      address: vault.address,
      mount: 'kv',
      token: { file },
      secrets: { A_TOKEN: { path: 'ci/a', field: 'token', scopes }, B_TOKEN: { path: 'ci/b', field: 'token' } },
    }),
    source: 'vault',
    put: async (name, value) =>
      void vault.secrets.set(`kv/ci/${name[0]?.toLowerCase()}`, {
        version: ++version,
        data: { token: value, user: 'ci' },
      }),
    take: async (name) => void vault.secrets.set(`kv/ci/${name[0]?.toLowerCase()}`, { version, data: null }),
    async dispose() {
      await vault.close();
      await unlink(file);
      await rm(dir, { recursive: true });
    },
  };
});
