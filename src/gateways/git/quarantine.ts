import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type GitPlace, git, gitFailure, isOid } from '../../base/git.ts';

export interface QuarantineRequest {
  /** The run's own folder on the trusted side. */
  readonly runDir: string;
  /** The bare repository of what the run may see: fetches are served from it, thin packs are completed from it. */
  readonly view: GitPlace;
  /** Further object folders that pushed objects may refer to: the files a partial checkout leaves out. Never served. */
  readonly furtherObjects?: readonly string[];
  readonly base: string;
  /** Short name of the base branch. */
  readonly baseBranch: string;
  readonly shallow: readonly string[];
  /** What the view shows beside the base's branch; `commit`: of an annotated tag, the listing names both. */
  readonly refs?: readonly { readonly name: string; readonly oid: string; readonly commit: string }[];
  readonly objectFormat: 'sha1' | 'sha256';
  /** Bytes of one pack. Default 512 MiB. */
  readonly maxPack?: number;
}

/** Where a run's pushes arrive: a bare repository with our configuration and nobody's hooks. */
export interface Quarantine {
  readonly place: GitPlace;
  readonly view: GitPlace;
  readonly base: string;
  readonly baseRef: string;
  readonly shallow: readonly string[];
  /** Names of what the view shows beside `baseRef`, by object id. */
  readonly shown: ReadonlyMap<string, string>;
  readonly objectFormat: 'sha1' | 'sha256';
  readonly maxPack: number;
  /** The commit that `refs/heads/…` was last pushed to; null when it was not. */
  head(ref: string): Promise<string | null>;
}

/** An attributes file in the quarantine, under which every file is text to a diff. */
export const allText = 'all-text';

const MiB = 1024 * 1024;

/** Makes the quarantine of a run. Throws the system's error when the folder cannot be written. */
export async function openQuarantine(request: QuarantineRequest): Promise<Quarantine> {
  const { view, base, baseBranch, shallow, objectFormat, maxPack = 512 * MiB } = request;
  const gitDir = join(request.runDir, 'quarantine.git');
  const baseRef = `refs/heads/${baseBranch}`;
  for (const folder of ['objects/info', 'objects/pack', 'refs/heads', 'info']) {
    await mkdir(join(gitDir, folder), { recursive: true, mode: 0o700 });
  }
  const objects = [join(view.gitDir, 'objects'), ...(request.furtherObjects ?? [])];
  await writeFile(join(gitDir, 'objects', 'info', 'alternates'), objects.map((dir) => `${alternate(dir)}\n`).join(''));
  if (shallow.length > 0) await writeFile(join(gitDir, 'shallow'), shallow.map((oid) => `${oid}\n`).join(''));
  await writeFile(join(gitDir, 'packed-refs'), `# pack-refs with: peeled fully-peeled sorted \n${base} ${baseRef}\n`);
  await writeFile(join(gitDir, 'config'), configuration(objectFormat));
  await writeFile(join(gitDir, 'HEAD'), `ref: ${baseRef}\n`);
  await writeFile(join(gitDir, allText), '* diff\n');
  const place = { gitDir };
  const refs = request.refs ?? [];
  const shown = new Map(refs.filter(({ commit }) => commit !== base).map(({ name, commit }) => [commit, name]));
  for (const { name, oid } of refs) shown.set(oid, name);
  return { place, view, base, baseRef, shallow, shown, objectFormat, maxPack, head: (ref) => readHead(place, ref) };
}

/** git reads a C-quoted line whole; plain ones may not start with `#` or hold a newline. */
function alternate(dir: string): string {
  return /^[/\w.@+ -]+$/.test(dir) ? dir : `"${dir.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n')}"`;
}

async function readHead(place: GitPlace, ref: string): Promise<string | null> {
  const args = ['rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`];
  const result = await git(place, args);
  if (result.exitCode === 1) return null;
  const oid = result.stdout.toString().trim();
  if (result.exitCode !== 0 || !isOid(oid)) throw gitFailure(place, args, result);
  return oid;
}

function configuration(objectFormat: 'sha1' | 'sha256'): string {
  return [
    '[core]',
    `\trepositoryformatversion = ${objectFormat === 'sha256' ? 1 : 0}`,
    '\tbare = true',
    '\tlogallrefupdates = false',
    ...(objectFormat === 'sha256' ? ['[extensions]', '\tobjectFormat = sha256'] : []),
    '[gc]\n\tauto = 0',
    '',
  ].join('\n');
}
