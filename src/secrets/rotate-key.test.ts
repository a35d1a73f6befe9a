import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KeyRing } from './drivers/embedded-keys.ts';
import { openSecrets, Secret, type SecretStore } from './index.ts';
import { localMasterKey, type MasterKey } from './master-key.ts';

const values = { A: 'the-first-value-0001', B: 'the-second-value-0002', C: 'the-third-value-0003' };
let root: string;
let keys: string;
const file = () => join(keys, 'master.key');
const next = () => join(keys, 'master.key.next');
const index = () => join(keys, 'secrets.json');
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'cordon-rotate-'));
  keys = join(root, 'keys');
  mkdirSync(keys, { mode: 0o700 });
  for (const [name, value] of Object.entries(values)) await opened().set(name, new Secret(Buffer.from(value), name));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

type Options = Omit<Parameters<typeof openSecrets<'embedded'>>[1], 'dir' | 'keys'>;
const opened = (options: Options = {}): SecretStore =>
  openSecrets('embedded', { dir: join(root, 'secrets'), keys, ...options });

async function expectAll(store: SecretStore): Promise<void> {
  for (const [name, value] of Object.entries(values)) {
    expect((await store.read(name)).value.reveal().toString()).toBe(value);
  }
}

/** A key in some service. `fail`: from which wrapping on it does not answer. */
function service(fill: number, where: string, fail = Number.POSITIVE_INFINITY): MasterKey {
  const key = localMasterKey(Buffer.alloc(32, fill), where);
  let wraps = 0;
  return {
    ...key,
    wrap: async (dataKey, context) => {
      if (++wraps >= fail) throw new Error('the service is gone');
      return key.wrap(dataKey, context);
    },
  };
}

const variable = (fill: number) => Buffer.alloc(32, fill).toString('base64');

test('a new file in place of the one before; what was set before and after opens', async () => {
  const before = readFileSync(file(), 'utf8');
  const rotation = await opened().rotateMasterKey();
  expect(rotation).toEqual({ from: file(), to: file(), secrets: 3 });
  expect(readFileSync(file(), 'utf8')).not.toBe(before);
  expect(existsSync(next())).toBe(false);
  await expectAll(opened());
  await opened().set('A', new Secret(Buffer.from(values.A), 'A'));
  await expectAll(opened());
  writeFileSync(file(), before);
  await expect(opened().list()).rejects.toMatchObject({ exitCode: 6 });
});

test.each<[string, Options, Options]>([
  ['a file to a service', {}, { service: service(1, 'the service') }],
  ['a file to a variable', {}, { masterKey: variable(2) }],
  [
    'a service to another',
    { service: service(1, 'the service') },
    { service: service(3, 'the other'), previousService: service(1, 'the service') },
  ],
  ['a service to a file', { service: service(1, 'the service') }, { previousService: service(1, 'the service') }],
  ['a variable to another', { masterKey: variable(2) }, { masterKey: variable(4), previousKey: variable(2) }],
  [
    'a variable to a service',
    { masterKey: variable(2) },
    { service: service(1, 'the service'), previousKey: variable(2) },
  ],
])('from %s', async (_, from, to) => {
  if (Object.keys(from).length > 0) await opened(from).rotateMasterKey();
  await expectAll(opened(from));
  await opened(to).rotateMasterKey();
  await expectAll(opened(to));
  expect(existsSync(file())).toBe(to.service === undefined && to.masterKey === undefined);
  expect(existsSync(next())).toBe(false);
  await expect(opened(from).list()).rejects.toMatchObject({ exitCode: 6 });
});

test('a service that gives out half-way changes nothing, and the key stays', async () => {
  for (const fail of [1, 2, 4]) {
    await expect(opened({ service: service(1, 'x', fail) }).rotateMasterKey()).rejects.toThrow('the service is gone');
    await expectAll(opened());
  }
});

test('a key that does not open what it wrapped is not trusted with anything', async () => {
  const broken = { ...service(1, 'x'), unwrap: async () => Buffer.alloc(32) };
  await expect(opened({ service: broken }).rotateMasterKey()).rejects.toThrow();
  await expectAll(opened());
});

