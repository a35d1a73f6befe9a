import { type CompiledQuery, type Kysely, sql } from 'kysely';

export const name = '0001-runs';

export function up(db: Kysely<unknown>): readonly CompiledQuery[] {
  const runs = db.schema
    .createTable('runs')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('created', 'integer', (c) => c.notNull())
    .addColumn('updated', 'integer', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('requester', 'text', (c) => c.notNull())
    .addColumn('repository', 'text', (c) => c.notNull())
    .addColumn('request', 'text', (c) => c.notNull())
    .addColumn('base', 'text')
    .addColumn('branch', 'text')
    .addColumn('head', 'text')
    .addColumn('policy_digest', 'text')
    .addColumn('result', 'text')
    .addColumn('owner_pid', 'integer', (c) => c.notNull())
    .addColumn('owner_start', 'text', (c) => c.notNull())
    .addColumn('owner_boot', 'text', (c) => c.notNull())
    .addColumn('first_audit_seq', 'integer')
    .addColumn('last_audit_seq', 'integer')
    .addColumn('cgroup', 'text')
    .modifyEnd(sql`strict`);
  return [
    runs.compile(),
    db.schema.createIndex('runs_state').on('runs').columns(['state', 'id']).compile(),
    db.schema.createIndex('runs_repository').on('runs').columns(['repository', 'id']).compile(),
  ];
}
