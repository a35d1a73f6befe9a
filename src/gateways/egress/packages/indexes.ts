import { decide, type Ecosystem, type EffectivePolicy } from '../../../policy/index.ts';
import type { Parsed } from '../../../policy/parsed.ts';
import type { Header } from '../head.ts';
import { asRefusal } from '../refusal.ts';
import type { Target } from '../target.ts';
import type { DocumentRequest, FetchedDocument, Fetcher } from './fetch.ts';
import {
  type IndexEntries,
  type IndexEntry,
  readPackument,
  readSimpleHtml,
  readSimpleJson,
  readWarehouse,
} from './index-documents.ts';
import type { AskedFile } from './recognise.ts';

/** Where an index lies: a registry of one ecosystem. */
export interface IndexPlace extends Target {
  readonly scheme: 'http' | 'https';
  readonly base: string;
  readonly authorization: Header | null;
}

/** What an index says of a file, and which one. */
export type Found =
  | { readonly entry: IndexEntry; readonly registry: string }
  | { readonly entry: null; readonly why: string };

/** Names whose indexes are remembered, places for each of them, and files in all indexes that are kept. */
const MOST_NAMES = 20_000;
const MOST_PLACES = 6;
const MOST_FILES = 500_000;

const SIMPLE = 'application/vnd.pypi.simple.v1+json, text/html;q=0.1';

/**
 * The indexes of one run. A file is looked up where it lies (npm: the path of its registry), and where the guest asked
 * for its name before (PyPI: files lie elsewhere). Only hosts that the policy names as registries are ever asked.
 */
export class Indexes {
  readonly #fetcher: Fetcher;
  readonly #policy: EffectivePolicy;
  readonly #places = new Map<string, IndexPlace[]>();
  readonly #known = new Map<string, Promise<Parsed<IndexEntries>>>();
  #files = 0;

  constructor(fetcher: Fetcher, policy: EffectivePolicy) {
    this.#fetcher = fetcher;
    this.#policy = policy;
  }

  /** The guest asked there for that name, and there was one. */
  saw(ecosystem: Ecosystem, name: string, place: IndexPlace): void {
    const key = `${ecosystem} ${name}`;
    const places = this.#places.get(key) ?? [];
    if (places.length >= MOST_PLACES || places.some((known) => originOf(known) === originOf(place))) return;
    if (this.#places.size >= MOST_NAMES && places.length === 0) return;
    this.#places.set(key, [...places, place]);
  }

  /** `url`: where the file lies, without its query. Never rejects. */
  async find(asked: AskedFile, at: IndexPlace, url: string): Promise<Found> {
    const failures: string[] = [];
    let byHash: Found | null = null;
    for (const place of this.#placesOf(asked, at)) {
      const entry = await this.#entryAt(asked, place);
      if (!entry.ok) failures.push(entry.message);
      else if (entry.value === null) failures.push(`the index at ${originOf(place)} does not name it`);
      else {
        const found: Found = { entry: entry.value, registry: originOf(place) };
        if (liesAt(entry.value, place, asked, url)) return found;
        // The same name elsewhere says something of this file only if its bytes must be those.
        if (entry.value.hash !== null) byHash ??= found;
      }
    }
    return byHash ?? { entry: null, why: failures[0] ?? 'no index of it was found' };
  }

  #placesOf({ ecosystem, name }: AskedFile, at: IndexPlace): IndexPlace[] {
    const seen = this.#places.get(`${ecosystem} ${name}`) ?? [];
    if (ecosystem === 'npm') return unique([at, ...seen]);
    if (seen.length > 0) return seen;
    const others = this.#policy.dependencies.inspected
      .filter((host) => host !== at.host)
      .map((host): IndexPlace => ({ scheme: 'https', host, port: 443, base: '/simple', authorization: null }));
    return [{ ...at, base: '/simple' }, ...others].slice(0, MOST_PLACES);
  }

