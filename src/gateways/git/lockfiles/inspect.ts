import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ObjectReader } from '../../../base/git-objects.ts';
import { safeText } from '../../../base/term.ts';
import { type DependencyRules, type PushDependencies, refusePackage } from '../../../policy/index.ts';
import type { RecordedQuery } from '../../egress/packages/record.ts';
import type { Changes } from '../changes.ts';
import type { Finding } from '../checks.ts';
import type { TreeEntry, TreeWalker } from '../trees.ts';
import { type Format, formatOf } from './formats.ts';
import { lostLocks } from './lost.ts';
import type { Origin } from './origins.ts';
import { type Found, readApart } from './read-apart.ts';
import type { LockEntry } from './reading.ts';

/** What the policy says of packages, and what this run knows of them. */
export interface LockRules {
  readonly rules: DependencyRules;
  /** True for a port of a registry that the policy lets a run connect to. */
  isOpen(host: string, port: number): boolean;
  /** True when exactly that came through this run's gateway. */
  wasRecorded(query: RecordedQuery): boolean;
}

export interface LockRequest extends LockRules {
  readonly changes: Changes;
  readonly reader: ObjectReader;
  readonly walker: TreeWalker;
  /** Trees. */
  readonly base: string;
  readonly head: string;
  readonly findings: Finding[];
}

/** Sentences that a decision rests on; what is more is counted. */
const SAID = 100;
const MOST_ORIGINS = 1000;
/** Entries that are looked at before others of the run have their turn. */
const TURN = 5_000;
/** Bytes of all files that are read, by their weight: half a minute at the worst, beside everything else. */
const MOST_BYTES = 128 * 1024 * 1024;

interface Seen {
  readonly path: string;
  readonly commit: string;
  readonly format: Format;
  readonly reading: Found;
  /** True for what the branch ends with. */
  readonly last: boolean;
}

/**
 * Reads every lock file, and every file that says where registries are, that any new commit adds or changes.
 * Resolves with null where there is none. What it finds is `evidence`; refusing it is the policy's to do.
 */
export async function inspectLockfiles(request: LockRequest): Promise<PushDependencies | null> {
  const { changes, walker, head, reader } = request;
  const report = new Report(request);
  const seen: Seen[] = [];
  let left = MOST_BYTES;
  for (const [oid, places] of changes.contents) {
    for (const [path, commit] of places) {
      const format = formatOf(path);
      if (format === null) continue;
      const bytes = await reader.read(oid, 'blob', format.most);
      left -= (bytes?.length ?? 0) * format.weight;
      const last = (await entryAt(walker, head, path))?.oid === oid;
      if (bytes === null) report.problem(path, commit, null, `is larger than ${format.most} bytes: it is not read`);
      else if (left < 0) report.problem(path, commit, null, 'is not read: there are too many lock files in one push');
      else seen.push({ path, commit, format, last, reading: await readApart(format, path, bytes) });
    }
  }
  for (const [path, commit] of changes.links)
    if (formatOf(path) !== null) report.problem(path, commit, null, 'is a symbolic link: a lock file must be a file');
  for (const { path, commit } of await lostLocks(request, (tree, path) => entryAt(walker, tree, path)))
    report.problem(path, commit, null, 'is deleted, and no other lock file is in its place: nothing is held to a hash');
  if (seen.length === 0) return report.result();
  seen.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : Number(b.last) - Number(a.last)));
  const before = request.rules.recorded === null ? new Set<string>() : await identitiesBefore(request);
  const hashes = new Map<string, { entry: LockEntry; at: string }>();
  for (const each of seen) {
    await report.file(each, before);
    if (!each.last) continue;
    for (const [i, entry] of each.reading.entries.entries()) {
      if (i % TURN === 0) await nextTurn();
      report.agree(each, entry, hashes);
    }
  }
  return report.result();
}

/** Every entry of the lock files that the push touches, as the base has them. */
async function identitiesBefore({ changes, walker, base, reader }: LockRequest): Promise<Set<string>> {
  const before = new Set<string>();
  for (const path of changes.touched.keys()) {
    const format = formatOf(path);
    if (format === null || format.kind === 'settings') continue;
    const entry = await entryAt(walker, base, path);
    const bytes = entry?.mode.startsWith('100') ? await reader.read(entry.oid, 'blob', format.most) : null;
    if (bytes === null) continue;
    for (const each of (await readApart(format, path, bytes)).entries) before.add(identity(each));
  }
  return before;
}

function identity({ ecosystem, name, version, kind, hashes, origins }: LockEntry): string {
  const from = origins.map(({ host, port }) => `${host}:${port}`);
  return [ecosystem, name, version, kind, ...[...hashes].sort(), ...new Set(from)].join('\0');
}

async function entryAt(walker: TreeWalker, root: string, path: string): Promise<TreeEntry | null> {
  let tree: string | undefined = root;
  let entry: TreeEntry | undefined;
  for (const name of Buffer.from(path).toString('latin1').split('/')) {
    if (tree === undefined) return null;
    entry = (await walker.tree(tree)).get(name);
    tree = entry?.mode === '40000' ? entry.oid : undefined;
  }
  return entry ?? null;
}

