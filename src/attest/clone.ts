import { createHash } from 'node:crypto';
import { UsageError } from '../base/errors.ts';
import { type GitOptions, type GitPlace, gitBytes, gitDiscovering, gitText, isOid } from '../base/git.ts';
import { ObjectReader, type ObjectType } from '../base/git-objects.ts';
import { safeText } from '../base/term.ts';
import { BUNDLE_REFS, MAX_BUNDLE } from './bundle.ts';
import { plainGitDir } from './clone-find.ts';
import { demand } from './links.ts';

export interface CommitObject {
  readonly oid: string;
  readonly tree: string;
  readonly parents: readonly string[];
  readonly bytes: Buffer;
}

const MAX_COMMIT = 1024 * 1024;
const MAX_REFS = 64 * 1024 * 1024;

/** Neither grafts nor a cached graph may say what the parents of a commit are. */
const PLAIN: GitOptions = {
  config: ['core.commitGraph=false'],
  env: { GIT_GRAFT_FILE: '/dev/null' },
  timeout: 120_000,
};

/**
 * A repository that proofs are compared with. It may be anybody's: commits are read as bytes and hashed here, and what git
 * says of history is checked against them.
 */
export class Clone {
  readonly place: GitPlace;
  readonly objectFormat: 'sha1' | 'sha256';
  readonly #reader: ObjectReader;
  readonly #commits = new Map<string, CommitObject | null>();

  constructor(place: GitPlace, objectFormat: 'sha1' | 'sha256') {
    this.place = place;
    this.objectFormat = objectFormat;
    this.#reader = new ObjectReader(place);
    // Whatever is asked, it is the same conversation: git starts while the rest is being loaded.
    this.#reader.start();
  }

  close(): void {
    this.#reader.close();
  }

  /** A commit whose bytes are those of its id; null when the clone does not have it. Throws `BrokenLink` when they are not. */
  async commit(oid: string): Promise<CommitObject | null> {
    const known = this.#commits.get(oid);
    if (known !== undefined) return known;
    const bytes = await this.checked(oid, 'commit', MAX_COMMIT);
    const commit = bytes === null ? null : parseCommit(oid, bytes);
    this.#commits.set(oid, commit);
    return commit;
  }

  /** An object whose bytes are those of its id; null when it is not there, or larger. Throws `BrokenLink` when they are not. */
  async checked(oid: string, type: ObjectType, limit: number): Promise<Buffer | null> {
    const bytes = await this.#reader.read(oid, type, limit);
    if (bytes !== null) requireId(oid, type, bytes, this.objectFormat);
    return bytes;
  }

  /** Null when it is not there or larger than a bundle can be. */
  blob(oid: string): Promise<Buffer | null> {
    return this.#reader.read(oid, 'blob', MAX_BUNDLE);
  }

  async resolve(name: string): Promise<string> {
    // The names end with the line in which they are asked for.
    const info = /[\n\0]/.test(name) ? null : await this.#reader.info(`${name}^{commit}`);
    if (info?.type === 'commit') return info.oid;
    throw new UsageError(`there is no commit ${safeText(name)} in ${safeText(this.place.gitDir)}`, {
      remedy: 'fetch it first, or name another: a branch, a tag or an object id',
    });
  }

  /** The bundle at a commit's own ref; null when there is none. */
  async bundleOf(commit: string): Promise<Buffer | null> {
    const info = await this.#reader.info(`${BUNDLE_REFS}${commit}`);
    return info === null ? null : this.blob(info.oid);
  }

  /** Object ids of bundles by the last commit they are about. */
  async bundles(pattern = ''): Promise<Map<string, string[]>> {
    const args = ['for-each-ref', '--format=%(objectname) %(refname)', `${BUNDLE_REFS}${pattern}`];
    const lines = (await gitBytes(this.place, args, { maxOutput: MAX_REFS })).toString().split('\n');
    const found = new Map<string, string[]>();
    for (const line of lines) {
      const [, oid = '', commit = ''] =
        /^(\S+) refs\/attestations\/cordon\/([0-9a-f]{40}(?:[0-9a-f]{24})?)(?:-\w+)?$/.exec(line) ?? [];
      if (oid !== '') found.set(commit, [...(found.get(commit) ?? []), oid]);
    }
    return found;
  }

