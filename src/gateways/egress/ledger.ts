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
import { type Budget, Crossing } from './crossing.ts';
import type { EgressLimits } from './limits.ts';
import type { CrossingClosed, EgressLog } from './log.ts';
import { Refusal } from './refusal.ts';
import type { Target } from './target.ts';

/** A decision that is no denial, or a stricter one in its place. Asked again, it answers the same. */
export type Narrow = (decision: Decision) => Promise<Decision>;

/** `narrow` is for whoever counts: the ledger asks it in any case. */
export type Decide = (action: PolicyAction, narrow?: Narrow) => Decision | Promise<Decision>;

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
    const crossing: Crossing = new Crossing({
      target,
      decision,
      token,
      clock: this.#options.clock,
      budgets: () => this.budgets(target),
      close: (event) => this.#closed(crossing, event),
    });
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

  #closed(crossing: Crossing, event: CrossingClosed): void {
    this.#open.delete(crossing);
    const failed = () => this.broken();
    try {
      Promise.resolve(this.#options.log.closed(crossing.token, event)).catch(failed);
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