test('nothing to change: the key that is configured is in use, or there is no secret', async () => {
  await opened({ masterKey: variable(2) }).rotateMasterKey();
  await expect(opened({ masterKey: variable(2) }).rotateMasterKey()).rejects.toMatchObject({ exitCode: 2 });
  rmSync(join(keys, 'secrets.json'));
  await expect(opened().rotateMasterKey()).rejects.toMatchObject({ code: 'not_found' });
});

test('the key before is nowhere to be found: said, and nothing changed', async () => {
  await opened({ masterKey: variable(2) }).rotateMasterKey();
  await expect(opened({ masterKey: variable(5) }).rotateMasterKey()).rejects.toMatchObject({ exitCode: 6 });
  await expectAll(opened({ masterKey: variable(2) }));
});

describe('cut short', () => {
  test('before the index: everything opens with the key before, and another try does not use the leftover', async () => {
    copyFileSync(file(), join(root, 'old'));
    writeFileSync(next(), `${variable(9)}\n`, { mode: 0o600 });
    await expectAll(opened());
    await opened().rotateMasterKey();
    await expectAll(opened());
    expect(readFileSync(file(), 'utf8').trim()).not.toBe(variable(9));
  });

  test('behind the index: everything opens with the new key, which gets its name with the next change', async () => {
    const old = readFileSync(file());
    await opened().rotateMasterKey();
    const fresh = readFileSync(file());
    writeFileSync(next(), fresh, { mode: 0o600 });
    writeFileSync(file(), old, { mode: 0o600 });
    await expectAll(opened());
    await opened().set('A', new Secret(Buffer.from(values.A), 'A'));
    await expectAll(opened());
    await opened().rotateMasterKey();
    await expectAll(opened());
    expect(existsSync(next())).toBe(false);
  });

  test('behind the index, on the way to a service: the old file goes with another try', async () => {
    const old = readFileSync(file());
    const to = { service: { ...service(1, 'x'), renewable: true } };
    await opened(to).rotateMasterKey();
    writeFileSync(file(), old, { mode: 0o600 });
    await expectAll(opened(to));
    await opened(to).rotateMasterKey();
    await expectAll(opened(to));
    expect(existsSync(file())).toBe(false);
  });

  test('killed at any moment', async () => {
    const script = `
      import { openSecrets } from ${JSON.stringify(join(import.meta.dirname, 'index.ts'))};
      const store = openSecrets('embedded', { dir: ${JSON.stringify(join(root, 'secrets'))}, keys: ${JSON.stringify(keys)} });
      await store.rotateMasterKey();
      console.log('ready');
      for (;;) await store.rotateMasterKey();`;
    const seen = new Set<string>();
    for (let i = 0; i < 6; i++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data');
      await sleep(Math.random() * 40);
      child.kill('SIGKILL');
      await once(child, 'close');
      await expectAll(opened());
      seen.add(readFileSync(index(), 'utf8').slice(0, 40));
    }
    expect(seen.size).toBeGreaterThan(1); // it did change
  }, 60_000);
});

test('readers see every value while the key changes', async () => {
  let done = false;
  const reading = (async () => {
    for (; !done; await sleep(1)) await expectAll(opened());
  })();
  const changing = (async () => {
    for (let i = 0; i < 20; i++) await opened().rotateMasterKey();
  })().finally(() => {
    done = true;
  });
  await Promise.all([reading, changing]);
});

test('a change that ends between the looks at its two files hides no key', async () => {
  const before = readFileSync(file(), 'utf8');
  await opened().rotateMasterKey();
  const sealedWith = JSON.parse(readFileSync(index(), 'utf8')).master as string;
  renameSync(file(), next());
  writeFileSync(file(), before, { mode: 0o600 });
  const looking = new KeyRing({ keys }).sealing(sealedWith); // up to its first wait: `master.key` is the one before
  renameSync(next(), file());
  expect((await looking)?.id).toBe(sealedWith);
});