  /** New commits of `to` that `from` does not have, oldest first, as git lists them. */
  async listed(from: string, to: string): Promise<string[]> {
    const args = ['rev-list', '--topo-order', '--reverse', to, `^${from}`, '--'];
    return (await gitText(this.place, args, PLAIN)).split('\n').filter(isOid);
  }

  /** The type of an object, a tag's being that of what it names in the end; null when it is not there. */
  async typeOf(oid: string): Promise<string | null> {
    return (await this.#reader.info(`${oid}^{}`))?.type ?? null;
  }

  /** What no ref of this repository has yet, oldest first: in a hook, what a push brings. Where proofs lie nothing is proven. */
  async newTo(to: string): Promise<string[]> {
    const known = ['--not', '--exclude=refs/attestations/*', '--all'];
    const args = ['rev-list', '--topo-order', '--reverse', to, ...known, '--'];
    return (await gitText(this.place, args, PLAIN)).split('\n').filter(isOid);
  }

  /** True when a walk from `commit` through objects whose bytes were checked meets all of `wanted`. */
  async descends(commit: string, wanted: ReadonlySet<string>): Promise<boolean> {
    const missing = new Set(wanted);
    const seen = new Set([commit]);
    for (let wave = [commit]; wave.length > 0 && missing.size > 0; ) {
      for (const oid of wave) missing.delete(oid);
      if (missing.size === 0) break;
      const commits = await Promise.all(wave.map((oid) => this.commit(oid)));
      wave = [];
      for (const parent of commits.flatMap((found) => found?.parents ?? [])) {
        if (seen.has(parent)) continue;
        seen.add(parent);
        wave.push(parent);
      }
    }
    return missing.size === 0;
  }
}

function requireId(oid: string, type: ObjectType, bytes: Buffer, format: 'sha1' | 'sha256'): void {
  const id = createHash(format).update(`${type} ${bytes.length}\0`).update(bytes).digest('hex');
  demand(id === oid, 'commit', `the ${type} ${oid} of this clone holds something else (${id})`);
}

/** The headers as git reads them: the tree, the parents, then the author. */
function parseCommit(oid: string, bytes: Buffer): CommitObject {
  const text = bytes.toString('latin1');
  const match = /^tree ([0-9a-f]+)\n((?:parent [0-9a-f]+\n)*)author /.exec(text);
  const tree = match?.[1] ?? '';
  const parents = (match?.[2] ?? '').split('\n').flatMap((line) => (line === '' ? [] : [line.slice('parent '.length)]));
  demand(
    match !== null && [tree, ...parents].every(isOid),
    'commit',
    `the object ${oid} is not a commit that can be read`,
  );
  return { oid, tree, parents, bytes };
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The repository at or above `cwd`, or the one that git's own variables name, as they do in a hook: there new objects lie in a
 * quarantine of git's. Throws `UsageError` when there is none.
 */
export async function openClone(cwd: string, env: Environment): Promise<Clone> {
  const plain = env.GIT_DIR === undefined ? plainGitDir(cwd) : null;
  if (plain !== null) return new Clone(placeOf(plain, cwd, env), 'sha1');
  const named = env.GIT_DIR === undefined ? [] : [`--git-dir=${env.GIT_DIR}`];
  const args = [...named, 'rev-parse', '--path-format=absolute', '--git-common-dir', '--show-object-format'];
  const result = await gitDiscovering(cwd, args, {
    config: ['safe.bareRepository=all'],
    timeout: 20_000,
  });
  const [gitDir, format] = result.stdout.toString().trimEnd().split('\n');
  if (result.exitCode !== 0 || gitDir === undefined || (format !== 'sha1' && format !== 'sha256')) {
    throw new UsageError(`${safeText(cwd)} is not in a git repository`, {
      remedy: 'go to a clone that has the commit, or name one: -w DIR',
    });
  }
  return new Clone(placeOf(gitDir, cwd, env), format);
}

function placeOf(gitDir: string, cwd: string, env: Environment): GitPlace {
  const { GIT_OBJECT_DIRECTORY: objects, GIT_ALTERNATE_OBJECT_DIRECTORIES: alternates } = env;
  const absolute = (path: string) => (path.startsWith('/') ? path : `${cwd}/${path}`);
  const listed = alternates?.split(':').filter((path) => path !== '');
  return {
    gitDir,
    ...(objects === undefined ? {} : { objects: absolute(objects) }),
    ...(listed === undefined ? {} : { alternates: listed.map(absolute) }),
  };
}
