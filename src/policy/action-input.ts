import * as z from 'zod';
import type { ActionName, GitPushAction, PolicyAction, PushedPackage } from './action.ts';
import { parseSize } from './amounts.ts';
import { actionNames } from './cedar-schema.ts';
import { closest } from './closest.ts';
import { canonicalCommandPath, canonicalSha256 } from './commands.ts';
import { canonicalRef } from './git-refs.ts';
import { canonicalHost, parsePort } from './hosts.ts';
import { canonicalPackage, canonicalVersion, type Ecosystem } from './packages.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';
import { canonicalPath } from './paths.ts';
import { canonicalMethod, canonicalRequestPath } from './request-paths.ts';

/**
 * An action as a person writes it, in a document's `tests` or after `cordon policy explain`: names and values, most of
 * which have a default that makes the action an ordinary one. The result is canonical.
 */
export type ActionFields = Readonly<Record<string, unknown>>;

class Refusal extends Error {
  readonly remedy: string | undefined;
  constructor(result: { message: string; remedy?: string }) {
    super(result.message);
    this.remedy = result.remedy;
  }
}

/** Reads fields one by one and knows which were asked for, so that a misspelt one is an error. */
class Reader {
  readonly #fields: ActionFields;
  readonly #known: string[] = [];

  constructor(fields: ActionFields) {
    this.#fields = fields;
  }

