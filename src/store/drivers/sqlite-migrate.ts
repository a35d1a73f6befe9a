import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import type { Kysely } from 'kysely';
import { StorageError } from '../../base/errors.ts';
import { migrations as known, type Migration } from '../migrations/index.ts';

/**
 * Brings the schema up to date: all that is missing in one transaction, so that two first starts at once, or one that is
 * killed half way, leave either the old schema or the new. (Kysely's own migrator runs outside a transaction on SQLite.)
 * Synchronous: a write lock that is held across a turn of the event loop could never be waited for in the same process.
 * Throws `StorageError` for a database that a newer Cordon has written.
 */
export function migrate(native: DatabaseSync, db: Kysely<unknown>, migrations: readonly Migration[] = known): void {
  native.exec('create table if not exists migrations (name text primary key) strict');
  if (missing(native, migrations).length === 0) return;
  native.exec('begin immediate');
  try {
    // Asked again under the lock: another process may have done it meanwhile.
    for (const migration of missing(native, migrations)) {
      for (const { sql, parameters } of migration.up(db)) native.prepare(sql).run(...(parameters as SQLInputValue[]));
      native.prepare('insert into migrations (name) values (?)').run(migration.name);
    }
    native.exec('commit');
  } catch (error) {
    native.exec('rollback');
    throw error;
  }
}

function missing(native: DatabaseSync, migrations: readonly Migration[]): readonly Migration[] {
  const rows = native.prepare('select name from migrations').all() as { name: string }[];
  const applied = new Set(rows.map((row) => row.name));
  const rest = migrations.filter((migration) => !applied.delete(migration.name));
  const [unknown] = applied;
  if (unknown === undefined) return rest;
  throw new StorageError(`the database was written by a newer Cordon (it has "${unknown}")`, {
    remedy: 'install that version of Cordon again, or use another CORDON_HOME',
  });
}
