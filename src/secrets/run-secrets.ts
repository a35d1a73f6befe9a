import { ConflictError, CordonError } from '../base/errors.ts';
import type { AnswerWatch } from '../base/redact/answer-watch.ts';
import type { Broker } from './broker.ts';
import type { Sighting } from './given-placeholders.ts';
import type { Grant } from './grant.ts';
import { Repeats } from './repeats.ts';
import type { RunFacts } from './scopes.ts';
import { placeOf, type SecretUse, samePlace } from './use.ts';

export interface HeaderField {
  /** As sent. */
  readonly name: string;
  readonly lower: string;
  readonly value: string;
}

/** A request that policy permitted, and that is looked at. Host canonical; path as it was judged; query without its `?`. */
export interface OutgoingRequest {
  readonly host: string;
  readonly path: string;
  readonly query: string | null;
  readonly headers: readonly HeaderField[];
}

/** Headers to set in place of all of the same name, or why the request may not go, for the guest to read. */
export type Applied = { readonly set: readonly HeaderField[] } | { readonly refuse: string };

/**
 * The secrets of one run, as its gateway needs them. A guest may send its placeholder where the value will stand (programs want
 * some token to be there); anywhere else it goes no further, and raises an alarm.
 */
export class RunSecrets {
  readonly #broker: Broker;
  readonly #run: RunFacts;
  readonly #repeats = new Repeats();

  constructor(broker: Broker, run: RunFacts) {
    this.#broker = broker;
    this.#run = run;
  }

  /** As {@link Broker.grant}; also throws `ConflictError` for a second secret in one header of one host, one variable or one file. */
  async grant(name: string, use: SecretUse): Promise<Grant> {
    const same = this.grants().find((grant) => samePlace(grant.use, use));
    if (same === undefined) return this.#broker.grant(this.#run, { name, use });
    throw new ConflictError(`${same.name} and ${name} would both stand in ${placeOf(use)}`, {
      remedy: 'name one of them in the policy for that place',
    });
  }

  grants(host?: string): readonly Grant[] {
    return this.#broker.grants(this.#run.id, host);
  }

  /** True when requests to this host have to be looked at. */
  wants({ host }: { readonly host: string }): boolean {
    return this.grants(host).length > 0;
  }

  /** Throws `AuditUnavailableError` when what it does cannot be recorded; everything else that stands in the way is a refusal. */
  async apply(request: OutgoingRequest): Promise<Applied> {
    const stray = this.#strayIn(request);
    if (stray !== null) {
      const gone = this.#takenAway(stray.sighting, stray.where, request.host);
      if (gone) return { refuse: `the secret ${stray.sighting.name} was revoked` };
      await this.#broker.alarm(this.#run.id, stray.sighting, stray.where, request.host);
      return { refuse: refusal(stray.sighting, stray.where) };
    }
    const set: HeaderField[] = [];
    for (const grant of this.grants(request.host)) {
      const { id, use } = grant;
      try {
        const { header, value } = await this.#broker.resolve(id, this.#run.id, request.host);
        this.#repeats.add(grant, value.reveal());
        set.push({ name: canonicalName(header), lower: header, value: value.reveal().toString('latin1') });
      } catch (error) {
        if (!(error instanceof CordonError) || error.code === 'audit_unavailable') throw error;
        return { refuse: `${error.message} (${use.kind === 'header' ? use.header : use.kind})` };
      }
    }
    return { set };
  }

  /**
   * For the body of a request, piece by piece in order: true as soon as it holds a placeholder, and that piece may not go on. The
   * alarm is recorded by the time {@link Broker.record} resolves; `onFailure` is told when it cannot be.
   */
  watchBody(host: string, onFailure: (error: unknown) => void): (piece: Buffer, last: boolean) => boolean {
    let found = false;
    const watch = this.#broker.watchPlaceholders((sighting) => {
      found = true;
      this.#broker.alarm(this.#run.id, sighting, 'body', host).catch(onFailure);
    });
    return (piece, last) => {
      watch(piece, last);
      return found;
    };
  }

  /** For what a host answers: it must not repeat a value that was sent to it. Null where none was. */
  watchAnswer(host: string): AnswerWatch | null {
    const what = 'the value itself, repeated by its host';
    const alarm = (grant: Grant, where: string) =>
      this.#broker.alarm(this.#run.id, { name: grant.name, grant }, where, host, what);
    return this.#repeats.watch(host, alarm);
  }

  #strayIn({ host, path, query, headers }: OutgoingRequest): { sighting: Sighting; where: string } | null {
    const find = (text: string, where: string, allowed?: (sighting: Sighting) => boolean) => {
      const sighting = this.#broker.findPlaceholders(text).find((one) => allowed?.(one) !== true);
      return sighting === undefined ? null : { sighting, where };
    };
    const mine = new Map(this.grants(host).map((grant) => [grant.id, grant]));
    const belongs = (lower: string) => (sighting: Sighting) => {
      const use = mine.get(sighting.grant?.id ?? '')?.use;
      return use?.kind === 'header' && use.header === lower;
    };
    const inTarget = find(path, 'path') ?? (query === null ? null : find(query, 'query'));
    if (inTarget !== null) return inTarget;
    for (const { name, lower, value } of headers) {
      const stray = find(name, 'header name') ?? find(value, `header ${lower}`, belongs(lower));
      if (stray !== null) return stray;
    }
    return null;
  }

  /** What was revoked goes on being sent where it was right before: no reason for an alarm. */
  #takenAway({ grant }: Sighting, where: string, host: string): boolean {
    if (grant === null || grant.run !== this.#run.id || !grant.signal.aborted) return false;
    return grant.use.kind === 'header' && grant.use.host === host && where === `header ${grant.use.header}`;
  }

  /** Takes everything from the run. */
  end(): Promise<void> {
    return this.#broker.endRun(this.#run.id);
  }
}

function refusal({ name }: Sighting, where: string): string {
  return `the placeholder of ${name} was in the ${where}: it stands only in the header and for the host that the policy names`;
}

/** `x-api-key` → `X-Api-Key`: some servers look at more than they should. */
function canonicalName(lower: string): string {
  return lower.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
}
