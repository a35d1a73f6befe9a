import type { Ecosystem } from '../../../policy/index.ts';
import { Refusal } from '../refusal.ts';
import type { DownloadedPackage } from './hook.ts';

/** Files that one run may fetch from registries: more is no installation. */
const MOST = 100_000;

/** A package as a lock file names it: canonical name and version, and one or more hashes as subresource integrity. */
export interface RecordedQuery {
  readonly ecosystem: Ecosystem;
  readonly name: string;
  readonly version: string;
  /** `sha512-…`, `sha256-…`, both with spaces between, or `sha256:` and hex digits as pip writes it. */
  readonly integrity: string;
}

/** What a run got from registries, whole. */
export class PackageRecord {
  readonly #entries = new Map<string, DownloadedPackage>();
  /** A lock file asks for thousands: each is found at once. */
  readonly #named = new Map<string, DownloadedPackage[]>();

  #closed = false;

  /** Throws `Refusal` when it cannot take it: then the package does not come. */
  add(entry: DownloadedPackage): void {
    if (this.#closed) throw new Refusal('closed', 'the run is ending');
    const key = `${nameKey(entry)}\0${entry.sha256}\0${entry.registry}`;
    if (!this.#entries.has(key) && this.#entries.size >= MOST)
      throw new Refusal('too_many', `more than ${MOST} packages in one run`);
    if (!this.#entries.has(key)) this.#named.set(nameKey(entry), [...(this.#named.get(nameKey(entry)) ?? []), entry]);
    this.#entries.set(key, entry);
  }

  /** In the order of their names. */
  entries(): readonly DownloadedPackage[] {
    const sorted = [...this.#entries].sort(([a], [b]) => (a < b ? -1 : 1));
    return sorted.map(([, entry]) => entry);
  }

  /** All there is, and nothing comes after it. */
  close(): readonly DownloadedPackage[] {
    this.#closed = true;
    return this.entries();
  }

  /**
   * True when that package with these very bytes came through this run's gateway. Of several hashes all must be of it;
   * weaker ones than SHA-256 say nothing.
   */
  wasRecorded(query: RecordedQuery): boolean {
    const hashes = query.integrity.trim().split(/\s+/).flatMap(strongHash);
    if (hashes.length === 0) return false;
    for (const entry of this.#named.get(nameKey(query)) ?? []) {
      const own = [entry.integrity, `sha256-${Buffer.from(entry.sha256, 'hex').toString('base64')}`];
      if (hashes.every((hash) => own.includes(hash))) return true;
    }
    return false;
  }
}

function nameKey({ ecosystem, name, version }: Omit<RecordedQuery, 'integrity'>): string {
  return `${ecosystem}\0${name}\0${version}`;
}

function strongHash(text: string): string[] {
  const hex = /^sha256[:=]([0-9a-f]{64})$/i.exec(text);
  if (hex !== null) return [`sha256-${Buffer.from(hex[1] ?? '', 'hex').toString('base64')}`];
  return /^sha(?:512|256)-[A-Za-z0-9+/]+={0,2}$/.test(text) ? [text] : [];
}

/** A package URL (ECMA-427): `pkg:npm/%40acme/ui@1.2.3`. */
export function packageUrl(ecosystem: Ecosystem, name: string, version: string): string {
  const path = name.split('/').map(encodeURIComponent).join('/');
  return `pkg:${ecosystem}/${path}@${encodeURIComponent(version)}`;
}
