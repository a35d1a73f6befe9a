import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newHome, state } from '../../test/fakes/audit-home.ts';
import { openAuditLog } from './log.ts';
import { readEvents, tailEvents } from './read.ts';
import { verifyAudit } from './verify.ts';

const program = join(import.meta.dirname, '../../test/fakes/audit-appender.ts');
const runs = ['000000000000000a', '000000000000000b', '000000000000000c', '000000000000000d'];

function start(home: { dir: string; keys: string }, run: string, pairs: number) {
  const child: ChildProcess = spawn(process.execPath, [program, home.dir, home.keys, run, String(pairs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return {
    child,
    ended,
    acknowledged: () =>
      output
        .slice(0, output.lastIndexOf('\n') + 1)
        .split('\n')
        .filter(Boolean)
        .map(Number),
  };
}

test('four processes append to one log at once, and one is killed: nothing acknowledged is lost, all verifies', async () => {
  const home = newHome();
  // The one that is killed would not end by itself, however far ahead of the others it is.
  const processes = runs.map((run, i) => start(home, run, i === 1 ? 1_000_000 : 250));
  const victim = processes[1] as (typeof processes)[1];
  const reader = new AbortController();
  const seen: number[] = [];
  const first = await openAuditLog(home); // makes the folders that tail watches, if nobody has yet
  const tail = (async () => {
    for await (const { seq } of tailEvents(home.dir, { from: 0 }, reader.signal)) {
      seen.push(seq);
      if (seq === 600) victim.child.kill('SIGKILL');
    }
  })();
  const codes = await Promise.all(processes.map(({ ended }) => ended));
  expect(codes).toEqual([0, null, 0, 0]);
  reader.abort();
  await tail;
  await first.append(state('after')); // whatever was torn by the kill is mended by whoever writes next
  await first.close();

  const events = [...readEvents(home.dir)];
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i));
  expect(seen).toEqual(seen.map((_, i) => i));
  for (const [i, { acknowledged }] of processes.entries()) {
    const of = new Set(events.filter(({ event }) => event.run === runs[i]).map(({ seq }) => seq));
    expect(acknowledged().filter((seq) => !of.has(seq))).toEqual([]);
    if (i !== 1) expect(of.size).toBe(500);
  }
  const report = await verifyAudit(home.dir, { vkey: first.vkey, aliveRuns: new Set([runs[1] as string]) });
  expect(report).toMatchObject({ ok: true, problems: [], size: events.length });
  // Without the excuse, what the killed process was in the middle of is all there is to say.
  const strict = await verifyAudit(home.dir, { vkey: first.vkey });
  expect(new Set(strict.problems.map(({ code }) => code))).toEqual(
    new Set(strict.openIntents.length > 0 ? ['outcome_missing'] : []),
  );
});
