import { hash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type NewEvent, openAuditLog } from '../src/audit/log.ts';
import { verifyAudit } from '../src/audit/verify.ts';

/**
 * Durable events a second at 64 callers, and records verified offline a second, beside the two obvious ways to keep
 * records durable, with the same records and the same group commit in the same run:
 * a table in SQLite (WAL, synchronous=FULL, one transaction a batch), and a plain file with one fdatasync a batch.
 * Neither peer hashes, signs, or can prove anything.
 */
const EVENTS = Number(process.env.EVENTS ?? 200_000);
const CALLERS = 64;
const dir = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'cordon-bench-audit-'));

/** Every second event is the outcome of the one that the same caller appended before it. */
const pair = (id: number, cause: number | null): NewEvent => (cause === null ? event(id) : outcome(id, cause));

const outcome = (id: number, cause: number): NewEvent => ({
  type: 'command.exited',
  run: '0123456789abcdef',
  principal: { id: 'user:alice', kind: 'user' },
  action: 'command.execute',
  resource: { id, path: '/usr/bin/node', sha256: 'a'.repeat(64) },
  outcome: { identity: 'kernel', how: { kind: 'exited', code: 0 }, durationMs: 3, at: '2026-01-01T00:00:00.003Z' },
  cause,
});

const event = (id: number): NewEvent => ({
  type: 'command.started',
  run: '0123456789abcdef',
  principal: { id: 'user:alice', kind: 'user' },
  action: 'command.execute',
  resource: {
    id,
    pid: id + 1,
    parent: 0,
    argv: ['node', '--test', 'test/billing.test.js'],
    argvCut: false,
    cwd: '/workspace',
    requested: '/usr/bin/node',
    at: '2026-01-01T00:00:00.000Z',
  },
});

interface Rate {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

/** 64 callers, each with one event on its way at a time. */
async function load(append: (id: number, cause: number | null) => Promise<number>): Promise<Rate> {
  const latencies = new Float64Array(EVENTS);
  let next = 0;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      let cause: number | null = null;
      while (next < EVENTS) {
        const id = next++;
        const begin = performance.now();
        const seq = await append(id, cause);
        cause = cause === null ? seq : null;
        latencies[id] = performance.now() - begin;
      }
    }),
  );
  const perSecond = (EVENTS / (performance.now() - start)) * 1000;
  latencies.sort();
  const at = (share: number) => latencies[Math.floor(EVENTS * share)] as number;
  return { perSecond, p50: at(0.5), p99: at(0.99) };
}

/** The self-clocked group commit that the log has, around any way to make a batch durable. */
function grouped(
  commit: (batch: readonly string[]) => Promise<void>,
): (id: number, cause: number | null) => Promise<number> {
  let queue: { id: number; text: string; done: (seq: number) => void }[] = [];
  let busy = false;
  const drain = async () => {
    busy = true;
    while (queue.length > 0) {
      await new Promise(setImmediate);
      const batch = queue;
      queue = [];
      await commit(batch.map(({ text }) => text));
      for (const { id, done } of batch) done(id);
    }
    busy = false;
  };
  return (id, cause) =>
    new Promise((resolve) => {
      queue.push({
        id,
        text: JSON.stringify({ seq: id, time: new Date().toISOString(), ...pair(id, cause) }),
        done: resolve,
      });
      if (!busy) void drain();
    });
}

async function plainFile(): Promise<Rate> {
  const file = await open(join(dir, 'plain'), 'a');
  const rate = await load(
    grouped(async (batch) => {
      await file.write(`${batch.join('\n')}\n`);
      await file.datasync();
    }),
  );
  await file.close();
  return rate;
}

async function sqlite(): Promise<Rate> {
  const db = new DatabaseSync(join(dir, 'peer.db'));
  db.exec(
    'PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE event (seq INTEGER PRIMARY KEY, record TEXT NOT NULL)',
  );
  const insert = db.prepare('INSERT INTO event (record) VALUES (?)');
  const rate = await load(
    grouped(async (batch) => {
      db.exec('BEGIN');
      for (const record of batch) insert.run(record);
      db.exec('COMMIT');
    }),
  );
  db.close();
  return rate;
}

const row = (name: string, cells: readonly string[]) =>
  console.log(`${name.padEnd(44)}${cells.map((c) => c.padStart(14)).join('')}`);
const rates = ({ perSecond, p50, p99 }: Rate) => [
  Math.round(perSecond).toLocaleString('en'),
  `${p50.toFixed(2)} ms`,
  `${p99.toFixed(2)} ms`,
];

try {
  row(`${EVENTS.toLocaleString('en')} events, ${CALLERS} callers`, ['events/s', 'p50', 'p99']);
  const log = await openAuditLog({ dir: join(dir, 'audit'), keys: join(dir, 'keys') });
  row(
    'cordon audit log (hashed, signed, durable)',
    rates(await load(async (id, cause) => (await log.append(pair(id, cause))).seq)),
  );
  row('  the bar', ['20,000', '', '20.00 ms']);
  row('file, append and fdatasync a batch', rates(await plainFile()));
  row('SQLite, WAL, synchronous=FULL', rates(await sqlite()));
  await log.close();

  console.log();
  row('one event at a time, and opening', ['p50', 'p99']);
  const times: { open: number[]; append: number[]; close: number[] } = { open: [], append: [], close: [] };
  for (let i = 0; i < 20; i++) {
    const begin = performance.now();
    const again = await openAuditLog({ dir: join(dir, 'audit'), keys: join(dir, 'keys') });
    times.open.push(performance.now() - begin);
    for (let k = 0; k < 25; k++) {
      const start = performance.now();
      await again.append(event(k));
      times.append.push(performance.now() - start);
    }
    const end = performance.now();
    await again.close();
    times.close.push(performance.now() - end);
  }
  for (const [name, all] of Object.entries(times)) {
    all.sort((a, b) => a - b);
    row(
      name,
      [0.5, 0.99].map((share) => `${(all[Math.floor(all.length * share)] as number).toFixed(2)} ms`),
    );
  }

  console.log();
  row('offline verification, best of three', ['records/s']);
  for (const threads of [undefined, 0]) {
    let best = 0;
    for (let round = 0; round < 3; round++) {
      const begin = performance.now();
      const options = {
        vkey: log.vkey,
        aliveRuns: new Set(['0123456789abcdef']),
        ...(threads === undefined ? {} : { threads }),
      };
      const { ok, records } = await verifyAudit(join(dir, 'audit'), options);
      if (!ok) throw new Error('the log does not verify');
      best = Math.max(best, (records / (performance.now() - begin)) * 1000);
    }
    const name = threads === 0 ? 'cordon audit verify, one thread' : 'cordon audit verify (hashes, schema, causes)';
    row(name, [Math.round(best).toLocaleString('en')]);
  }
  row('  the bar', ['200,000']);
  const record = Buffer.from(JSON.stringify({ seq: 0, time: new Date().toISOString(), ...event(1), cause: null }));
  const begin = performance.now();
  for (let i = 0; i < EVENTS; i++) hash('sha256', record, 'buffer');
  row('SHA-256 of each record and nothing else', [
    Math.round((EVENTS / (performance.now() - begin)) * 1000).toLocaleString('en'),
  ]);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
