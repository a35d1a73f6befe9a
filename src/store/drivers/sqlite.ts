import { Kysely, SqliteDialect, sql } from 'kysely';
import { ConflictError, CordonError, NotFoundError, StorageError } from '../../base/errors.ts';
import type {
  NewRun,
  RunPage,
  RunPatch,
  RunQuery,
  RunRecord,
  Spending,
  SpendingBounds,
  SpendingEntry,
  Store,
} from '../store.ts';
import { type Database, fromRow, patchRow, type RunRow, toRow } from './rows.ts';
import { copySqlite, isReadOnly, NodeSqliteDatabase, openSqlite } from './sqlite-database.ts';
import { migrate } from './sqlite-migrate.ts';

/** Errors of SQLite that say that the row is there already (sqlite.org/rescode.html: CONSTRAINT_PRIMARYKEY). */
const SQLITE_CONSTRAINT_PRIMARYKEY = 1555;

export interface SqliteOptions {
  /** The file; made when it is not there. Its folder must exist. */
  readonly path: string;
  /** Nothing will be written: a file that cannot be, as of a copy on a read-only disk, is read all the same. */
  readonly look?: boolean;
}

/** Throws `StorageError` when the file cannot be opened or is not ours. */
export async function openSqliteStore(options: SqliteOptions): Promise<Store> {
  return guard(options.path, async () => {
    const copied = options.look && isReadOnly(options.path) ? copySqlite(options.path) : null;
    let database: NodeSqliteDatabase | null = null;
    try {
      const native = openSqlite(copied?.copy ?? options.path);
      database = new NodeSqliteDatabase(native, copied?.remove);
      const db = new Kysely<Database>({ dialect: new SqliteDialect({ database }) });
      migrate(native, db as unknown as Kysely<unknown>);
      return new SqliteStore(db, options.path);
    } catch (error) {
      database?.close();
      copied?.remove();
      throw error;
    }
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

  dueRuns(at: number, limit: number): Promise<readonly RunRecord[]> {
    return guard(this.#path, async () => {
      const rows = await this.#db
        .selectFrom('runs')
        .selectAll()
        .where('keep_until', '<=', at)
        .orderBy('keep_until')
        .limit(limit)
        .execute();
      return rows.map(fromRow);
    });
  }

  reserveSpending(entry: SpendingEntry, bounds: SpendingBounds) {
    return guard(this.#path, async () => {
      const { id, budget, at, nanoUsd, tokens, requests } = entry;
      const most = (bound: number | null) => bound ?? Number.MAX_SAFE_INTEGER;
      // One statement: SQLite lets no other writer in while it sums and adds.
      const { numAffectedRows } = await sql`
        insert into spending (id, budget, at, nano_usd, tokens, requests)
        select ${id}, ${budget}, ${at}, ${nanoUsd}, ${tokens}, ${requests}
        from (${total(budget, bounds.since)}) as spent
        where spent.nano_usd + ${nanoUsd} <= ${most(bounds.nanoUsd)}
          and spent.tokens + ${tokens} <= ${most(bounds.tokens)}
          and spent.requests + ${requests} <= ${most(bounds.requests)}`.execute(this.#db);
      const added = numAffectedRows === 1n;
      const now = await this.#spent(budget, bounds.since);
      const before = added
        ? { nanoUsd: now.nanoUsd - nanoUsd, tokens: now.tokens - tokens, requests: now.requests - requests }
        : now;
      return { added, before };
    });
  }

  settleSpending(entry: SpendingEntry, since: number): Promise<Spending> {
    return guard(this.#path, async () => {
      await this.#db
        .updateTable('spending')
        .set({ nano_usd: entry.nanoUsd, tokens: entry.tokens, requests: entry.requests })
        .where('id', '=', entry.id)
        .execute();
      return this.#spent(entry.budget, since);
    });
  }

  async #spent(budget: string, since: number): Promise<Spending> {
    const { rows } = await total(budget, since).execute(this.#db);
    const { nano_usd: nanoUsd, tokens, requests } = rows[0] ?? { nano_usd: 0, tokens: 0, requests: 0 };
    return { nanoUsd, tokens, requests };
  }

  async close(): Promise<void> {
    await this.#db.destroy();
  }

  async #get(id: string): Promise<RunRecord | null> {
    const row = await this.#db.selectFrom('runs').selectAll().where('id', '=', id).executeTakeFirst();
    return row === undefined ? null : fromRow(row);
  }
}

/** Sums of a budget's entries of a period; as floating point, in which no sum is too large to be read. */
function total(budget: string, since: number) {
  return sql<{ nano_usd: number; tokens: number; requests: number }>`
    select total(nano_usd) as nano_usd, total(tokens) as tokens, total(requests) as requests
    from spending where budget = ${budget} and at >= ${since}`;
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
