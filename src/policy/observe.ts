/**
 * The least that would have permitted what a run was denied: for a person to review, never applied by anybody else.
 * Pure: from denials to a fragment of a policy document. Nothing in it is a wildcard over hosts.
 */
import { parseCommandPath } from './commands.ts';
import { matchGlob } from './globs.ts';
import { parseHostPattern } from './hosts.ts';
import { canonicalMethod, parseRequestPathGlob } from './request-paths.ts';

/** One crossing that did not come about. Method and path are null for a tunnel that nobody would have looked into. */
export interface DeniedCrossing {
  readonly host: string;
  readonly port: number;
  readonly method: string | null;
  readonly path: string | null;
  /** What the rule needs besides naming it. */
  readonly private?: boolean;
  readonly websocket?: boolean;
}

/** What no line added to a document permits, and why. */
export interface Ungrantable {
  /** `net.connect evil.example:443` */
  readonly what: string;
  /** `/etc/cordon/policy.yaml:7 …` where a rule stands in the way; else a sentence. */
  readonly why: string;
  readonly count: number;
}

export interface Denials {
  readonly crossings: readonly DeniedCrossing[];
  /** Names whose address was asked for and not answered. */
  readonly names: readonly string[];
  /** Absolute paths of programs. */
  readonly commands: readonly string[];
  readonly ungrantable: readonly Ungrantable[];
}

export interface HostAddition {
  readonly host: string;
  readonly port: number;
  /** Null: the whole host, its TLS end to end. */
  readonly methods: readonly string[] | null;
  readonly paths: readonly string[] | null;
  readonly private: boolean;
  readonly websocket: boolean;
  /** Denials behind it; 0 where only the name was asked for, and the port is a guess. */
  readonly count: number;
}

export interface Additions {
  readonly hosts: readonly HostAddition[];
  readonly commands: readonly { readonly path: string; readonly count: number }[];
  readonly ungrantable: readonly Ungrantable[];
  /** Denials in all, those that cannot be granted included. */
  readonly denied: number;
}

/** Paths below one folder that are listed one by one; more become `folder/**`. */
const LISTED = 8;
/** First names of paths on one host that are listed one by one; more become `/**`. */
const FOLDERS = 16;
/** Hosts that a person can be expected to review. */
const HOSTS = 100;
const GUESSED_PORT = 443;

/** Deterministic; hosts, methods and paths in order. */
export function suggestAdditions(denials: Denials): Additions {
  const refused = new Refusals(denials.ungrantable);
  const wanted = new Map<string, Wanted>();
  for (const crossing of denials.crossings) want(wanted, refused, crossing);
  const known = new Set([...wanted.values()].map(({ host }) => host));
  for (const host of new Set(denials.names)) {
    if (known.has(host)) continue;
    const crossing = { host, port: GUESSED_PORT, method: null, path: null };
    want(wanted, refused, crossing);
    const guess = wanted.get(keyOf(crossing));
    if (guess !== undefined) guess.count = 0;
  }
  const sorted = [...wanted.values()].sort((a, b) => compare(a.host, b.host) || a.port - b.port);
  for (const { host, port, count } of sorted.slice(HOSTS))
    refused.add(`net.connect ${host}:${port}`, `more than ${HOSTS} hosts: nobody can review them all at once`, count);
  const commands = countedPaths(denials.commands, refused);
  return {
    hosts: sorted.slice(0, HOSTS).flatMap(additionsFor),
    commands,
    ungrantable: refused.list(),
    denied:
      denials.crossings.length +
      new Set(denials.names.filter((name) => !known.has(name))).size +
      denials.commands.length +
      denials.ungrantable.reduce((sum, { count }) => sum + count, 0),
  };
}

interface Wanted {
  readonly host: string;
  readonly port: number;
  /** Method → patterns of paths. */
  readonly requests: Map<string, Set<string>>;
  whole: boolean;
  private: boolean;
  websocket: boolean;
  count: number;
}

const keyOf = ({ host, port }: { host: string; port: number }) => `${host}:${port}`;
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

function want(all: Map<string, Wanted>, refused: Refusals, crossing: DeniedCrossing): void {
  const { host, port, method, path } = crossing;
  const name = keyOf(crossing);
  if (!parseHostPattern(name).ok) {
    refused.add(`net.connect ${name}`, 'no rule can name this host');
    return;
  }
  const pattern = path === null ? null : literalPattern(path);
  if (method !== null && (pattern === null || !isMethod(method))) {
    refused.add(`net.request ${method} ${name}`, 'no pattern can name this method and path');
    return;
  }
  const wanted = all.get(name) ?? {
    host,
    port,
    requests: new Map<string, Set<string>>(),
    whole: false,
    private: false,
    websocket: false,
    count: 0,
  };
  all.set(name, wanted);
  wanted.count++;
  wanted.private ||= crossing.private ?? false;
  wanted.websocket ||= crossing.websocket ?? false;
  if (method === null || pattern === null) wanted.whole = true;
  else wanted.requests.set(method, (wanted.requests.get(method) ?? new Set<string>()).add(pattern));
}

function isMethod(text: string): boolean {
  const method = canonicalMethod(text);
  return method.ok && method.value === text;
}

