import type { Store } from './store.ts';

export type {
  NewRun,
  RunPage,
  RunPatch,
  RunQuery,
  RunRecord,
  Spending,
  SpendingBounds,
  SpendingEntry,
  Store,
} from './store.ts';

/** One line for each driver; loaded when it is used, since a database client costs more than the command line itself. */
const drivers = {
  sqlite: async (options: { readonly path: string; readonly look?: boolean }): Promise<Store> =>
    (await import('./drivers/sqlite.ts')).openSqliteStore(options),
} satisfies Record<string, (options: never) => Promise<Store>>;

export type StoreDriverName = keyof typeof drivers;

export function openStore<Name extends StoreDriverName>(
  driver: Name,
  options: Parameters<(typeof drivers)[Name]>[0],
): Promise<Store> {
  return drivers[driver](options);
}
