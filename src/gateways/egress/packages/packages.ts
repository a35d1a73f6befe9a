import type { Clock } from '../../../base/clock.ts';
import type { EffectivePolicy } from '../../../policy/index.ts';
import type { Gateway } from '../gateway.ts';
import type { EgressLog } from '../log.ts';
import { judgedPath, parseAuthority } from '../target.ts';
import { Fetcher } from './fetch.ts';
import type { PackageHook, SeenRequest } from './hook.ts';
import { hostOf, Indexes, type IndexPlace } from './indexes.ts';
import { type AskedFile, recognise } from './recognise.ts';
import { PackageRecord } from './record.ts';
import { RegistryRequest } from './request.ts';

/** Places that registries have sent guests to, for files that lie elsewhere. */
const MOST_MOVED = 10_000;

export interface PackagesOptions {
  readonly gateway: Gateway;
  readonly policy: EffectivePolicy;
  readonly log: EgressLog;
  readonly clock: Clock;
}

/** Where a file was asked for first. */
interface Origin {
  readonly asked: AskedFile;
  readonly at: IndexPlace;
  /** Without its query. */
  readonly url: string;
}

/** What comes from the registries that the policy names: judged, compared with the index, recorded. Of one run. */
export class Packages implements PackageHook {
  readonly record = new PackageRecord();
  readonly indexes: Indexes;
  readonly options: PackagesOptions;
  readonly #fetcher: Fetcher;
  readonly #hosts: ReadonlySet<string>;
  readonly #moved = new Map<string, Origin>();

  constructor(options: PackagesOptions) {
    this.options = options;
    this.#hosts = new Set(options.policy.dependencies.inspected);
    this.#fetcher = new Fetcher(options.gateway);
    this.indexes = new Indexes(this.#fetcher, options.policy);
  }

  look(seen: SeenRequest): RegistryRequest | null {
    if (!this.#hosts.has(seen.host)) return null;
    const reading = seen.method === 'GET' || seen.method === 'HEAD';
    const origin = reading ? this.#moved.get(place(seen.host, seen.port, seen.path, seen.query)) : undefined;
    if (origin !== undefined) return new RegistryRequest(this, seen, origin.asked, origin);
    const asked = recognise(seen.method, seen.path, seen.headers);
    const { scheme, host, port } = seen;
    const authorization = seen.headers.find((header) => header.lower === 'authorization') ?? null;
    const base = asked.kind === 'unknown' || asked.kind === 'other' ? '' : asked.base;
    const at: IndexPlace = { scheme, host, port, base, authorization };
    return new RegistryRequest(this, seen, asked, { at, url: `${hostOf(seen)}${seen.path}` });
  }

  /** The registry says that a file lies elsewhere: there its path need not tell what it is. */
  moved(asked: AskedFile, at: IndexPlace, url: string, location: string): void {
    const there = URL.parse(location, url);
    if (there === null) return;
    const authority = parseAuthority(there.host, there.protocol === 'http:' ? 80 : 443);
    const path = judgedPath(there.pathname);
    if (!authority.ok || !path.ok || this.#moved.size >= MOST_MOVED) return;
    this.#moved.set(place(authority.value.host, authority.value.port, path.value, there.search.slice(1)), {
      asked,
      at,
      url,
    });
  }

  close(): void {
    this.#fetcher.close();
  }
}

function place(host: string, port: number, path: string, query: string | null): string {
  return `${host}:${port}${path}?${query ?? ''}`;
}
