/** What of a run's limits a lost run, and those that it went on from, have used. */
import type { AuditEvent } from '../audit/event.ts';
import { formatDuration } from '../base/duration.ts';
import { ConflictError } from '../base/errors.ts';
import { BUILTIN_TOOLS } from '../policy/index.ts';
import type { Resumption } from './resumption.ts';

/**
 * The most, in milliseconds, that counts between two events: the time limit is a timer's, which stands still while the machine sleeps, and
 * events have the wall's clock. An agent at work hardly lets as much go by, and a night on a closed laptop is not held against it.
 */
const MAX_GAP = 5 * 60_000;

/** Milliseconds at work. The end of a process that was killed is not recorded: the last thing before it is. */
export function elapsedOf(events: readonly AuditEvent[]): number {
  let elapsed = 0;
  let last: number | null = null;
  for (const event of events) {
    if (event.type === 'run.lost') break; // written when somebody looked
    if (event.type === 'agent.resumed') elapsed += event.resource.elapsedMs ?? 0;
    const now = Date.parse(event.time);
    if (last !== null) elapsed += Math.min(MAX_GAP, Math.max(0, now - last));
    if (last !== null || event.type === 'run.started') last = now;
  }
  return elapsed;
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

/** `cordon runs resume` takes no --timeout: the limits are those that the run began with. */
export const USED_UP =
  'give what is still to be done to a new run; --timeout, or limits.wall_clock in the policy, says how long that may take';

/** A run's time is one, however often its process dies. */
export function refuseOverTime(
  { run, elapsedMs }: Pick<Resumption, 'run' | 'elapsedMs'>,
  { limits: { wallClock } }: { readonly limits: { readonly wallClock: number } },
): void {
  if (elapsedMs < wallClock) return;
  throw new ConflictError(`run ${run} has used its ${formatDuration(wallClock)}, with what it went on from`, {
    remedy: USED_UP,
  });
}
