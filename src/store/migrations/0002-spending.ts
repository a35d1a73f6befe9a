import { type CompiledQuery, type Kysely, sql } from 'kysely';

export const name = '0002-spending';

export function up(db: Kysely<unknown>): readonly CompiledQuery[] {
  const spending = db.schema
    .createTable('spending')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('budget', 'text', (c) => c.notNull())
    .addColumn('at', 'integer', (c) => c.notNull())
    .addColumn('nano_usd', 'integer', (c) => c.notNull())
    .addColumn('tokens', 'integer', (c) => c.notNull())
    .addColumn('requests', 'integer', (c) => c.notNull())
    .modifyEnd(sql`strict`);
  return [
    spending.compile(),
    db.schema.createIndex('spending_budget').on('spending').columns(['budget', 'at']).compile(),
  ];
}
