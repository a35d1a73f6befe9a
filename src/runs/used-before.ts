/** What of a run's limits a lost run, and those that it went on from, have used. */
import type { AuditEvent } from '../audit/event.ts';
import { formatDuration } from '../base/duration.ts';
import { ConflictError } from '../base/errors.ts';
import { BUILTIN_TOOLS } from '../policy/index.ts';
import type { Resumption } from './resumption.ts';

/** Milliseconds at work. The end of a process that was killed is not recorded: the last thing before it is. */
export function elapsedOf(events: readonly AuditEvent[]): number {
  let [elapsed, begun, last] = [0, 0, 0];
  for (const event of events) {
    if (event.type === 'run.lost') break; // written when somebody looked
    if (event.type === 'agent.resumed') elapsed += event.resource.elapsedMs ?? 0;
    last = Date.parse(event.time);
    if (event.type === 'run.started') begun = last;
  }
  return begun === 0 ? elapsed : elapsed + Math.max(0, last - begun);
}

/** Each that was not denied: rather too many than too few. */
export function callsOf(events: readonly AuditEvent[]): Record<string, number> {
  const calls = new Map<string, number>();
  const add = (server: string, more: number) => calls.set(server, (calls.get(server) ?? 0) + more);
  for (const event of events) {
    if (event.type === 'agent.resumed')
      for (const [server, made] of Object.entries(event.resource.calls ?? {})) add(server, made);
    else if (event.type === 'tool.requested' && event.decision.effect !== 'deny') {
      const { server } = event.resource;
      if (server !== BUILTIN_TOOLS) add(server, 1);
    }
  }
  return Object.fromEntries(calls);
}

/** A run's time is one, however often its process dies. */
export function refuseOverTime(
  { run, elapsedMs }: Pick<Resumption, 'run' | 'elapsedMs'>,
  { limits: { wallClock } }: { readonly limits: { readonly wallClock: number } },
): void {
  if (elapsedMs < wallClock) return;
  throw new ConflictError(`run ${run} has used its ${formatDuration(wallClock)}, with what it went on from`, {
    remedy:
      'give what is still to be done to a new run; --timeout, or limits.wall_clock in the policy, says how long that may take',
  });
}
