import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CompiledQuery, Kysely, SqliteDialect } from 'kysely';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StorageError } from '../../base/errors.ts';
import { migrations } from '../migrations/index.ts';
import { openSqliteStore } from './sqlite.ts';
import { NodeSqliteDatabase, openSqlite } from './sqlite-database.ts';
import { migrate } from './sqlite-migrate.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cordon-sqlite-'));
  path = join(folder, 'cordon.db');
});
afterEach(() => rm(folder, { recursive: true }));

test('several first starts at once make one schema', async () => {
  const stores = await Promise.all([1, 2, 3, 4].map(() => openSqliteStore({ path })));
  await Promise.all(stores.map((store) => store.close()));
  const database = new DatabaseSync(path);
  expect(database.prepare('select name from migrations').all()).toEqual(migrations.map(({ name }) => ({ name })));
  database.close();
});

test('a migration that fails leaves nothing of itself', async () => {
  const native = openSqlite(path);
  const db = new Kysely<unknown>({ dialect: new SqliteDialect({ database: new NodeSqliteDatabase(native) }) });
  const up = () => ['create table half (id text) strict', 'create nonsense'].map((text) => CompiledQuery.raw(text));
  expect(() => migrate(native, db, [{ name: '0002-broken', up }])).toThrow('nonsense');
  expect(native.prepare(`select name from sqlite_schema where name = 'half'`).all()).toEqual([]);
  expect(native.prepare('select * from migrations').all()).toEqual([]);
  native.close();
});

test('refuses a database of a newer version, and what is no database, and says which file', async () => {
  await (await openSqliteStore({ path })).close();
  const native = new DatabaseSync(path);
  native.exec(`insert into migrations values ('9999-later')`);
  native.close();
  await expect(openSqliteStore({ path })).rejects.toThrow(StorageError);

  const text = join(folder, 'notes.txt');
  await writeFile(text, 'these are my notes, '.repeat(100));
  await expect(openSqliteStore({ path: text })).rejects.toThrow(text);
  expect(await readFile(text, 'utf8')).toBe('these are my notes, '.repeat(100));
});

test('commits are written through to the disk, and readers never wait', async () => {
  const native = openSqlite(path);
  expect(native.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
  expect(native.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 });
  expect(native.prepare('PRAGMA foreign_keys').get()).toEqual({ foreign_keys: 1 });
  native.close();
});

test('the database is for this user alone', async () => {
  const store = await openSqliteStore({ path });
  for (const file of await readdir(folder)) expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
  await store.close();
});