class Report {
  readonly #request: LockRequest;
  readonly #problems: string[] = [];
  readonly #unrecorded: string[] = [];
  readonly #packages: PushDependencies['packages'][number][] = [];
  readonly #origins = new Map<string, string>();
  readonly #open = new Map<string, boolean>();
  #any = false;

  constructor(request: LockRequest) {
    this.#request = request;
  }

  result(): PushDependencies | null {
    if (!this.#any) return null;
    const origins = [...this.#origins].map(([host, at]) => ({ host, at }));
    return { origins, problems: this.#problems, unrecorded: this.#unrecorded, packages: this.#packages };
  }

  problem(path: string, commit: string, line: number | null, what: string): undefined {
    this.#any = true;
    if (this.#problems.length >= SAID) return;
    const text = safeText(what);
    this.#problems.push(`${place(path, line)} ${text}`);
    this.#evidence(path, commit, line, text);
  }

  async file({ path, commit, reading }: Seen, before: ReadonlySet<string>): Promise<void> {
    this.#any = true;
    for (const { line, package: of, what } of reading.problems)
      this.problem(path, commit, line, of === null ? what : `${of} ${what}`);
    if (reading.more > 0) this.problem(path, commit, null, `has ${reading.more} problems more`);
    for (const { line, what, origin } of reading.places) this.#origin(origin, path, commit, line, what);
    for (const [i, entry] of reading.entries.entries()) {
      if (i % TURN === 0) await nextTurn();
      const label = `${entry.name}@${entry.version}`;
      for (const origin of entry.origins) this.#origin(origin, path, commit, entry.line, label);
      this.#name(entry, path, commit, label);
      this.#recorded(entry, path, commit, label, before);
    }
  }

  /** What one lock file holds a package to, all hold it to. */
  agree({ path, commit }: Seen, entry: LockEntry, known: Map<string, { entry: LockEntry; at: string }>): void {
    if (entry.ecosystem !== 'npm' || entry.kind !== 'file') return; // a release of PyPI has many files
    const key = `${entry.name}@${entry.version}`;
    const other = known.get(key);
    if (other === undefined) known.set(key, { entry, at: place(path, entry.line) });
    else if (disagree(entry.hashes, other.entry.hashes))
      this.problem(path, commit, entry.line, `${key} has another hash than at ${other.at}`);
  }

  #origin(origin: Origin, path: string, commit: string, line: number | null, label: string): undefined {
    const { registries } = this.#request.rules;
    const host = this.#hostText(origin);
    if (this.#origins.has(host)) return;
    if (this.#origins.size >= MOST_ORIGINS) return this.problem(path, commit, line, 'names too many hosts');
    this.#origins.set(host, `${place(path, line)} ${label}`);
    if (registries !== null && !registries.includes(host))
      this.#evidence(path, commit, line, `${label} resolves to ${host}, which is not in dependencies.registries`);
  }

  #hostText({ host, port }: Origin): string {
    if (port === 443) return host;
    const text = `${host}:${port}`;
    const open = this.#open.get(text) ?? this.#request.isOpen(host, port);
    this.#open.set(text, open);
    return open ? host : text;
  }

  #name({ ecosystem, name, version, line }: LockEntry, path: string, commit: string, label: string): undefined {
    const refused = refusePackage(this.#request.rules, { ecosystem, name, version });
    if (refused === null || this.#packages.length >= SAID) return;
    this.#packages.push({ ecosystem, name, version, at: `${place(path, line)} ${label}` });
    this.#evidence(path, commit, line, refused.reason);
  }

  #recorded(entry: LockEntry, path: string, commit: string, label: string, before: ReadonlySet<string>): void {
    const { rules, wasRecorded } = this.#request;
    if (rules.recorded === null || this.#unrecorded.length >= SAID || entry.kind === 'bundled') return;
    if (before.has(identity(entry))) return;
    const { ecosystem, name, version, hashes, line } = entry;
    const missing = hashes.filter((integrity) => !wasRecorded({ ecosystem, name, version, integrity })).length;
    if (missing === 0) return;
    const what =
      entry.kind === 'archive'
        ? 'has the checksum of what yarn made of it, which cannot be compared with what came'
        : hashes.length === 1
          ? 'did not come through the gateway in this run'
          : `has ${hashes.length} hashes, of which ${missing} are of files that did not come through the gateway in this run`;
    this.#unrecorded.push(`${place(path, line)} ${label} ${what}`);
    this.#evidence(path, commit, line, `${label} ${what}`);
  }

  #evidence(path: string, commit: string, line: number | null, message: string): void {
    const { findings } = this.#request;
    if (findings.filter(({ about }) => about === 'dependencies').length >= SAID) return;
    const where = line === null ? {} : { line };
    findings.push({ severity: 'evidence', about: 'dependencies', path, commit, ...where, message: safeText(message) });
  }
}

function place(path: string, line: number | null): string {
  return safeText(line === null ? path : `${path}:${line}`);
}

function disagree(a: readonly string[], b: readonly string[]): boolean {
  const algorithm = (hash: string) => hash.split('-')[0];
  const shared = a.filter((hash) => b.some((other) => algorithm(other) === algorithm(hash)));
  return shared.length > 0 && !shared.some((hash) => b.includes(hash));
}
