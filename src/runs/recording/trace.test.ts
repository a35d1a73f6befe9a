import { expect, test } from 'vitest';
import type { ContentStore } from '../../audit/content.ts';
import type { AuditEvent } from '../../audit/event.ts';
import { traceOf } from './trace.ts';

const AGENT = '/run/cordon/agent/bin/agent';
const at = (ms: number) => `2026-01-01T00:00:00.${String(ms).padStart(3, '0')}Z`;
const killed = { kind: 'signalled', signal: 9 } as const;
const exited = (code: number) => ({ kind: 'exited', code }) as const;

type How = Extract<AuditEvent, { type: 'command.exited' }>['outcome']['how'];

/** Each: what was asked for, what started it, and when and how it ended. The ids count from 1. */
function commands(
  ...ran: readonly (readonly [requested: string, parent: number, to: number, how: How])[]
): AuditEvent[] {
  return ran.flatMap(([requested, parent, to, how], i) => [
    { type: 'command.started', seq: 2 * i, resource: { id: i + 1, parent, argv: [requested], requested, at: at(0) } },
    { type: 'command.exited', seq: 2 * i + 1, cause: 2 * i, outcome: { how, at: at(to) } },
  ]) as unknown as AuditEvent[];
}

async function leftIn(events: readonly AuditEvent[]): Promise<string[]> {
  const { commands } = await traceOf('run', events, null as unknown as ContentStore);
  return commands.filter(({ left }) => left).map(({ argv }) => argv.join(' '));
}

test('what goes on after the agent’s own program is left of it; within one millisecond, what was killed', async () => {
  const events = commands(
    [AGENT, 0, 50, exited(0)],
    ['before', 1, 49, killed],
    ['with it', 1, 50, exited(2)],
    ['killed with it', 1, 50, killed],
    ['ended after it', 1, 51, exited(0)],
  );
  expect(await leftIn(events)).toEqual(['killed with it', 'ended after it']);
});

test('an agent that is talked with ends where it had said all, though its program goes on', async () => {
  const ended = { type: 'agent.ended', seq: 99, resource: { at: at(30) } } as unknown as AuditEvent;
  const events = commands([AGENT, 0, 50, exited(0)], ['turn', 1, 29, exited(0)], ['side', 1, 40, killed]);
  expect(await leftIn([...events, ended])).toEqual([AGENT, 'side']);
  expect(await leftIn(events)).toEqual([]);
});

test('commands that were given one by one are left of nothing: which was the last, nobody knows', async () => {
  expect(await leftIn(commands(['first', 0, 10, exited(0)], ['second', 0, 20, killed]))).toEqual([]);
  expect(await leftIn(commands(['only', 0, 10, exited(0)], ['below', 1, 20, killed]))).toEqual(['below']);
});
