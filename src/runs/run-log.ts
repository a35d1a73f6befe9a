import type { AuditLog, NewEvent, Ticket } from '../audit/log.ts';
import { type Decision, decide, type EffectivePolicy, type PolicyAction, refText } from '../policy/index.ts';
import type { Principal } from './request.ts';

type Unaddressed = NewEvent extends infer E ? (E extends NewEvent ? Omit<E, 'run' | 'principal'> : never) : never;

/** One run's view of the audit log: fills in whose events they are, and counts decisions. */
export class RunLog {
  readonly decisions = { permit: 0, deny: 0, ask: 0 };
  readonly #log: AuditLog;
  readonly #run: string;
  readonly #requester: Principal;
  readonly #agent: Principal;
  firstSeq: number | null = null;
  lastSeq: number | null = null;

  constructor(log: AuditLog, run: string, requester: Principal) {
    this.#log = log;
    this.#run = run;
    this.#requester = requester;
    this.#agent = { id: `agent:${run}`, kind: 'agent', onBehalfOf: requester.id };
  }

  /** Durable when it resolves; the seq. `by`: who did it. */
  async append(event: Unaddressed, by: 'requester' | 'agent' = 'requester'): Promise<number> {
    const { seq } = await this.#log.append(this.#address(event, by));
    this.#seen(seq);
    return seq;
  }

  /** In order with the others, durable within one group commit. */
  enqueue(event: Unaddressed, by: 'requester' | 'agent' = 'agent'): Ticket {
    const ticket = this.#log.enqueue(this.#address(event, by));
    ticket.durable.then(
      ({ seq }) => this.#seen(seq),
      () => {}, // flush tells
    );
    return ticket;
  }

  flush(): Promise<void> {
    return this.#log.flush();
  }

  /** What the policy says, counted. */
  decide(policy: EffectivePolicy, action: PolicyAction): Decision {
    return this.count(decide(policy, action));
  }

  count(decision: Decision): Decision {
    this.decisions[decision.effect]++;
    return decision;
  }

  #address(event: Unaddressed, by: 'requester' | 'agent'): NewEvent {
    return { ...event, run: this.#run, principal: by === 'agent' ? this.#agent : this.#requester } as NewEvent;
  }

  #seen(seq: number): void {
    this.firstSeq ??= seq;
    this.lastSeq = Math.max(this.lastSeq ?? 0, seq);
  }
}

/** A decision as it stands in events. */
export function recorded(decision: Decision) {
  const { effect, reason, policyDigest, subjectDigest } = decision;
  return {
    effect,
    reason,
    policyDigest,
    subjectDigest,
    rules: decision.rules.map((rule) => `${refText(rule)} ${rule.text}`),
  };
}
