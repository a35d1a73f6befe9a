import type { Clock } from '../../base/clock.ts';
import {
  type Decision,
  type EffectivePolicy,
  type HostFacts,
  hostFacts,
  type NetworkHost,
  type PolicyAction,
  refText,
} from '../../policy/index.ts';
import type { EgressLimits } from './limits.ts';
import type { DependencyEvent } from './packages/hook.ts';
import { Refusal, type Result } from './refusal.ts';
import type { Target } from './target.ts';

/** One crossing of the boundary, before it happens. Method and path are null for a tunnel that nobody looks into. */
export interface CrossingDecided {
  readonly host: string;
  readonly port: number;
  readonly method: string | null;
  /** Canonical and without its query, where values would be secrets. */
  readonly path: string | null;
  readonly decision: Decision;
}

/** The same, afterwards. `address` is null when nothing was dialled. */
export interface CrossingClosed {
  readonly host: string;
  readonly port: number;
  readonly address: string | null;
  readonly result: Result;
  readonly status: number | null;
  readonly bytesOut: number;
  readonly bytesIn: number;
  readonly durationMs: number;
}

/** What never came to a decision: bytes with no meaning, or a name that was asked for and is not answered. */
export interface Unjudged {
  readonly via: 'proxy' | 'http' | 'tls' | 'dns';
  readonly host: string | null;
  readonly detail: string;
}

export interface EgressLog {
  /** Resolves when durable, with what `closed` will be given; nothing happens before. A rejection refuses the crossing. */
  decided(event: CrossingDecided): Promise<unknown>;
  /** A rejection ends the whole gateway: what cannot be recorded does not go on. */
  closed(token: unknown, event: CrossingClosed): void | Promise<void>;
  unjudged(event: Unjudged): void;
  /** Of the crossing with that token; in order with the others. */
  dependency(token: unknown, event: DependencyEvent): void;
}

/** A decision that is no denial, or a stricter one in its place. Asked again, it answers the same. */
export type Narrow = (decision: Decision) => Promise<Decision>;

/** `narrow` is for whoever counts: the ledger asks it in any case. */
export type Decide = (action: PolicyAction, narrow?: Narrow) => Decision | Promise<Decision>;

interface Budget {
  up: number;
  down: number;
  readonly maxUp: number;
  readonly maxDown: number;
}

function overBudget(target: Target, name: 'max_upload' | 'max_download', limit: number): Refusal {
  const where = `${target.host}:${target.port}`;
  return new Refusal('budget', `more than the ${limit} bytes of ${name} for ${where} in this run`, {
    ...target,
    remedy: `where the policy lists it: {host: "${target.host}", port: ${target.port}, ${name}: …}`,
  });
}

export interface LedgerOptions {
  readonly policy: EffectivePolicy;
  readonly decide: Decide;
  readonly log: EgressLog;
  readonly clock: Clock;
  readonly limits: EgressLimits;
  /** Called once, when the log has failed. */
  readonly onBroken: () => void;
}

