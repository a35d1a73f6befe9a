import { timestamp } from '../base/clock.ts';
import { type CordonError, EnforcementError, LimitError } from '../base/errors.ts';
import type { EffectivePolicy } from '../policy/index.ts';
import { guestProgramDigest } from '../sandbox/guest-binary.ts';
import type { Sandbox, SandboxEvent, Toolbox } from '../sandbox/sandbox.ts';
import type { LoadedPolicy } from './policy-layers.ts';
import { type RunLog, recorded } from './run-log.ts';

const UNKNOWN_CONTENT = '0'.repeat(64);

/**
 * Programs that one run may start. Each is two records for ever: without an end to it, a run could fill the disk that the
 * log of all runs lies on.
 */
const MAX_COMMANDS = 500_000;
/** Characters of a path in a record, and of an argument list as JSON: control characters take six each. */
const NAME_LENGTH = 2048;
const ARGV_LENGTH = 24_000;

function tooManyCommands(): LimitError {
  return new LimitError('commands', `more than ${MAX_COMMANDS} programs were started`, {
    remedy: 'do the work in fewer, larger steps',
  });
}

/** As many arguments as a record has room for. */
function fitting(argv: readonly string[]): string[] {
  let room = ARGV_LENGTH;
  const end = argv.findIndex((word) => {
    room -= JSON.stringify(word).length + 1;
    return room < 0;
  });
  return end < 0 ? [...argv] : argv.slice(0, end);
}

/** What the sandbox saw, carried into the audit log as it happens. */
export class CommandRecord {
  readonly #log: RunLog;
  readonly #policy: EffectivePolicy;
  readonly #started = new Map<
    number,
    { readonly ticket: ReturnType<RunLog['enqueue']>; readonly time: number; readonly requested: string }
  >();
  readonly #done: Promise<void>;
  commands = 0;
  lost = 0;
  readonly #stop: (why: CordonError) => void;
  /** SHA-256 of what may run, where the policy lists it. */
  readonly #listed: Set<string> | null;

  /** `stop` ends the run: for a limit that ended everything inside, and for a program that should not have run. */
  constructor(sandbox: Sandbox, log: RunLog, { policy, toolbox }: LoadedPolicy, stop: (why: CordonError) => void) {
    this.#log = log;
    this.#policy = policy;
    this.#stop = stop;
    this.#listed = toolbox.kind === 'list' ? new Set([guestProgramDigest()]) : null;
    this.allow(toolbox);
    this.#done = this.#follow(sandbox);
    this.#done.catch(() => {}); // finished() tells
  }

  /** A further view of the sandbox may run these too. */
  allow(toolbox: Toolbox): void {
    if (toolbox.kind === 'usr') return;
    for (const { sha256 } of [...toolbox.executables, ...toolbox.libraries]) this.#listed?.add(sha256);
  }

  /** Resolves when the sandbox is gone and its last event is in the log; rejects when one could not be recorded. */
  async finished(): Promise<void> {
    await this.#done;
    await this.#log.flush();
  }

  async #follow(sandbox: Sandbox): Promise<void> {
    for await (const event of sandbox.events) {
      const ticket = this.#record(event);
      if (ticket !== null) await ticket.room;
    }
  }

  #record(event: SandboxEvent): ReturnType<RunLog['enqueue']> | null {
    switch (event.type) {
      case 'started': {
        if (++this.commands > MAX_COMMANDS) this.#stop(tooManyCommands());
        const { type, time, requested, cwd, ...rest } = event;
        const argv = fitting(event.argv);
        const resource = {
          ...rest,
          requested: requested.slice(0, NAME_LENGTH),
          cwd: cwd.slice(0, NAME_LENGTH),
          argv,
          argvCut: event.argvCut || argv.length < event.argv.length,
        };
        const ticket = this.#log.enqueue({
          type: 'command.started',
          action: 'command.execute',
          resource: { ...resource, at: timestamp(time) },
        });
        this.#started.set(event.id, { ticket, time, requested: event.requested });
        return ticket;
      }
      case 'ended':
        return this.#ended(event);
      case 'lost':
        this.lost++;
        return this.#log.enqueue(
          { type: 'recorder.lost', action: null, resource: { reason: event.reason } },
          'requester',
        );
      case 'limit':
        if (event.stopped) this.#stop(new LimitError(event.limit, event.detail));
        return this.#log.enqueue(
          { type: 'limit.reached', action: null, resource: { limit: event.limit, detail: event.detail } },
          'requester',
        );
    }
  }

  #ended(event: Extract<SandboxEvent, { type: 'ended' }>): ReturnType<RunLog['enqueue']> | null {
    const start = this.#started.get(event.id);
    if (start === undefined) return null;
    this.#started.delete(event.id);
    if (event.how.kind === 'failed') this.#refused(start.requested);
    else if (event.sha256 !== null && this.#listed?.has(event.sha256) === false) this.#breach(event.path, event.sha256);
    return this.#log.enqueue({
      type: 'command.exited',
      action: 'command.execute',
      resource: { id: event.id, path: event.path.slice(0, NAME_LENGTH), sha256: event.sha256 },
      outcome: {
        identity: event.identity,
        how: event.how,
        ...(event.argvSeen === undefined ? {} : { argvSeen: fitting(event.argvSeen) }),
        durationMs: Math.max(0, Math.round(event.time - start.time)),
        at: timestamp(event.time),
      },
      cause: start.ticket,
    });
  }

  /** An execve of a file that is there and was not let run: with a list in force, that is the policy's word. */
  #refused(requested: string): void {
    if (this.#policy.commands === null || !requested.startsWith('/')) return;
    const decision = this.#log.decide(this.#policy, {
      action: 'command.execute',
      path: requested,
      sha256: UNKNOWN_CONTENT,
    });
    if (decision.effect === 'permit') return; // allowed by its name; what failed was something else
    this.#log.enqueue({
      type: 'command.decided',
      action: 'command.execute',
      resource: { requested, path: null, sha256: null },
      decision: recorded(decision),
    });
  }

  /** The mounts should have made this impossible: whatever the reason, nothing goes on. */
  #breach(path: string, sha256: string): void {
    const reason = `${path} ran, which is not among the listed commands (SHA-256 ${sha256})`;
    this.lost++;
    this.#log.enqueue({ type: 'recorder.lost', action: null, resource: { reason } }, 'requester');
    this.#stop(new EnforcementError('exec-list', reason, { remedy: 'report this: the boundary did not hold' }));
  }
}
