import type { ContentStore } from '../audit/content.ts';
import { rewriteTexts } from '../audit/event-text.ts';
import type { AuditLog, NewEvent, Ticket } from '../audit/log.ts';
import { LimitError } from '../base/errors.ts';
import type { Redactor } from '../base/redact/index.ts';
import { formatSize } from '../base/size.ts';
import { type Decision, decide, type EffectivePolicy, type PolicyAction, refText } from '../policy/index.ts';
import { redactedJson } from './redaction.ts';
import type { Principal } from './request.ts';

type Unaddressed = NewEvent extends infer E ? (E extends NewEvent ? Omit<E, 'run' | 'principal'> : never) : never;

/** Decisions kept of one run; a guest can provoke any number. */
const MAX_DECIDED = 5_000;
/** Characters of them that stand in the event itself. */
const INLINE = 24_000;

/**
 * Bytes that one run may put into the log, about: events stay for ever, and a guest makes one with each request that is denied.
 * Without an end to it, a run could fill the disk that the log of all runs lies on.
 */
const MAX_RECORD = 512 * 1024 * 1024;
/** Of an event, beside its texts. */
const EVENT = 400;

/** One run's view of the audit log: fills in whose events they are, takes secrets out of them, and counts decisions. */
export class RunLog {
  readonly decisions = { permit: 0, deny: 0, ask: 0 };
  /** What was decided upon, for other policies to be tried on it later. */
  readonly #decided: { readonly effect: Decision['effect']; readonly action: PolicyAction }[] = [];
  readonly #log: AuditLog;
  readonly #run: string;
  readonly #requester: Principal;
  readonly #agent: Principal;
  readonly #redactor: Redactor;
  #room: number;
  readonly #most: number;
  /** Why the run is to end; null while there is room. */
  #over: LimitError | null = null;
  #full: (why: LimitError) => void = () => {};
  firstSeq: number | null = null;
  lastSeq: number | null = null;

  constructor(log: AuditLog, run: string, requester: Principal, redactor: Redactor, room = MAX_RECORD) {
    this.#log = log;
    this.#room = room;
    this.#most = room;
    this.#run = run;
    this.#redactor = redactor;
    this.#requester = requester;
    this.#agent = { id: `agent:${run}`, kind: 'agent', onBehalfOf: requester.id };
  }

  /** `stop` is called once, when the run has put into the log what it may, also when that was before. What is open is still recorded: it is to end the run. */
  whenFull(stop: (why: LimitError) => void): void {
    this.#full = stop;
    if (this.#over !== null) stop(this.#over);
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
    return this.count(decide(policy, action), action);
  }

  /** `ruled`: what the policy alone says, where more than the policy was heard. */
  count(decision: Decision, action: PolicyAction, ruled: Decision = decision): Decision {
    this.decisions[decision.effect]++;
    if (this.#decided.length < MAX_DECIDED) this.#decided.push({ effect: ruled.effect, action });
    return decision;
  }

  /** Puts all that was decided into the log, in the group commit of what is appended next. */
  async recordDecisions(content: ContentStore): Promise<void> {
    const list = JSON.stringify(this.redacted(this.#decided));
    const decided = JSON.parse(list) as { effect: Decision['effect']; action: Record<string, string> }[];
    const event = { type: 'decisions.recorded', action: null } as const;
    if (list.length <= INLINE) this.enqueue({ ...event, resource: { count: decided.length, decided } }, 'requester');
    else {
      const options = { mediaType: 'application/json', maxBytes: list.length * 4 };
      const ref = await content.put(this.#run, Buffer.from(list), options);
      this.enqueue({ ...event, resource: { count: decided.length, decided: [] }, content: ref }, 'requester');
    }
  }

  #address(event: Unaddressed, by: 'requester' | 'agent'): NewEvent {
    const texts: string[] = [];
    rewriteTexts(event, (text) => {
      texts.push(text);
      return text;
    });
    this.#take(texts.reduce((sum, text) => sum + text.length, EVENT));
    // Nearly always there is nothing in any of them.
    const shown = this.#redactor.matchesAny(texts) ? rewriteTexts(event, (text) => this.#redactor.redact(text)) : event;
    return { ...shown, run: this.#run, principal: by === 'agent' ? this.#agent : this.#requester } as NewEvent;
  }

  #take(bytes: number): void {
    if (this.#over !== null) return;
    this.#room -= bytes;
    if (this.#room >= 0) return;
    this.#over = new LimitError('record', `the record of this run is full: ${formatSize(this.#most)} of events`, {
      remedy: `do the work in fewer steps; \`cordon runs show ${this.#run}\` tells what was denied so often`,
    });
    this.#full(this.#over);
  }

  /** A value as it may stand in what the run keeps. */
  redacted<T>(value: T): T {
    return redactedJson(value, this.#redactor);
  }

  /** The beginning of a text: secrets are out of it before it is cut, as half of one is not known for it. */
  excerpt(text: string, most: number): string {
    return this.#redactor.redact(text).slice(0, most);
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