  async #entryAt(asked: AskedFile, place: IndexPlace): Promise<Parsed<IndexEntry | null>> {
    const { ecosystem, name, key } = asked;
    if (ecosystem === 'npm') {
      const index = await this.#read(place, `${place.base}/${name}`, 'application/json', (document) =>
        readPackument(document.text, name),
      );
      return index.ok ? { ok: true, value: index.value.get(key) ?? null } : index;
    }
    const index = await this.#read(place, `${place.base}/${name}/`, SIMPLE, ({ type, text }) =>
      type.includes('json') ? readSimpleJson(text, name) : readSimpleHtml(text),
    );
    const entry = index.ok ? (index.value.get(key) ?? null) : null;
    if (!index.ok || entry === null || entry.published !== null) return index.ok ? { ok: true, value: entry } : index;
    const root = place.base.replace(/\/\+?simple$/, '');
    const more = await this.#read(place, `${root}/pypi/${name}/json`, 'application/json', ({ text }) =>
      readWarehouse(text, name),
    );
    const other = more.ok ? more.value.get(key) : undefined;
    // Two documents about one name: they must mean the same bytes.
    const same = other?.hash != null && other.hash.base64 === entry.hash?.base64;
    return { ok: true, value: same && other !== undefined ? { ...entry, published: other.published } : entry };
  }

  /** Once a run, unless it failed. */
  #read(
    place: IndexPlace,
    path: string,
    accept: string,
    parse: (document: FetchedDocument) => Parsed<IndexEntries>,
  ): Promise<Parsed<IndexEntries>> {
    const key = `${hostOf(place)}${path}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const reading = this.#fetch({ ...place, path, accept }, parse).then((index) => {
      if (!index.ok) this.#known.delete(key);
      else this.#files += index.value.size;
      if (this.#files > MOST_FILES) {
        // All of it can be read again.
        this.#known.clear();
        this.#files = 0;
      }
      return index;
    });
    this.#known.set(key, reading);
    return reading;
  }

  async #fetch(
    request: DocumentRequest,
    parse: (document: FetchedDocument) => Parsed<IndexEntries>,
  ): Promise<Parsed<IndexEntries>> {
    const { host, port, path } = request;
    const failed = (what: string) =>
      ({ ok: false, message: `the index at ${hostOf(request)}${path} ${what}` }) as const;
    // Asked first without a record: a request that the policy forbids is not made, and nothing crosses.
    const decision = decide(this.#policy, { action: 'net.request', host, port, method: 'GET', path });
    if (decision.effect === 'deny') return failed('is not permitted by the policy');
    try {
      const document = await this.#fetcher.get(request);
      if (document.status !== 200) return failed(`answers with ${document.status}`);
      const index = parse(document);
      return index.ok ? index : failed(`is ${index.message}`);
    } catch (error) {
      return failed(`cannot be read: ${asRefusal(error).message}`);
    }
  }
}

function liesAt(entry: IndexEntry, place: IndexPlace, asked: AskedFile, url: string): boolean {
  if (entry.url === null) return false;
  const index = asked.ecosystem === 'npm' ? `${place.base}/${asked.name}` : `${place.base}/${asked.name}/`;
  try {
    const stated = new URL(entry.url, `${hostOf(place)}${index}`);
    stated.search = '';
    stated.hash = '';
    return decodeURI(stated.href) === decodeURI(new URL(url).href);
  } catch {
    return false;
  }
}

export function hostOf({ scheme, host, port }: Omit<IndexPlace, 'base' | 'authorization'>): string {
  return `${scheme}://${host}${port === (scheme === 'http' ? 80 : 443) ? '' : `:${port}`}`;
}

function originOf(place: IndexPlace): string {
  return `${hostOf(place)}${place.base}`;
}

function unique(places: readonly IndexPlace[]): IndexPlace[] {
  return [...new Map(places.map((place) => [originOf(place), place])).values()];
}
