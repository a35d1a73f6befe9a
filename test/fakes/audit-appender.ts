import { openAuditLog } from '../../src/audit/log.ts';
import { exited, started } from './audit-events.ts';

/** A process of the multi-process tests: appends `pairs` intents with their outcomes and prints each acknowledged seq. */
const [dir, keys, run, pairs] = process.argv.slice(2) as [string, string, string, string];
const log = await openAuditLog({ dir, keys, segmentBytes: 16 * 1024 });
await Promise.all(
  Array.from({ length: 4 }, async (_, lane) => {
    for (let i = lane; i < Number(pairs); i += 4) {
      const { seq } = await log.append(started(i, run));
      const done = await log.append(exited(i, seq, run));
      process.stdout.write(`${seq}\n${done.seq}\n`);
    }
  }),
);
await log.close();
