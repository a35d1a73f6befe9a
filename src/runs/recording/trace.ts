import type { ContentStore } from '../../audit/content.ts';
import type { AuditEvent } from '../../audit/event.ts';
import { NotFoundError } from '../../base/errors.ts';
import { type RanCommand, withoutTrees } from './commands.ts';
import type { ChangedPath, RunTrace } from './compare.ts';

/** Bytes of a list of changes that are read. */
const MAX_CHANGES = 256 * 1024 * 1024;

/** How Cordon's own git begins: what it commits for a run is no part of what the agent did. */
const OWN_GIT = ['/usr/bin/git', '-c', 'core.hooksPath=/dev/null', '-c', 'core.fsmonitor=false'];

/** Where the program of a known agent lies inside, and the Node that starts it (agents/found.ts). */
const AGENT = /^\/run\/cordon\/(agent\/|node$)/;

/** Ends that a process does not come to by itself. */
const ENDED = /^(?:signal \d+|exit 1(?:37|43))$/;

type Mutable<T> = { -readonly [name in keyof T]: T[name] };

/** What the log says a run did. */
export async function traceOf(run: string, events: readonly AuditEvent[], content: ContentStore): Promise<RunTrace> {
  const commands = new Map<number, Mutable<RanCommand>>();
  const agents = new Set<number>();
  let trace = {
    status: 'unknown',
    policyDigest: '',
    toolboxDigest: null as string | null,
    agent: null as string | null,
  };
  let changes: ChangedPath[] | null = [];
  let saidAll: string | null = null;
  for (const event of events) {
    if (event.type === 'run.started') {
      const { policyDigest, toolboxDigest } = event.resource;
      trace = { ...trace, policyDigest, toolboxDigest };
    } else if (event.type === 'run.stopped') trace = { ...trace, status: event.outcome.status };
    else if (event.type === 'command.started') {
      const { id, parent, argv, at, requested } = event.resource;
      if (AGENT.test(requested) || (agents.has(parent) && requested === '/proc/self/exe')) agents.add(id);
      const agent = agents.has(id);
      commands.set(event.seq, { id, parent, argv, end: 'no end', from: at, to: null, agent, left: false });
    } else if (event.type === 'agent.prepared') {
      const { agent, version, tree } = event.resource;
      trace = { ...trace, agent: `${agent} ${version}${tree === null ? '' : ` ${tree}`}` };
    } else if (event.type === 'agent.ended') saidAll = event.resource.at ?? null;
    else if (event.type === 'command.exited') {
      const command = commands.get(event.cause ?? -1);
      if (command !== undefined) Object.assign(command, { end: endText(event.outcome.how), to: event.outcome.at });
    } else if (event.type === 'files.summary') changes = await readChanges(run, event, content);
  }
  const own = withoutOwn([...commands.values()]);
  markLeft(own, saidAll);
  return { run, ...trace, commands: own, changes };
}

/** `saidAll`: when an agent that is talked with had said all; others end with their program. */
function markLeft(commands: Mutable<RanCommand>[], saidAll: string | null): void {
  const roots = commands.filter(({ parent }) => parent === 0);
  const program =
    saidAll === null ? (roots.find(({ agent }) => agent) ?? (roots.length === 1 ? roots[0] : null)) : null;
  const end = saidAll ?? program?.to;
  if (end == null) return;
  for (const one of commands) {
    if (one === program) continue;
    // Within one millisecond only what was ended tells of it.
    one.left = one.to === null || one.to > end || (one.to === end && ENDED.test(one.end));
  }
}

function endText(how: Extract<AuditEvent, { type: 'command.exited' }>['outcome']['how']): string {
  if (how.kind === 'exited') return `exit ${how.code}`;
  return how.kind === 'signalled' ? `signal ${how.signal}` : how.kind;
}

/** Without what Cordon runs itself: the git that commits what was left, and all below it. */
export function withoutOwn<T extends Pick<RanCommand, 'id' | 'parent' | 'argv'>>(all: readonly T[]): T[] {
  return withoutTrees(all, ({ parent, argv }) => parent === 0 && OWN_GIT.every((word, i) => argv[i] === word));
}

/** Null when it was deleted. */
async function readChanges(
  run: string,
  event: Extract<AuditEvent, { type: 'files.summary' }>,
  content: ContentStore,
): Promise<ChangedPath[] | null> {
  if (event.content === undefined) return [];
  try {
    const bytes = await content.readAll(run, event.content, MAX_CHANGES);
    return bytes
      .toString('utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as ChangedPath);
  } catch (error) {
    if (error instanceof NotFoundError) return null;
    throw error;
  }
}
