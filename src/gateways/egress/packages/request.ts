import {
  type AskedPackage,
  type Decision,
  type DependencyRules,
  type RefusedPackage,
  refuseAge,
  refusePackage,
  withRefusal,
} from '../../../policy/index.ts';
import type { BodyWatch } from '../body.ts';
import { type Header, headerValue, type ResponseHead } from '../head.ts';
import { Refusal } from '../refusal.ts';
import { Digests, hashText } from './digests.ts';
import type { PackageExchange, SeenRequest } from './hook.ts';
import { type Found, hostOf, type IndexPlace } from './indexes.ts';
import type { Packages } from './packages.ts';
import type { Asked, AskedFile } from './recognise.ts';
import { packageUrl } from './record.ts';

/** What the answer of a registry may be where no package is named: documents, and git's own. */
const DOCUMENT = /^(?:text\/|application\/(?:[\w.+-]*\+)?(?:json|xml)\b|application\/x-git-|multipart\/form-data\b)/;

/** One request to a registry, and its answer. */
export class RegistryRequest implements PackageExchange {
  readonly #packages: Packages;
  readonly #rules: DependencyRules;
  readonly #seen: SeenRequest;
  readonly #asked: Asked;
  readonly #url: string;
  readonly #from: { readonly at: IndexPlace; readonly url: string };
  #found: Promise<Found> | null = null;
  #refused: Promise<RefusedPackage | null> | null = null;

  /** `from`: where it was asked for first, which is here but for files that the registry sent the guest elsewhere for. */
  constructor(packages: Packages, seen: SeenRequest, asked: Asked, from: { at: IndexPlace; url: string }) {
    this.#from = from;
    this.#packages = packages;
    this.#rules = packages.options.policy.dependencies;
    this.#seen = seen;
    this.#asked = asked;
    this.#url = `${hostOf(seen)}${seen.path}`;
  }

  readonly narrow = async (decision: Decision): Promise<Decision> => {
    this.#refused ??= this.#judge();
    return withRefusal(decision, await this.#refused);
  };

  async #judge(): Promise<RefusedPackage | null> {
    const rules = this.#rules;
    const asked = this.#asked;
    const where = `${this.#seen.host}:${this.#seen.port}`;
    if (this.#seen.upgrade) return this.#unnamed(`${where} is a registry: no WebSocket goes there`);
    if (asked.kind === 'other') return null;
    if (asked.kind === 'unknown')
      return this.#unnamed(`${this.#seen.path} at ${where} is an archive without a package's name and version`);
    const named: AskedPackage = { ...asked, version: asked.kind === 'index' ? null : asked.version };
    const refused = refusePackage(rules, named);
    if (refused !== null || asked.kind === 'index' || rules.minimumAge === null) return refused;
    const found = await this.#find(asked);
    const at = found.entry?.published ?? null;
    const published =
      at !== null ? { at } : { unknown: found.entry === null ? found.why : `${found.registry} does not say` };
    return refuseAge(rules, named, published, this.#packages.options.clock.now());
  }

  #unnamed(reason: string): RefusedPackage | null {
    const { rule } = this.#rules;
    return rule === null ? null : { reason, rule };
  }

  #find(asked: AskedFile): Promise<Found> {
    this.#found ??= this.#packages.indexes.find(asked, this.#from.at, this.#from.url);
    return this.#found;
  }

  /** A part, or an encoded form, could be compared with nothing. */
  headers(kept: readonly Header[]): readonly Header[] {
    if (this.#asked.kind !== 'file') return kept;
    const own = ['range', 'if-range', 'accept-encoding'];
    const whole = { name: 'Accept-Encoding', lower: 'accept-encoding', value: 'identity' };
    return [...kept.filter(({ lower }) => !own.includes(lower)), whole];
  }

  answer(response: ResponseHead, token: unknown): BodyWatch | null {
    const { status } = response;
    const asked = this.#asked;
    if (asked.kind === 'index' && (status === 200 || status === 304))
      this.#packages.indexes.saw(asked.ecosystem, asked.name, this.#from.at);
    if (asked.kind !== 'file' && asked.kind !== 'metadata') return this.#checkDocument(response);
    const location = headerValue(response.headers, 'location');
    if (status >= 300 && status < 400 && location !== null)
      this.#packages.moved(asked, this.#from.at, this.#from.url, location);
    if (status >= 300 || this.#seen.method !== 'GET' || asked.kind === 'metadata') return null;
    const coding = headerValue(response.headers, 'content-encoding') ?? 'identity';
    if (status !== 200 || coding !== 'identity')
      throw new Refusal('upstream_malformed', `${this.#url} was asked for whole and as it is, and was not answered so`);
    return this.#watch(asked, token);
  }

  /** With rules about packages, what is no document could be one by another name. */
  #checkDocument({ status, headers, framing }: ResponseHead): null {
    const { minimumAge, allow, deny } = this.#rules;
    if (minimumAge === null && allow.length === 0 && deny.length === 0) return null;
    if (status >= 300 || framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0)) return null;
    const type = headerValue(headers, 'content-type') ?? 'nothing';
    if (DOCUMENT.test(type.toLowerCase())) return null;
    const { host, port, path } = this.#seen;
    throw new Refusal(
      'package_unknown',
      `${path} at ${host}:${port} is answered with ${type.slice(0, 100)}, and its path names no package whose age and name could be judged`,
      { host, port },
    );
  }

  #watch(asked: AskedFile, token: unknown): BodyWatch {
    const digests = new Digests();
    const finding = this.#find(asked);
    return {
      take: (part) => digests.take(part),
      end: async () => this.#arrived(asked, digests, await finding, token),
    };
  }

  #arrived(asked: AskedFile, digests: Digests, found: Found, token: unknown): void {
    const { ecosystem, name, version } = asked;
    const { log } = this.#packages.options;
    const hashes = digests.end();
    const integrity = hashText({ algorithm: 'sha512', base64: hashes.sha512 });
    const purl = packageUrl(ecosystem, name, version);
    const stated = found.entry?.hash ?? null;
    if (stated !== null && hashes[stated.algorithm] !== stated.base64) {
      const own = hashText({ algorithm: stated.algorithm, base64: hashes[stated.algorithm] });
      const expected = hashText(stated);
      log.dependency(token, { kind: 'mismatch', purl, url: this.#url, expected, found: own });
      throw new Refusal('package_mismatch', `${name}@${version} is not what its index says: ${own}, not ${expected}`);
    }
    const entry = {
      ecosystem,
      name,
      version,
      purl,
      registry:
        found.entry === null ? `${hostOf(this.#from.at)}${ecosystem === 'npm' ? asked.base : ''}` : found.registry,
      url: this.#url,
      integrity,
      sha256: Buffer.from(hashes.sha256, 'base64').toString('hex'),
      bytes: digests.bytes,
      published: found.entry?.published ?? null,
      verified: stated !== null,
    };
    this.#packages.record.add(entry);
    log.dependency(token, { kind: 'downloaded', ...entry });
  }
}