/** Every crossing of one run: judged, recorded, counted, and cut when its permission ends. */
export class Ledger {
  readonly #options: LedgerOptions;
  readonly #open = new Set<Crossing>();
  readonly #budgets = new Map<string | NetworkHost, Budget>();
  readonly #revoked: Revocation[] = [];
  readonly #facts = new Map<string, HostFacts>();
  #broken = false;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  facts(target: Target): HostFacts {
    const key = `${target.host}:${target.port}`;
    const known = this.#facts.get(key);
    if (known !== undefined) return known;
    const facts = hostFacts(this.#options.policy, target.host, target.port);
    // A wildcard has as many names as a guest can think of.
    if (this.#facts.size >= 1024) this.#facts.clear();
    this.#facts.set(key, facts);
    return facts;
  }

  /** Judges, and returns when the verdict is durable. Throws `Refusal` when it is not a permit; that is recorded too. */
  async enter(
    target: Target,
    request: { readonly method: string; readonly path: string | null } | null,
    actions: readonly PolicyAction[],
    narrow?: Narrow,
  ): Promise<Crossing> {
    const { decide, log } = this.#options;
    let decision: Decision | undefined;
    for (const action of actions) {
      const own = action.action === 'net.request' ? narrow : undefined;
      decision = this.#withRevocations(await decide(action, own), target);
      if (decision.effect === 'permit' && own !== undefined)
        decision = this.#withRevocations(await own(decision), target);
      if (decision.effect !== 'permit') break;
    }
    if (decision === undefined) throw new RangeError('a crossing needs an action');
    const method = request?.method ?? null;
    const path = request?.path ?? null;
    const token = await this.#durable(() => log.decided({ ...target, method, path, decision }));
    const crossing = new Crossing(this, target, token, decision, this.#options.clock);
    if (decision.effect === 'permit') {
      // It may have been revoked while the record was written.
      if (this.#revoked.some((revocation) => revokes(revocation, target, decision))) {
        throw crossing.fail(
          new Refusal('revoked', `${target.host}:${target.port} was revoked`, { ...target, decision }),
        );
      }
      this.#open.add(crossing);
      return crossing;
    }
    const reason = decision.effect === 'ask' ? `${decision.reason}; nobody can be asked here` : decision.reason;
    throw crossing.fail(new Refusal('denied', reason, { ...target, decision }));
  }

  async #durable<T>(append: () => Promise<T>): Promise<T> {
    if (this.#broken) throw new Refusal('audit_unavailable', 'nothing crosses while the audit log takes no records');
    try {
      return await append();
    } catch (cause) {
      throw new Refusal('audit_unavailable', 'nothing crosses while the audit log takes no records', { cause });
    }
  }

  #withRevocations(decision: Decision, target: Target): Decision {
    const revocation = this.#revoked.find((each) => revokes(each, target, decision));
    if (revocation === undefined || decision.effect !== 'permit') return decision;
    return {
      ...decision,
      effect: 'deny',
      reason: `${target.host}:${target.port} was revoked while the run was going on`,
    };
  }

  /** Cuts what is open and denies what comes. Returns how many crossings were cut. */
  revoke(revocation: Revocation): number {
    this.#revoked.push(revocation);
    const cut = [...this.#open].filter((crossing) => revokes(revocation, crossing.target, crossing.decision));
    for (const crossing of cut) crossing.cut(new Refusal('revoked', 'the permission was revoked', crossing.target));
    return cut.length;
  }

  cutAll(): void {
    for (const crossing of [...this.#open]) crossing.cut(new Refusal('closed', 'the run is ending', crossing.target));
  }

  /**
   * Of one host and port, and of each rule that states a limit for it, over all crossings of the run: a wildcard has as many
   * names as a guest can think of, and they share what its line gives.
   */
  budgets(target: Target): readonly Budget[] {
    const facts = this.facts(target);
    const { upload, download } = this.#options.limits;
    const maxUp = facts.maxUpload === null ? upload : Number.POSITIVE_INFINITY;
    const maxDown = facts.maxDownload === null ? download : Number.POSITIVE_INFINITY;
    return [
      this.#budget(`${target.host}:${target.port}`, maxUp, maxDown),
      ...facts.limits.map((rule) =>
        this.#budget(rule, rule.maxUpload ?? Number.POSITIVE_INFINITY, rule.maxDownload ?? Number.POSITIVE_INFINITY),
      ),
    ];
  }

  #budget(of: string | NetworkHost, maxUp: number, maxDown: number): Budget {
    const known = this.#budgets.get(of) ?? { up: 0, down: 0, maxUp, maxDown };
    this.#budgets.set(of, known);
    return known;
  }

  /** What happened could not be recorded: nothing goes on. */
  broken(): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#options.onBroken();
  }

  closed(crossing: Crossing, token: unknown, event: CrossingClosed): void {
    this.#open.delete(crossing);
    const failed = () => this.broken();
    try {
      Promise.resolve(this.#options.log.closed(token, event)).catch(failed);
    } catch {
      failed();
    }
  }
}

/** A host (on one port, or on all), or every permission that a line of the policy gave: `.cordon/policy.yaml:12`. */
export type Revocation = { readonly host: string; readonly port?: number } | { readonly rule: string };

function revokes(revocation: Revocation, target: Target, decision: Decision): boolean {
  if ('rule' in revocation)
    return decision.rules.some((rule) => refText(rule) === revocation.rule || rule.text === revocation.rule);
  return revocation.host === target.host && (revocation.port === undefined || revocation.port === target.port);
}

export class Crossing {
  readonly target: Target;
  readonly decision: Decision;
  address: string | null = null;
  status: number | null = null;
  #bytesOut = 0;
  #bytesIn = 0;
  #ended = false;
  readonly #ledger: Ledger;
  /** What the log gave for its decision. */
  readonly token: unknown;
  readonly #clock: Clock;
  readonly #started: number;
  #budgets: readonly Budget[] | null = null;
  #cutters: ((refusal: Refusal) => void)[] = [];
  readonly #enders: (() => void)[] = [];
  #cause: Refusal | null = null;

  constructor(ledger: Ledger, target: Target, token: unknown, decision: Decision, clock: Clock) {
    this.target = target;
    this.decision = decision;
    this.#ledger = ledger;
    this.token = token;
    this.#clock = clock;
    this.#started = clock.monotonic();
  }

  /** What is torn down when the crossing is cut from outside. Called at once when it has been cut already. */
  onCut(cutter: (refusal: Refusal) => void): void {
    if (this.#cause !== null) cutter(this.#cause);
    else this.#cutters.push(cutter);
  }

  /** What is given up when it is over, however it ended. Called at once when it is. */
  onEnd(ender: () => void): void {
    if (this.#ended) ender();
    else this.#enders.push(ender);
  }

  /** Ends it whatever it is doing: revocation, budget, time, the run's end. */
  cut(refusal: Refusal): void {
    if (this.#ended || this.#cause !== null) return;
    this.#cause = refusal;
    for (const cutter of this.#cutters) cutter(refusal);
    this.end(refusal.result);
  }

  /**
   * Counts bytes before they go out. Throws `Refusal` when a budget would be exceeded, and when the crossing was cut: what was
   * revoked while a connection was being made, or a name looked up, sends nothing over it.
   */
  up(bytes: number): void {
    if (this.#cause !== null) throw this.#cause;
    this.#bytesOut += bytes;
    for (const budget of this.#counted()) {
      budget.up += bytes;
      if (budget.up > budget.maxUp) throw overBudget(this.target, 'max_upload', budget.maxUp);
    }
  }

  /** Likewise for what comes back. */
  down(bytes: number): void {
    if (this.#cause !== null) throw this.#cause;
    this.#bytesIn += bytes;
    for (const budget of this.#counted()) {
      budget.down += bytes;
      if (budget.down > budget.maxDown) throw overBudget(this.target, 'max_download', budget.maxDown);
    }
  }

  /** Not before something crosses: of hosts that are denied a guest can think of any number. */
  #counted(): readonly Budget[] {
    this.#budgets ??= this.#ledger.budgets(this.target);
    return this.#budgets;
  }

  /** The outcome event, once. */
  end(result: Result): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cutters = [];
    for (const after of this.#enders.splice(0)) after();
    this.#ledger.closed(this, this.token, {
      ...this.target,
      address: this.address,
      result,
      status: this.status,
      bytesOut: this.#bytesOut,
      bytesIn: this.#bytesIn,
      durationMs: Math.max(0, Math.round(this.#clock.monotonic() - this.#started)),
    });
  }

  /** Ends it as refused, and gives back what the guest is told: why it was cut, when it was. */
  fail(refusal: Refusal): Refusal {
    const told = this.#cause ?? refusal;
    this.status ??= told.status;
    this.end(told.result);
    return told;
  }
}
