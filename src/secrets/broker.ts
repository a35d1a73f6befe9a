import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '../base/clock.ts';
import { PolicyDeniedError } from '../base/errors.ts';
import type { RandomSource } from '../base/ids.ts';
import { currentProcess, type ProcessIdentity } from '../base/process-identity.ts';
import type { Redactor } from '../base/redact/index.ts';
import { checkName, findSecret, type SecretDriver, type SecretEntry } from './driver.ts';
import type { SecretEvent } from './events.ts';
import { GivenPlaceholders, type Sighting } from './given-placeholders.ts';
import type { Grant } from './grant.ts';
import { type Cut, GrantBook } from './grant-book.ts';
import { newPlaceholder } from './placeholder.ts';
import { outOfScope, type RunFacts } from './scopes.ts';
import type { Secret } from './secret.ts';
import { fillHeader, type SecretUse, shownUse } from './use.ts';

export interface BrokerOptions {
  readonly drivers: readonly SecretDriver[];
  /** `$CORDON_HOME/secrets`: grants and revocations. */
  readonly dir: string;
  /** Is told every value before it is used. */
  readonly redactor: Redactor;
  /** Resolves when the event is durable; a grant or a use whose event cannot be recorded does not happen. */
  record(event: SecretEvent): Promise<unknown>;
  readonly clock?: Clock;
  readonly random?: RandomSource;
  readonly owner?: ProcessIdentity;
  /** Milliseconds between looks for revocations. Default 100. */
  readonly pollMs?: number;
}

interface Held {
  readonly grant: Grant;
  readonly driver: SecretDriver;
  readonly controller: AbortController;
  /** How often the name had been revoked before. */
  readonly since: number;
  state: 'active' | 'revoked' | 'ended';
  /** How often it had been revoked when it was cut. */
  revoked: number | null;
}

/** Why a grant's signal is aborted, when somebody revoked it; a run's end has another reason. */
export const REVOKED = 'revoked';

export function openBroker(options: BrokerOptions): Broker {
  return new Broker(options);
}

/**
 * Lends secrets to runs. It decides nothing: policy does, before `grant`; the broker holds to what was granted. All methods may
 * be called at once. Values are read where they are kept at each use, and are nowhere else afterwards but in the redactor.
 */
