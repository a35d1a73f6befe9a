import type { CompiledQuery, Kysely } from 'kysely';
import * as runs from './0001-runs.ts';
import * as spending from './0002-spending.ts';
import * as keepUntil from './0003-keep-until.ts';

/** The statements that bring the schema one step on; a driver runs all that are missing in one transaction. */
export interface Migration {
  readonly name: string;
  up(db: Kysely<unknown>): readonly CompiledQuery[];
}

/** In the order they are applied. One that has been released is never changed: add another. */
export const migrations: readonly Migration[] = [runs, spending, keepUntil];
