import { execFileSync, spawnSync } from 'node:child_process';
import { createDecipheriv } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EnforcementError, OutsideError } from '../../base/errors.ts';
import { openSecrets, Secret } from '../index.ts';
import { openSources } from '../sources.ts';
import { pkcs11MasterKey } from './master-key.ts';
import { Pkcs11Module } from './module.ts';

const MODULE = '/usr/lib/softhsm/libsofthsm2.so';
const PIN = '73-hedgehogs';
const KEY = Buffer.alloc(32, 0x5a);
const there = spawnSync('softhsm2-util', ['--version']).status === 0;
const root = mkdtempSync(join(tmpdir(), 'cordon-token-'));
const tokens = join(root, 'tokens');
const before = process.env.SOFTHSM2_CONF;

function util(...args: string[]): void {
  execFileSync('softhsm2-util', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

beforeAll(() => {
  if (!there) return;
  mkdirSync(tokens);
  writeFileSync(
    join(root, 'conf'),
    `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  );
  process.env.SOFTHSM2_CONF = join(root, 'conf'); // read once, when the module is initialised
  writeFileSync(join(root, 'aes'), KEY);
  writeFileSync(join(root, 'pin'), `${PIN}\n`, { mode: 0o600 });
  for (const label of ['cordon', 'spare']) {
    util('--init-token', '--free', '--label', label, '--pin', PIN, '--so-pin', '4321-4321');
  }
  util('--import', join(root, 'aes'), '--aes', '--token', 'cordon', '--label', 'master', '--id', '01', '--pin', PIN);
});
afterAll(() => {
  if (before === undefined) delete process.env.SOFTHSM2_CONF;
  else process.env.SOFTHSM2_CONF = before;
  rmSync(root, { recursive: true, force: true });
});

const master = (options: Partial<Parameters<typeof pkcs11MasterKey>[0]> = {}) =>
  pkcs11MasterKey({
    module: MODULE,
    token: 'cordon',
    key: { label: 'master' },
    pin: () => Buffer.from(PIN),
    ...options,
  });
const dataKey = Buffer.alloc(32, 7);

describe.skipIf(!there)('a PKCS#11 token (skipped without Debian’s softhsm2)', () => {
  test('wraps and unwraps by the key on it, bound to a context', async () => {
    const key = master();
    const wrapped = await key.wrap(dataKey, 'for this');
    expect(await key.unwrap(wrapped, 'for this')).toEqual(dataKey);
    await expect(key.unwrap(wrapped, 'for that')).rejects.toThrow('not sealed by this key');
    wrapped.writeUInt8(wrapped.readUInt8(20) ^ 1, 20);
    await expect(key.unwrap(wrapped, 'for this')).rejects.toThrow('not sealed by this key');
  });

  test('what it writes is AES-256-GCM, as others read it', async () => {
    const wrapped = await master({ key: { id: Buffer.from([1]) } }).wrap(dataKey, 'for this');
    const open = createDecipheriv('aes-256-gcm', KEY, wrapped.subarray(0, 12));
    open.setAAD(Buffer.from('for this')).setAuthTag(wrapped.subarray(-16));
    expect(Buffer.concat([open.update(wrapped.subarray(12, -16)), open.final()])).toEqual(dataKey);
  });

  test('many at once on one session', async () => {
    const key = master();
    const all = await Promise.all(Array.from({ length: 40 }, (_, i) => key.wrap(Buffer.alloc(32, i), `${i}`)));
    const back = await Promise.all(all.map((wrapped, i) => key.unwrap(wrapped, `${i}`)));
    expect(back).toEqual(Array.from({ length: 40 }, (_, i) => Buffer.alloc(32, i)));
  });

  test('a session that is lost is opened again', async () => {
    const key = master();
    const wrapped = await key.wrap(dataKey, 'x');
    const module = await Pkcs11Module.load(MODULE);
    for (let session = 1; session < 200; session++) await module.call('C_CloseSession', session);
    expect(await key.unwrap(wrapped, 'x')).toEqual(dataKey);
  });

  test.each<[string, Parameters<typeof master>[0], typeof EnforcementError | typeof OutsideError, RegExp]>([
    ['no module', { module: '/usr/lib/no-such-module.so' }, EnforcementError, /no-such-module.so is not there/],
    [
      'a library that is none',
      { module: '/usr/lib/x86_64-linux-gnu/libm.so.6' },
      EnforcementError,
      /cannot be used as a PKCS#11 module|is not there/,
    ],
    [
      'no such token',
      { token: 'acme' },
      OutsideError,
      /token "acme" cannot be used: it is not there: there is .*"cordon"/,
    ],
    ['no such key', { key: { label: 'other' } }, EnforcementError, /no AES key labelled "other"/],
    ['no such id', { key: { id: Buffer.from([9, 9]) } }, EnforcementError, /no AES key with the id 0909/],
    ['a token without the key', { token: 'spare' }, EnforcementError, /no AES key labelled "master"/],
  ])('%s: said, with what to do', async (_, options, kind, message) => {
    const error = await master(options)
      .wrap(dataKey, 'x')
      .catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(kind);
    expect((error as Error).message).toMatch(message);
    expect((error as EnforcementError).remedy).toBeTruthy();
  });

  test('a wrong PIN is tried once and shown nowhere', async () => {
    // Of a token on which nobody is logged in: a login is the whole process's.
    util('--init-token', '--free', '--label', 'guarded', '--pin', PIN, '--so-pin', '4321-4321');
    const script = `
      import { pkcs11MasterKey } from ${JSON.stringify(join(import.meta.dirname, 'master-key.ts'))};
      let asked = 0;
      const pin = () => (asked++, Buffer.from('not-the-pin-123'));
      const key = pkcs11MasterKey({ module: ${JSON.stringify(MODULE)}, token: 'guarded', key: { label: 'master' }, pin });
      await key.wrap(Buffer.alloc(32), 'x').catch((e) => console.log(asked, e.exitCode, e.message));`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    expect(stdout).toMatch(/^1 6 the PIN of the token "guarded" is refused \(CKR_PIN_INCORRECT\)/);
    expect(stdout).not.toContain('not-the-pin');
  });

  test('a module that others can change is not loaded', async () => {
    const module = join(root, 'module.so');
    copyFileSync(MODULE, module);
    chmodSync(module, 0o666);
    await expect(master({ module }).wrap(dataKey, 'x')).rejects.toThrow('can be changed by others');
  });

  test('from the settings: secrets are sealed by it, after a change of the key from a file', async () => {
    const paths = { secrets: join(root, 'secrets'), keys: join(root, 'keys') };
    mkdirSync(paths.keys, { mode: 0o700 });
    const file = openSecrets('embedded', { dir: paths.secrets, keys: paths.keys });
    await file.set('NPM_TOKEN', new Secret(Buffer.from('a-value-on-a-token'), 'NPM_TOKEN'));
    const pkcs11 = { module: MODULE, token: 'cordon', key: 'master', pin_file: join(root, 'pin') };
    const { store } = openSources(paths, { sources: [], master_key: { pkcs11 } }, {});
    await expect(store.list()).rejects.toThrow('sealed with the master key');
    expect(await store.rotateMasterKey()).toMatchObject({ to: 'the key master of the token cordon', secrets: 1 });
    expect((await store.read('NPM_TOKEN')).value.reveal().toString()).toBe('a-value-on-a-token');
    expect(readdirSync(paths.keys)).toEqual(['secrets.json']);
    await expect(file.read('NPM_TOKEN')).rejects.toMatchObject({ exitCode: 6 });
    const back = openSources(paths, { sources: [], previous_master_key: { pkcs11 } }, {}).store;
    await back.rotateMasterKey();
    expect((await file.read('NPM_TOKEN')).value.reveal().toString()).toBe('a-value-on-a-token');
  });
});
