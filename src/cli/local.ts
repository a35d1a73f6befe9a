import { prepareHome } from '../config/home.ts';
import { type Paths, resolvePaths } from '../config/paths.ts';
import { findRun } from '../runs/registry.ts';
import { openStore, type RunRecord, type Store } from '../store/index.ts';
import type { Context } from './context.ts';

/** What the verbs that only look need: no sandbox, no policy engine, so that they start at once. */
export interface LocalData {
  readonly paths: Paths;
  readonly store: Store;
}

export async function withLocalData<T>(context: Context, work: (data: LocalData) => Promise<T>): Promise<T> {
  const paths = resolvePaths(context.env);
  await prepareHome(paths);
  const store = await openStore('sqlite', { path: paths.database, look: true });
  try {
    return await work({ paths, store });
  } finally {
    await store.close();
  }
}

export function withRun<T>(
  context: Context,
  idOrPrefix: string,
  work: (run: RunRecord, data: LocalData) => Promise<T>,
): Promise<T> {
  return withLocalData(context, async (data) => work(await findRun(data.store, idOrPrefix), data));
}
