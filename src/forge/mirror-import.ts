import { once } from 'node:events';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../base/durable-file.ts';
import { type GitPlace, git, gitBytes, killGit, spawnGit } from '../base/git.ts';
import { safeText } from '../base/term.ts';
import { ForgeError } from './forge.ts';

export interface Import {
  readonly place: GitPlace;
  readonly pack: AsyncIterable<Buffer>;
  /** What must be there, with all it leads to, afterwards. */
  readonly wants: readonly string[];
  /** Bytes that the pack may have. */
  readonly room: number;
  /** The repository's. */
  readonly name: string;
}

const HOUR = 3_600_000;
/** Faults of old commits, which nothing acts upon: honest histories have them. */
const HARMLESS = [
  'zeroPaddedFilemode',
  'badTimezone',
  'missingSpaceBeforeDate',
  'missingSpaceBeforeEmail',
  'missingEmail',
];

/** Those of these ids that are not in the repository. */
export async function missingFrom(place: GitPlace, oids: readonly string[]): Promise<string[]> {
  if (oids.length === 0) return [];
  const stdin = `${oids.join('\n')}\n`;
  const found = await gitBytes(place, ['cat-file', '--batch-check=%(objectname)'], { stdin, maxOutput: 1024 ** 3 });
  return found
    .toString()
    .split('\n')
    .filter((line) => line.endsWith(' missing'))
    .map((line) => line.slice(0, -' missing'.length));
}

/**
 * Takes a pack in: into a folder of its own, through `index-pack --strict` (every object is looked at as by fsck), then a check that all that
 * is wanted is whole, and only then into the repository. Resolves with the pack's bytes.
 */
export async function importPack(request: Import): Promise<number> {
  const { place } = request;
  const incoming = join(place.gitDir, 'incoming');
  const objects = join(place.gitDir, 'objects');
  await mkdir(join(incoming, 'pack'), { recursive: true, mode: 0o700 });
  const aside: GitPlace = { gitDir: place.gitDir, objects: incoming, alternates: [objects] };
  try {
    const bytes = await indexPack(aside, request);
    await requireWhole(aside, request);
    await moveIn(join(incoming, 'pack'), join(objects, 'pack'));
    return bytes;
  } finally {
    await rm(incoming, { recursive: true, force: true });
  }
}

async function indexPack(aside: GitPlace, { pack, room, name }: Import): Promise<number> {
  const most = Math.max(room, 0);
  const strict = `--strict=${HARMLESS.map((fault) => `${fault}=ignore`).join(',')}`;
  const child = spawnGit(aside, ['index-pack', '--stdin', '--fix-thin', strict]);
  const closed = once(child, 'close') as Promise<[number | null]>;
  const gone = closed.then(() => {});
  const timer = setTimeout(() => killGit(child), HOUR);
  let said = '';
  child.stdout.resume();
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < 2000) said += chunk.toString();
  });
  let bytes = 0;
  try {
    for await (const chunk of pack) {
      bytes += chunk.length;
      if (bytes > most) {
        throw new ForgeError('limit', `the mirror of ${name} would be larger than what it may be`, {
          remedy: 'max_size: of that host under forges: in config.yaml raises it',
        });
      }
      if (child.exitCode !== null || child.stdin.destroyed) break;
      if (!child.stdin.write(chunk)) await Promise.race([gone, once(child.stdin, 'drain').catch(() => {})]);
    }
    child.stdin.end();
    const [code] = await closed;
    if (code === 0) return bytes;
    const why = safeText(said.trim().split('\n').slice(-3).join(' · ')).slice(0, 400);
    throw new ForgeError('protocol', `what ${name} sent is not sound: ${why || 'git gave no reason'}`, {
      remedy: 'see git fsck in that repository; nothing of it was kept',
    });
  } finally {
    clearTimeout(timer);
    killGit(child);
  }
}

async function requireWhole(aside: GitPlace, { wants, name }: Import): Promise<void> {
  const args = ['rev-list', '--objects', '--quiet', '--stdin', '--not', '--all'];
  const result = await git(aside, args, { stdin: `${wants.join('\n')}\n`, timeout: HOUR });
  if (result.exitCode === 0) return;
  throw new ForgeError('protocol', `${name} left out objects of what was asked for`, {
    remedy: 'see git fsck in that repository; nothing of it was kept',
  });
}

/** A pack counts for git from its index on: that comes last. */
async function moveIn(from: string, to: string): Promise<void> {
  const names = await readdir(from);
  const order = (name: string) => (name.endsWith('.idx') ? 1 : 0);
  for (const name of names.sort((a, b) => order(a) - order(b))) await rename(join(from, name), join(to, name));
  await syncFolder(to);
}