  #take(name: string): unknown {
    this.#known.push(name);
    return this.#fields[name];
  }

  text<T>(name: string, parse: (text: string) => Parsed<T>, missing?: T): T {
    const value = this.#take(name);
    if (value === undefined && missing !== undefined) return missing;
    if (value === undefined) throw new Refusal(refused(`\`${name}\` is missing`, `add ${name}=…`));
    if (typeof value !== 'string')
      throw new Refusal(refused(`${name}: ${shown(value)} is not text`, 'put it in quotes'));
    const result = parse(value);
    if (!result.ok) throw new Refusal(result);
    return result.value;
  }

  number(name: string, missing: number): number {
    const value = this.#take(name) ?? missing;
    const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
    if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0)
      throw new Refusal(refused(`${name}: ${shown(value)} is no whole number`));
    return number;
  }

  size(name: string): number {
    const value = this.#take(name) ?? 0;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    const result = parseSize(value);
    if (!result.ok) throw new Refusal(result);
    return result.value;
  }

  flag(name: string): boolean {
    const value = this.#take(name) ?? false;
    if (value === true || value === 'true') return true;
    if (value === false || value === 'false') return false;
    throw new Refusal(refused(`${name}: ${shown(value)} is neither true nor false`));
  }

  texts(name: string): string[] {
    const value = this.#take(name) ?? [];
    const list = typeof value === 'string' ? value.split(',') : value;
    const result = z.array(z.string()).safeParse(list);
    if (!result.success) throw new Refusal(refused(`${name}: ${shown(value)} is no list of texts`));
    return [...new Set(result.data)].sort();
  }

  finish(): void {
    for (const name of Object.keys(this.#fields)) {
      if (this.#known.includes(name)) continue;
      const near = closest(name, this.#known);
      throw new Refusal(
        refused(
          `unknown field ${shown(name)}`,
          near === undefined ? `fields are ${this.#known.join(', ')}` : `did you mean \`${near}\`?`,
        ),
      );
    }
  }
}

const anyText = (text: string): Parsed<string> =>
  text === '' || text.length > 4096 ? refused('an empty text') : parsed(text);

export function readAction(name: unknown, fields: ActionFields): Parsed<PolicyAction> {
  if (typeof name !== 'string' || !(actionNames as string[]).includes(name)) {
    const near = typeof name === 'string' ? closest(name, actionNames) : undefined;
    return refused(
      `${shown(name)} is no action`,
      near === undefined ? `actions are ${actionNames.join(', ')}` : `did you mean ${near}?`,
    );
  }
  const reader = new Reader(fields);
  try {
    const action = build(name as ActionName, reader);
    reader.finish();
    return parsed(action);
  } catch (error) {
    if (error instanceof Refusal) return refused(error.message, error.remedy);
    throw error;
  }
}

function build(action: ActionName, r: Reader): PolicyAction {
  switch (action) {
    case 'run.start':
      return {
        action,
        agent: r.text('agent', anyText, 'command'),
        repository: repository(r),
        readOnly: r.flag('read_only'),
      };
    case 'command.execute':
      return {
        action,
        path: r.text('path', canonicalCommandPath),
        sha256: r.text('sha256', canonicalSha256, '0'.repeat(64)),
      };
    case 'file.read':
    case 'file.write':
      return { action, path: r.text('path', canonicalPath) };
    case 'net.connect':
      return { action, ...target(r) };
    case 'net.request':
      return {
        action,
        ...target(r),
        method: r.text('method', canonicalMethod, 'GET'),
        path: r.text('path', canonicalRequestPath, '/'),
      };
    case 'git.fetch':
      return fetchOf(r);
    case 'git.push':
      return push(r);
    case 'git.sign':
      return { action, author: r.text('author', anyText).toLowerCase() };
    case 'llm.request':
      return { action, provider: r.text('provider', anyText), model: r.text('model', anyText) };
    case 'secret.use':
      return { action, name: r.text('name', anyText), host: r.text('host', canonicalHost) };
    case 'tool.call':
      return { action, server: r.text('server', anyText), tool: r.text('tool', anyText) };
    case 'forge.open_pull_request':
    case 'forge.comment':
      return { action, repository: repository(r) };
  }
}

/** One that names no ref means the branch that the run starts from. */
function fetchOf(r: Reader): PolicyAction {
  const ref = r.text('ref', canonicalRef, '');
  const base = r.flag('base') || ref === '';
  return { action: 'git.fetch', repository: repository(r), ref: ref === '' ? 'refs/heads/main' : ref, base };
}

const repository = (r: Reader) => r.text('repository', anyText, 'repository');

/** `host: "evil.example:443"`, or `host` and `port`. */
function target(r: Reader): { host: string; port: number } {
  const split = r.text('host', (text) => {
    const match = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(text);
    const host = canonicalHost(match?.[1] ?? text);
    if (!host.ok) return host;
    const port = match === null ? parsed(undefined) : parsePort(match[2] ?? '');
    return port.ok ? parsed({ host: host.value, port: port.value }) : port;
  });
  const port = r.number('port', split.port ?? 443);
  if (port < 1 || port > 65_535) throw new Refusal(refused(`${port} is no port`));
  return { host: split.host, port };
}

function push(r: Reader): PolicyAction {
  const ref = r.text('ref', canonicalRef);
  const changedPaths = r.texts('changed_paths');
  for (const path of changedPaths) {
    const result = canonicalPath(path);
    if (!result.ok) throw new Refusal(result);
  }
  const kinds = ['force', 'delete', 'create'] as const;
  const set = kinds.filter((kind) => r.flag(kind));
  return {
    action: 'git.push',
    repository: repository(r),
    ref,
    kind: set[0] ?? 'update',
    tag: ref.startsWith('refs/tags/'),
    changedPaths,
    changedLines: r.number('changed_lines', 1),
    largestFile: r.size('largest_file'),
    commits: r.number('commits', 1),
    authors: r.texts('authors').map((author) => author.toLowerCase()),
    signed: r.flag('signed'),
    ...dependencies(r),
    secrets: r.flag('secrets'),
    testsPassed: r.flag('tests_passed'),
  };
}

/** `dependency_origins: [packages.acme.example]`, `dependencies: ["npm:left-pad@1.3.0"]`: the places are made up. */
function dependencies(r: Reader): Partial<GitPushAction> {
  const binaries = r.texts('binaries');
  const hosts = r.texts('dependency_origins');
  const problems = r.texts('dependency_problems');
  const unrecorded = r.texts('unrecorded_dependencies');
  const packages = r.texts('dependencies').map(pushedPackage);
  const none = hosts.length + problems.length + unrecorded.length + packages.length === 0;
  const origins = hosts.map((host) => ({ host, at: A_LOCK_FILE }));
  return {
    ...(binaries.length === 0 ? {} : { binaries }),
    ...(none ? {} : { dependencies: { origins, problems, unrecorded, packages } }),
  };
}

const A_LOCK_FILE = 'a lock file';

function pushedPackage(text: string): PushedPackage {
  const match = /^(npm|pypi):(@?[^@]+)@(.+)$/.exec(text);
  if (match === null)
    throw new Refusal(refused(`${shown(text)} is no package of a lock file`, 'write npm:left-pad@1.3.0'));
  const ecosystem = match[1] as Ecosystem;
  const [name, version] = [canonicalPackage(ecosystem, match[2] ?? ''), canonicalVersion(ecosystem, match[3] ?? '')];
  if (!name.ok) throw new Refusal(name);
  if (!version.ok) throw new Refusal(version);
  return { ecosystem, name: name.value, version: version.value, at: A_LOCK_FILE };
}

/**
 * `net.connect host=evil.example:443`, `git.push ref=refs/heads/main force`: the action's name, then `name=value`;
 * a bare name is `name=true`. Words may be given apart or in one line.
 */
export function parseActionLine(words: readonly string[]): Parsed<PolicyAction> {
  const [name, ...rest] = words.length === 1 ? (words[0] ?? '').trim().split(/\s+/) : words;
  const fields: Record<string, unknown> = Object.create(null);
  for (const part of rest) {
    const at = part.indexOf('=');
    const key = (at < 0 ? part : part.slice(0, at)).replaceAll('-', '_');
    if (Object.hasOwn(fields, key)) return refused(`\`${key}\` is given twice`);
    fields[key] = at < 0 ? true : part.slice(at + 1);
  }
  return readAction(name, fields);
}
