import { canonicalPackage, canonicalVersion, type Ecosystem } from '../../../policy/index.ts';
import { npmFile } from '../../egress/packages/npm.ts';
import { pypiFile } from '../../egress/packages/pypi.ts';
import { readHashes } from './hashes.ts';
import { LockError } from './node.ts';
import { type Origin, readOrigin } from './origins.ts';

/** One package that a lock file names. */
export interface LockEntry {
  readonly ecosystem: Ecosystem;
  /** Canonical, as is the version. */
  readonly name: string;
  readonly version: string;
  /** From 1; null where the reader does not know. */
  readonly line: number | null;
  /** Where it comes from; none where the file does not say. */
  readonly origins: readonly Origin[];
  /** As subresource integrity; at least one of what is not bundled. */
  readonly hashes: readonly string[];
  /** `archive`: hashes of something that the package manager made of the registry's file. `bundled`: in the file of another. */
  readonly kind: 'file' | 'archive' | 'bundled';
}

export interface LockProblem {
  readonly line: number | null;
  /** `left-pad@1.3.0`; null when it is about the file. */
  readonly package: string | null;
  /** Follows the package's name, or stands alone. */
  readonly what: string;
}

/** As a file has it: nothing of it is trusted. */
export interface RawEntry {
  readonly name: string;
  readonly version: string;
  readonly line: number | null;
  /** Addresses of its files. */
  readonly urls?: readonly string[];
  /** Addresses of the registry itself. */
  readonly indexes?: readonly string[];
  readonly hashes: readonly string[];
  readonly kind?: LockEntry['kind'];
}

/** Entries of one lock file. */
const MOST_ENTRIES = 250_000;
const MOST_PROBLEMS = 100;

/** What one reader finds in one lock file. */
export class Reading {
  readonly ecosystem: Ecosystem;
  readonly entries: LockEntry[] = [];
  readonly problems: LockProblem[] = [];
  /** Addresses that the file names for all of its packages, or a setting. */
  readonly places: { readonly line: number | null; readonly what: string; readonly origin: Origin }[] = [];
  /** Problems that are not listed one by one. */
  more = 0;

  /** Names of the folder that the file is in. */
  readonly #folder: readonly string[];

  constructor(ecosystem: Ecosystem, path: string) {
    this.ecosystem = ecosystem;
    this.#folder = path.split('/').slice(0, -1);
  }

  /** Of the project itself: accepted when it is a folder of the repository. */
  local(line: number | null, of: string, path: string): undefined {
    if (!this.#isInside(path)) this.problem(line, brief(of), 'comes from a file, not from a registry');
  }

  #isInside(path: string): boolean {
    if (/^(?:[/~\\]|[a-z][a-z0-9+.-]*:)|[\\\p{Cc}]|\.(?:tgz|tar(?:\.\w+)?|whl|zip)$/iu.test(path)) return false;
    const place = [...this.#folder];
    for (const part of path.split('/')) {
      if (part === '..' && place.pop() === undefined) return false;
      if (part !== '..' && part !== '.' && part !== '') place.push(part);
    }
    return true;
  }

  problem(line: number | null, of: string | null, what: string): undefined {
    if (this.problems.length < MOST_PROBLEMS) this.problems.push({ line, package: of, what });
    else this.more += 1;
  }

  /** Throws `LockError` beyond the bound. */
  add(raw: RawEntry): undefined {
    if (this.entries.length >= MOST_ENTRIES) throw new LockError(raw.line, `it has more than ${MOST_ENTRIES} entries`);
    const label = `${brief(raw.name)}@${brief(raw.version)}`;
    const wrong = (what: string) => this.problem(raw.line, label, what);
    const name = canonicalPackage(this.ecosystem, raw.name);
    if (!name.ok) return wrong(`has a name that no package of ${this.ecosystem} has`);
    const version = canonicalVersion(this.ecosystem, raw.version);
    const origins: Origin[] = [];
    for (const url of raw.indexes ?? []) {
      const origin = readOrigin(url);
      if ('problem' in origin) return wrong(origin.problem);
      origins.push(origin);
    }
    for (const url of raw.urls ?? []) {
      const origin = readOrigin(url);
      if ('problem' in origin) return wrong(origin.problem);
      const other = this.#other(origin, name.value, version.ok ? version.value : null);
      if (other !== null) return wrong(`resolves to ${other}`);
      origins.push(origin);
    }
    if (!version.ok) return wrong(`has a version that no package of ${this.ecosystem} has`);
    const { line, kind = 'file' } = raw;
    const hashes = kind === 'bundled' ? { strong: [] } : readHashes(raw.hashes);
    if ('problem' in hashes) return wrong(hashes.problem);
    const [ecosystem, strong] = [this.ecosystem, hashes.strong];
    this.entries.push({ ecosystem, name: name.value, version: version.value, line, origins, hashes: strong, kind });
  }

  /** Throws no error: an address that is not in order is a problem. */
  place(line: number | null, what: string, url: string): undefined {
    const origin = readOrigin(url);
    if ('problem' in origin) this.problem(line, what, origin.problem);
    else this.places.push({ line, what, origin });
  }

  /** What the path of a file says it is, when that is another package than the entry's. */
  #other({ segments }: Origin, name: string, version: string | null): string | null {
    if (segments === null) return 'what nobody can read';
    const file = this.ecosystem === 'npm' ? npmFile(segments) : pypiFile(segments);
    if (file === null || file.kind !== 'file') return null;
    const same = (a: string, b: string) => trimmed(a) === trimmed(b);
    if (file.name === name && (version === null || same(file.version, version))) return null;
    return `${file.name}@${file.version}`;
  }
}

/** Builds and trailing zeros aside: files do not always carry them. */
function trimmed(version: string): string {
  return version.replace(/\+.*$/, '').replace(/(?:\.0)+$/, '');
}

function brief(text: string): string {
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
