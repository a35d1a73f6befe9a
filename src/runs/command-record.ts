import { timestamp } from '../base/clock.ts';
import type { EffectivePolicy } from '../policy/index.ts';
import type { Sandbox, SandboxEvent } from '../sandbox/sandbox.ts';
import { type RunLog, recorded } from './run-log.ts';

const UNKNOWN_CONTENT = '0'.repeat(64);

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
  /** The first limit that was hit, in the kernel's words. */
  limit: Extract<SandboxEvent, { type: 'limit' }> | null = null;
  readonly #onLimit: (event: Extract<SandboxEvent, { type: 'limit' }>) => void;

  constructor(
    sandbox: Sandbox,
    log: RunLog,
    policy: EffectivePolicy,
    onLimit: (event: Extract<SandboxEvent, { type: 'limit' }>) => void,
  ) {
    this.#log = log;
    this.#policy = policy;
    this.#onLimit = onLimit;
    this.#done = this.#follow(sandbox);
    this.#done.catch(() => {}); // finished() tells
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
        this.commands++;
        const { type, time, ...resource } = event;
        const ticket = this.#log.enqueue({
          type: 'command.started',
          action: 'command.execute',
          resource: { ...resource, argv: [...resource.argv], at: timestamp(time) },
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
        this.limit ??= event;
        this.#onLimit(event);
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
    return this.#log.enqueue({
      type: 'command.exited',
      action: 'command.execute',
      resource: { id: event.id, path: event.path, sha256: event.sha256 },
      outcome: {
        identity: event.identity,
        how: event.how,
        ...(event.argvSeen === undefined ? {} : { argvSeen: [...event.argvSeen] }),
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
}