export class Broker {
  readonly #options: BrokerOptions;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #owner: ProcessIdentity;
  readonly #book: GrantBook;
  readonly #held = new Map<string, Held>();
  readonly #placeholders = new GivenPlaceholders();
  /** Writes of one run's page follow one another. */
  readonly #writing = new Map<string, Promise<void>>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? randomBytes;
    this.#owner = options.owner ?? currentProcess();
    this.#book = new GrantBook(options.dir, this.#clock);
  }

  /**
   * Throws `NotFoundError` (no such secret), `PolicyDeniedError` (its scopes leave this run or host out), `ConflictError`
   * (two drivers have one of that name), and what the driver throws: what cannot be read now is not granted.
   */
  async grant(run: RunFacts, { name, use }: { readonly name: string; readonly use: SecretUse }): Promise<Grant> {
    const { driver, entry } = await findSecret(this.#options.drivers, checkName(name));
    const out = outOfScope(entry.scopes, run, 'host' in use ? use.host : null);
    if (out !== null) {
      throw new PolicyDeniedError(`the secret ${name} is not for ${out}`, [`scopes of ${name} (${driver.source})`], {
        remedy: `whoever keeps it can widen them: cordon secrets set ${name} --help`,
      });
    }
    const since = this.#book.count(name);
    await this.#read(driver, name, use); // also tells the redactor, before the guest can have anything
    const controller = new AbortController();
    const grant: Grant = Object.freeze({
      id: Buffer.from(this.#random(8)).toString('hex'),
      run: run.id,
      name,
      use,
      source: driver.source,
      placeholder: newPlaceholder(name, this.#random),
      granted: this.#clock.now(),
      signal: controller.signal,
    });
    const held: Held = { grant, driver, controller, since, state: 'active', revoked: null };
    this.#held.set(grant.id, held);
    try {
      await this.#writeBook(run.id);
      await this.#options.record(grantedEvent(grant, entry));
    } catch (error) {
      this.#held.delete(grant.id);
      await this.#writeBook(run.id).catch(() => {});
      throw error;
    }
    this.#placeholders.add(grant);
    this.#look();
    return grant;
  }

  /** The grants of a run that hold now, oldest first; with `host`, those that are used there. */
  grants(run: string, host?: string): readonly Grant[] {
    return [...this.#held.values()]
      .filter(({ grant, state }) => grant.run === run && state === 'active')
      .map(({ grant }) => grant)
      .filter(({ use }) => host === undefined || (use.kind === 'header' && use.host === host));
  }

  /**
   * The header to set on a request that was permitted, to exactly this host (canonical), of exactly this run. The use is
   * recorded when it resolves. Throws `PolicyDeniedError` when the grant is not for that, was revoked or has ended.
   */
  async resolve(id: string, run: string, host: string): Promise<{ readonly header: string; readonly value: Secret }> {
    const held = this.#active(id, run);
    const { use, name } = held.grant;
    if (use.kind !== 'header' || use.host !== host) {
      const where = use.kind === 'header' ? use.host : 'use inside the sandbox';
      throw denied(`the grant of ${name} is for ${where}, not for ${host}`);
    }
    const value = fillHeader(use.template, await this.#read(held.driver, name, use), name);
    this.#active(id, run);
    await this.#options.record({
      type: 'secret.used',
      run,
      resource: { secret: name, grant: id, host, header: use.header },
    });
    this.#active(id, run); // it may have been revoked meanwhile
    return { header: use.header, value };
  }

  /** The value itself, for a use inside the sandbox (`env`, `file`), which the policy says in words. Throws as `resolve`. */
  async reveal(id: string, run: string): Promise<Secret> {
    const held = this.#active(id, run);
    const { use, name } = held.grant;
    if (use.kind === 'header')
      throw denied(`the grant of ${name} is for ${use.host}; its value stays outside the sandbox`);
    const value = await this.#read(held.driver, name, use);
    await this.#options.record({
      type: 'secret.used',
      run,
      resource: { secret: name, grant: id, host: null, header: null },
    });
    this.#active(id, run);
    return value;
  }

  /** Placeholders in what a guest sends: of this process in every encoding, of others as they are written. */
  findPlaceholders(bytes: Buffer | string): readonly Sighting[] {
    return this.#placeholders.find(bytes);
  }

  /** The same for a stream; `onFound` is told each placeholder once. To be called with its pieces in order. */
  watchPlaceholders(onFound: (sighting: Sighting) => void): (piece: Buffer, last: boolean) => void {
    return this.#placeholders.watch(onFound);
  }

  /** Records that a placeholder was seen where it must not be, or `what` else. */
  async alarm(run: string, sighting: Sighting, where: string, host: string | null, what = of(sighting, run)) {
    const { name, grant } = sighting;
    await this.#options.record({
      type: 'secret.alarm',
      run,
      resource: { secret: name, grant: grant?.id ?? null, where, host, what },
    });
  }

  /** Takes everything from a run. Idempotent. */
  async endRun(run: string): Promise<void> {
    const ended = [...this.#held.values()].filter(({ grant }) => grant.run === run);
    for (const held of ended) {
      held.state = 'ended';
      held.controller.abort();
      this.#held.delete(held.grant.id);
    }
    this.#placeholders.forgetOldest(({ id }) => this.#held.has(id));
    this.#look();
    if (ended.length > 0) await this.#writeBook(run);
  }

  /** Revokes a name in every process, also in this one. */
  revoke(name: string, timeout = 1_000): Promise<Cut> {
    return this.#book.revoke(name, timeout);
  }

  /** Ends all runs and stops looking for revocations. */
  async close(): Promise<void> {
    const runs = new Set([...this.#held.values()].map(({ grant }) => grant.run));
    for (const run of runs) await this.endRun(run);
    await Promise.all(this.#writing.values());
  }

  /** Looks whether anything was revoked, and cuts it. Also done every {@link BrokerOptions.pollMs} while there are grants. */
  async poll(): Promise<void> {
    await this.#confirm([...this.#held.values()].filter((held) => this.#cutIfRevoked(held)));
  }

  /** Says in the book, and to the log, what was cut. */
  async #confirm(cut: readonly Held[]): Promise<void> {
    for (const run of new Set(cut.map(({ grant }) => grant.run))) {
      const names = cut.filter(({ grant }) => grant.run === run).map(({ grant }) => grant.name);
      await this.#writeBook(run);
      for (const secret of new Set(names)) {
        await this.#options.record({ type: 'secret.revoked', run, resource: { secret, runs: [run], unanswered: [] } });
      }
    }
  }

  /** True when it was active until now. What cannot be known counts as revoked. */
  #cutIfRevoked(held: Held): boolean {
    if (held.state !== 'active') return false;
    let count = held.since + 1;
    try {
      count = this.#book.count(held.grant.name);
    } catch {}
    if (count <= held.since) return false;
    held.state = 'revoked';
    held.revoked = count;
    held.controller.abort(REVOKED);
    return true;
  }

  #active(id: string, run: string): Held {
    const held = this.#held.get(id);
    if (held === undefined || held.grant.run !== run) throw denied('there is no such grant of this run');
    if (this.#cutIfRevoked(held)) void this.#confirm([held]).catch(() => {});
    if (held.state === 'active') return held;
    throw denied(`the secret ${held.grant.name} was revoked`);
  }

  async #read(driver: SecretDriver, name: string, use: SecretUse): Promise<Secret> {
    const { value } = await driver.read(name);
    this.#options.redactor.add(name, value.reveal());
    if (use.kind === 'header') fillHeader(use.template, value, name);
    return value;
  }

  #writeBook(run: string): Promise<void> {
    const write = async () => {
      const held = [...this.#held.values()].filter(({ grant }) => grant.run === run);
      if (held.length === 0) return this.#book.remove(run);
      const records = held.map(({ grant, since, revoked }) => {
        return { id: grant.id, name: grant.name, since, revoked };
      });
      await this.#book.write(run, this.#owner, records);
    };
    const next = (this.#writing.get(run) ?? Promise.resolve()).catch(() => {}).then(write);
    this.#writing.set(run, next);
    return next.finally(() => {
      if (this.#writing.get(run) === next) this.#writing.delete(run);
    });
  }

  /** The timer runs only while there is something to revoke, and keeps no process alive. */
  #look(): void {
    if (this.#held.size === 0 && this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
    if (this.#held.size === 0 || this.#timer !== null) return;
    this.#timer = setInterval(() => void this.poll().catch(() => {}), this.#options.pollMs ?? 100).unref();
  }
}

function grantedEvent({ id, name, run, use }: Grant, { source, version }: SecretEntry): SecretEvent {
  return { type: 'secret.granted', run, resource: { secret: name, grant: id, use: shownUse(use), source, version } };
}

function of({ grant }: Sighting, run: string): string {
  if (grant === null) return 'a placeholder not given out by this process';
  return grant.run === run ? 'a placeholder of this run' : `a placeholder of run ${grant.run}`;
}

function denied(message: string): PolicyDeniedError {
  return new PolicyDeniedError(message, []);
}
