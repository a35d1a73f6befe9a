import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UsageError } from '../base/errors.ts';
import { openSecrets, Secret, type SecretStore } from './index.ts';

let home: string;
let store: SecretStore;
const open = () => openSecrets('embedded', { dir: join(home, 'secrets'), keys: join(home, 'keys') });
const secret = (value: string) => new Secret(Buffer.from(value), 'X');
const read = async (name: string) => (await store.read(name)).value.reveal().toString();

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'cordon-embedded-'));
  await mkdir(join(home, 'keys'), { mode: 0o700 });
  store = open();
});
afterEach(() => rm(home, { recursive: true }));

test('looking makes nothing, not even a key', async () => {
  expect(await store.list()).toEqual([]);
  expect(await store.find('X')).toBeNull();
  expect(await readdir(join(home, 'keys'))).toEqual([]);
});

test('versions rise, scopes stay unless they are named, the value before is gone', async () => {
  const first = await store.set('X', secret('value-one-1'), { agents: ['b', 'a', 'b'] });
  expect(first).toMatchObject({ version: '1', scopes: { agents: ['a', 'b'] } });
  expect(await store.set('X', secret('value-two-2'))).toMatchObject({
    version: '2',
    scopes: { agents: ['a', 'b'] },
    created: first.created,
  });
  expect(await store.set('X', secret('value-three-3'), {})).toMatchObject({ version: '3', scopes: {} });
  expect(await read('X')).toBe('value-three-3');
  expect((await readdir(join(home, 'secrets'))).filter((name) => name.startsWith('X'))).toEqual(['X.3.json']);
});

test('all that it writes is this user’s alone', async () => {
  await store.set('X', secret('value-one-1'));
  for (const path of ['secrets', 'secrets/X.1.json', 'keys/master.key', 'keys/secrets.json']) {
    expect((await stat(join(home, path))).mode & 0o077).toBe(0);
  }
});

test('many writers, each with the folder opened by itself: none is lost', async () => {
  const names = Array.from({ length: 12 }, (_, i) => `S${i}`);
  await Promise.all(names.map((name) => open().set(name, secret(`value-of-${name}`))));
  await Promise.all(Array.from({ length: 8 }, (_, i) => open().set('SAME', secret(`value-number-${i}`))));
  expect((await store.list()).map(({ name }) => name)).toEqual(['SAME', ...names].sort());
  expect((await store.find('SAME'))?.version).toBe('8');
  for (const name of names) expect(await read(name)).toBe(`value-of-${name}`);
});

test('readers see the one value or the other while it is set', async () => {
  await store.set('X', secret('value-number-0'));
  const seen: string[] = [];
  const reading = Promise.all(Array.from({ length: 40 }, async () => seen.push(await read('X'))));
  for (let i = 1; i < 6; i++) await open().set('X', secret(`value-number-${i}`));
  await reading;
  for (const value of seen) expect(value).toMatch(/^value-number-\d$/);
});

test('a writer that was killed before its value counted leaves the one before', async () => {
  await store.set('X', secret('value-one-1'));
  await writeFile(join(home, 'secrets', 'X.2.json'), '{"v":1,"name":"X","version":2,"sealed":""}', { mode: 0o600 });
  expect(await read('X')).toBe('value-one-1');
  await store.set('X', secret('value-two-2'));
  expect(await read('X')).toBe('value-two-2');
});

test.each([
  { hosts: ['https://acme.example'] },
  { hosts: ['acme.example:443'] },
  { hosts: ['*'] },
  { hosts: ['*.com'] },
  { hosts: ['*.127.0.0.1'] },
  { repositories: ['a//b'] },
  { repositories: ['../a'] },
  { agents: ['a/b'] },
  { agents: [''] },
])('no scope is %j', async (scopes) => {
  await expect(store.set('X', secret('value-one-1'), scopes)).rejects.toThrow(UsageError);
  expect(await store.list()).toEqual([]);
});
