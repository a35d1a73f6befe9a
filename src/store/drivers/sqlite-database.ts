import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import type { SqliteDatabase, SqliteStatement } from 'kysely';

/**
 * Node's own SQLite in the shape that Kysely's dialect asks for (that of better-sqlite3).
 * Statements are prepared once for each text.
 */
export class NodeSqliteDatabase implements SqliteDatabase {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, SqliteStatement>();
  readonly #closed: () => void;

  constructor(database: DatabaseSync, closed: () => void = () => {}) {
    this.#database = database;
    this.#closed = closed;
  }

  prepare(sql: string): SqliteStatement {
    // A transaction that begins by reading and then writes fails at once when another process wrote in between,
    // whatever the busy timeout says (SQLITE_BUSY_SNAPSHOT); one that takes the lock at its start waits for it.
    const text = sql === 'begin' ? 'begin immediate' : sql;
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = adapt(this.#database.prepare(text));
      this.#statements.set(text, statement);
    }
    return statement;
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
    this.#closed();
  }
}

function adapt(statement: StatementSync): SqliteStatement {
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => statement.all(...(parameters as SQLInputValue[])),
    run: (parameters) => statement.run(...(parameters as SQLInputValue[])),
    iterate: (parameters) => statement.iterate(...(parameters as SQLInputValue[])),
  };
}

/**
 * Opens (or makes, mode 0600) the file with what a shared, durable database needs: a write-ahead log so that readers never
 * wait, FULL so that a commit survives a power cut, and a wait for other processes' short transactions.
 */
export function openSqlite(path: string): DatabaseSync {
  // SQLite itself would make it readable for all; its log and its index of it take the mode of the file.
  closeSync(openSync(path, 'a', 0o600));
  const database = new DatabaseSync(path, { timeout: 5_000, enableForeignKeyConstraints: true });
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;');
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

/** True for a file that is there, and that this process may not write to, or not beside: SQLite cannot even read it then. */
export function isReadOnly(path: string): boolean {
  if (!existsSync(path)) return false;
  try {
    for (const place of [path, dirname(path)]) accessSync(place, constants.W_OK);
    return false;
  } catch {
    return true;
  }
}

/** Copies the file and its write-ahead log into a folder of this user's alone, which is the caller's to remove. */
export function copySqlite(path: string): { readonly copy: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'cordon-look-'));
  const copy = join(folder, 'copy.db');
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    for (const part of ['', '-wal']) {
      if (!existsSync(path + part)) continue;
      copyFileSync(path + part, copy + part);
      chmodSync(copy + part, 0o600);
    }
    return { copy, remove };
  } catch (error) {
    remove();
    throw error;
  }
}
