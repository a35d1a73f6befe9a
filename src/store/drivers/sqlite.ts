import { Kysely, SqliteDialect } from 'kysely';
import { ConflictError, CordonError, NotFoundError, StorageError } from '../../base/errors.ts';
import type { NewRun, RunPage, RunPatch, RunQuery, RunRecord, Store } from '../store.ts';
import { type Database, fromRow, patchRow, type RunRow, toRow } from './rows.ts';
import { NodeSqliteDatabase, openSqlite } from './sqlite-database.ts';
import { migrate } from './sqlite-migrate.ts';

/** Errors of SQLite that say that the row is there already (sqlite.org/rescode.html: CONSTRAINT_PRIMARYKEY). */
const SQLITE_CONSTRAINT_PRIMARYKEY = 1555;

export interface SqliteOptions {
  /** The file; made when it is not there. Its folder must exist. */
  readonly path: string;
}

/** Throws `StorageError` when the file cannot be opened or is not ours. */
export async function openSqliteStore(options: SqliteOptions): Promise<Store> {
  return guard(options.path, async () => {
    const native = openSqlite(options.path);
    const db = new Kysely<Database>({ dialect: new SqliteDialect({ database: new NodeSqliteDatabase(native) }) });
    try {
      migrate(native, db as unknown as Kysely<unknown>);
    } catch (error) {
      native.close();
      throw error;
    }
    return new SqliteStore(db, options.path);
  });
}

class SqliteStore implements Store {
  readonly #db: Kysely<Database>;
  readonly #path: string;

  constructor(db: Kysely<Database>, path: string) {
    this.#db = db;
    this.#path = path;
  }

  createRun(run: NewRun): Promise<void> {
    return guard(this.#path, async () => {
      try {
        await this.#db.insertInto('runs').values(toRow(run)).execute();
      } catch (error) {
        if ((error as { errcode?: number }).errcode !== SQLITE_CONSTRAINT_PRIMARYKEY) throw error;
        throw new ConflictError(`there is a run ${run.id} already`, { cause: error });
      }
    });
  }

  updateRun(id: string, from: string, patch: RunPatch): Promise<void> {
    return guard(this.#path, async () => {
      const result = await this.#db
        .updateTable('runs')
        .set(patchRow(patch))
        .where('id', '=', id)
        .where('state', '=', from)
        .executeTakeFirst();
      if (result.numUpdatedRows === 1n) return;
      const run = await this.#get(id);
      if (run === null) throw new NotFoundError(`there is no run ${id}`);
      throw new ConflictError(`run ${id} is ${run.state} by now, not ${from}`);
    });
  }

  getRun(id: string): Promise<RunRecord | null> {
    return guard(this.#path, () => this.#get(id));
  }

  findRuns(prefix: string, limit: number): Promise<readonly RunRecord[]> {
    return guard(this.#path, async () => {
      const end = `${prefix}\u{10ffff}`;
      const rows = await this.#db
        .selectFrom('runs')
        .selectAll()
        .where('id', '>=', prefix)
        .where('id', '<', end)
        .orderBy('id', 'desc')
        .limit(limit)
        .execute();
      return rows.map(fromRow);
    });
  }

  listRuns(query: RunQuery): Promise<RunPage> {
    return guard(this.#path, async () => {
      let select = this.#db
        .selectFrom('runs')
        .selectAll()
        .orderBy('id', 'desc')
        .limit(query.limit + 1);
      if (query.states !== undefined) select = select.where('state', 'in', query.states);
      if (query.repository !== undefined) select = select.where('repository', '=', query.repository);
      if (query.cursor !== undefined) select = select.where('id', '<', query.cursor);
      const rows: RunRow[] = await select.execute();
      const runs = rows.slice(0, query.limit).map(fromRow);
      return { runs, next: rows.length > query.limit ? (runs.at(-1)?.id ?? null) : null };
    });
  }

  async close(): Promise<void> {
    await this.#db.destroy();
  }

  async #get(id: string): Promise<RunRecord | null> {
    const row = await this.#db.selectFrom('runs').selectAll().where('id', '=', id).executeTakeFirst();
    return row === undefined ? null : fromRow(row);
  }
}

/** Turns what SQLite throws (disk full, not a database, locked) into `StorageError`; our own errors pass. */
async function guard<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CordonError) throw error;
    throw new StorageError(`the database ${path} could not be used: ${(error as Error).message}`, {
      cause: error,
      remedy: 'free disk space or correct the file’s permissions, then run it again; `cordon doctor` looks at both',
    });
  }
}
