import { type CompiledQuery, type Kysely, sql } from 'kysely';

export const name = '0003-keep-until';

/** Of runs from before, what the policy says where it says nothing: 180 days. */
export function up(db: Kysely<unknown>): readonly CompiledQuery[] {
  return [
    db.schema.alterTable('runs').addColumn('keep_until', 'integer').compile(),
    sql`update runs set keep_until = created + 15552000000`.compile(db),
    db.schema.createIndex('runs_keep_until').on('runs').columns(['keep_until']).compile(),
  ];
}