/** A pattern for this one path; `?` for characters that mean something in patterns. Null when none can be written. */
function literalPattern(path: string): string | null {
  const pattern = path.replace(/[*[\]{}!]/g, '?');
  const glob = parseRequestPathGlob(pattern);
  return glob.ok && matchGlob(glob.value, path.slice(1)) ? pattern : null;
}

function additionsFor(wanted: Wanted): HostAddition[] {
  const { host, port, whole, requests, count } = wanted;
  const common = { host, port, private: wanted.private, websocket: wanted.websocket };
  if (whole) return [{ ...common, methods: null, paths: null, count }];
  // Methods that went to the same paths share an entry; others have their own, or each could go where the other went.
  const byPaths = new Map<string, { readonly methods: string[]; readonly paths: readonly string[]; count: number }>();
  for (const [method, set] of [...requests].sort(([a], [b]) => compare(a, b))) {
    const paths = summarised([...set].sort(compare));
    const key = paths.join(' ');
    const entry = byPaths.get(key) ?? { methods: [], paths, count: 0 };
    entry.methods.push(method);
    entry.count += set.size;
    byPaths.set(key, entry);
  }
  return [...byPaths.values()].map(({ methods, paths, count }) => ({ ...common, methods, paths, count }));
}

/** As they are, or where many lie below one folder, that folder. */
function summarised(paths: readonly string[]): readonly string[] {
  if (paths.length <= LISTED) return paths;
  const folders = new Map<string, string[]>();
  for (const path of paths) {
    const first = path.split('/')[1] ?? '';
    folders.set(first, [...(folders.get(first) ?? []), path]);
  }
  if (folders.size > FOLDERS) return ['/**'];
  return [...folders.values()].flatMap((below) => (below.length <= LISTED ? below : folderOf(below)));
}

/** The deepest folder that all lie below; the folder's own path stays for itself, since `**` does not match it. */
function folderOf(paths: readonly string[]): string[] {
  const deep = paths.filter((path) => path.split('/').length > 2);
  const names = deep.map((path) => path.split('/').slice(1, -1));
  const [first = [], ...rest] = names;
  let shared = first.length;
  for (const other of rest) {
    let same = 0;
    while (same < shared && other[same] === first[same]) same++;
    shared = same;
  }
  const folder = `/${first.slice(0, shared).join('/')}/**`;
  return [folder, ...paths.filter((path) => !deep.includes(path))].sort(compare);
}

function countedPaths(paths: readonly string[], refused: Refusals): { path: string; count: number }[] {
  const counts = new Map<string, number>();
  for (const path of paths) {
    if (parseCommandPath(path).ok) counts.set(path, (counts.get(path) ?? 0) + 1);
    else refused.add(`command.execute ${path}`, 'no list can name this path');
  }
  return [...counts].sort(([a], [b]) => compare(a, b)).map(([path, count]) => ({ path, count }));
}

/** Each thing that cannot be granted once, with how often. */
class Refusals {
  readonly #counts = new Map<string, Ungrantable>();

  constructor(first: readonly Ungrantable[]) {
    for (const { what, why, count } of first) this.add(what, why, count);
  }

  add(what: string, why: string, count = 1): void {
    const key = JSON.stringify([what, why]);
    this.#counts.set(key, { what, why, count: (this.#counts.get(key)?.count ?? 0) + count });
  }

  list(): readonly Ungrantable[] {
    return [...this.#counts.values()];
  }
}

/**
 * The additions as a policy document of their own, with a comment on each line of what stands behind it; null when there
 * is nothing that could be added.
 */
export function additionsYaml({ hosts, commands }: Additions): string | null {
  if (hosts.length === 0 && commands.length === 0) return null;
  const lines = ['version: 1', 'security:'];
  if (hosts.length > 0) lines.push('  allowed_network_hosts:', ...hosts.map(hostLine));
  if (commands.length > 0) {
    lines.push('  allowed_commands:');
    for (const { path, count } of commands) lines.push(`    - ${quoted(path)}  # ${times(count)}`);
  }
  return `${lines.join('\n')}\n`;
}

function hostLine(addition: HostAddition): string {
  const { host, port, methods, paths, count } = addition;
  const options = [
    ...(methods === null ? [] : [`methods: [${methods.map(quoted).join(', ')}]`]),
    ...(paths === null ? [] : [`paths: [${paths.map(quoted).join(', ')}]`]),
    ...(addition.private ? ['private: true'] : []),
    ...(addition.websocket ? ['websocket: true'] : []),
  ];
  const entry =
    options.length === 0
      ? quoted(`${host}:${port}`)
      : `{${[`host: ${quoted(host)}`, `port: ${port}`, ...options].join(', ')}}`;
  const note = count === 0 ? 'only its address was asked for: the port is a guess' : times(count);
  const remarks = [note, ...(addition.private ? ['an address of a private network'] : [])];
  return `    - ${entry}  # ${remarks.join('; ')}`;
}

function times(count: number): string {
  return count === 1 ? 'denied once' : `denied ${count} times`;
}

/** Every string that JSON writes is the same string to YAML 1.2. */
function quoted(text: string): string {
  const plain = /^[A-Za-z][A-Za-z0-9.-]*(:[0-9]+)?$/.test(text) || /^(\/[A-Za-z0-9][A-Za-z0-9._+-]*)+$/.test(text);
  return plain && !/^(true|false|null)$/i.test(text) ? text : JSON.stringify(text);
}
