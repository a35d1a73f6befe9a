import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type GitPlace, git, killGit } from '../../base/git.ts';
import { safeText } from '../../base/term.ts';
import { collectText, feed } from './git-io.ts';
import { endsWithPack } from './pack-end.ts';
import type { Quarantine } from './quarantine.ts';
import type { RefCommand } from './receive.ts';
import type { Service } from './service.ts';

/**
 * One push on its way in: its pack lies beside the quarantine's own objects, where inspections see it and nothing else
 * does. `accept` makes it part of the quarantine, `discard` leaves no byte of it, so that nothing that was refused once can
 * be referred to later.
 */
export interface Incoming {
  /** The quarantine with the new objects in it. */
  readonly quarantine: Quarantine;
  readonly packBytes: number;
  /** Why git does not take the pack, in its own words; null when it does. */
  readonly failure: string | null;
  /** Moves the objects over and sets all refs in one transaction; the reason why not, or null. */
  accept(commands: readonly RefCommand[]): Promise<string | null>;
  discard(): Promise<void>;
}

/** fsck's mere remarks that matter here; its warnings are errors already, as index-pack runs with --strict. */
const STRICT = [
  'badFilemode',
  'gitmodulesParse',
  'gitattributesSymlink',
  'gitignoreSymlink',
  'mailmapSymlink',
  'badTagName',
].map((name) => `${name}=error`);

export interface IncomingLimits {
  /** Objects that a pack may say it has. */
  readonly objects: number;
  /** Milliseconds to receive and unpack. */
  readonly time: number;
}

let count = 0;

/** Reads the pack from `body` to its end, whatever becomes of it. Throws what `body` throws. */
export async function receivePack(
  service: Service,
  body: AsyncIterable<Buffer>,
  limits: IncomingLimits,
): Promise<Incoming> {
  const { quarantine } = service.options;
  const { gitDir } = quarantine.place;
  count += 1;
  const objects = join(gitDir, `incoming-${count}`);
  await mkdir(join(objects, 'pack'), { recursive: true, mode: 0o700 });
  const place: GitPlace = { gitDir, objects, alternates: [join(gitDir, 'objects')] };
  const discard = () => rm(objects, { recursive: true, force: true });
  try {
    const { failure, bytes } = await indexPack(service, place, body, limits);
    return {
      quarantine: { ...quarantine, place },
      packBytes: bytes,
      failure,
      accept: (commands) => accept(quarantine, objects, commands),
      discard,
    };
  } catch (error) {
    await discard();
    throw error;
  }
}

async function indexPack(service: Service, place: GitPlace, body: AsyncIterable<Buffer>, limits: IncomingLimits) {
  const { maxPack } = service.options.quarantine;
  const args = ['index-pack', '--stdin', '--fix-thin', `--strict=${STRICT.join(',')}`, `--max-input-size=${maxPack}`];
  const pack = new PackHead(limits.objects);
  // A deletion has no pack at all: git is started by the first byte.
  let child: ReturnType<Service['start']> | null = null;
  let said: Promise<{ code: number | null; err: string }> | null = null;
  try {
    for await (const chunk of body) {
      pack.add(chunk);
      if (child === null) {
        child = service.start(args, place, limits.time);
        said = collectText(child, 4000);
      }
      if (pack.problem !== null) killGit(child);
      await feed(child, chunk);
    }
  } catch (error) {
    if (child !== null) killGit(child);
    await said; // what still writes would leave something behind
    throw error;
  }
  if (child === null || said === null) return { failure: null, bytes: 0 };
  child.stdin.end();
  const { code, err } = await said;
  const words = err
    .split('\n')
    .map((line) => safeText(line.trim()))
    .filter((line) => line !== '');
  if (pack.problem !== null || code !== 0)
    return { failure: pack.problem ?? words.at(0) ?? 'git did not accept the objects in time', bytes: pack.bytes };
  const whole = await endsWithPack(place.objects as string, service.options.quarantine.objectFormat, pack);
  return { failure: whole ? null : 'there are bytes behind the pack', bytes: pack.bytes };
}

/** `PACK`, version, number of objects: a pack that says it has too many is not unpacked. */
class PackHead {
  readonly #most: number;
  #head: Buffer = Buffer.alloc(0);
  bytes = 0;
  /** Objects that it says it has. */
  objects = 0;
  problem: string | null = null;

  constructor(most: number) {
    this.#most = most;
  }

  add(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (this.#head.length >= 12) return;
    this.#head = Buffer.concat([this.#head, chunk.subarray(0, 12)]);
    if (this.#head.length < 12) return;
    this.objects = this.#head.readUInt32BE(8);
    if (this.#head.toString('latin1', 0, 4) !== 'PACK') this.problem = 'what follows the commands is no pack';
    else if (this.objects > this.#most)
      this.problem = `the push has ${this.objects} objects; at most ${this.#most} are taken`;
  }
}

async function accept(
  quarantine: Quarantine,
  objects: string,
  commands: readonly RefCommand[],
): Promise<string | null> {
  const { gitDir } = quarantine.place;
  const files = await readdir(join(objects, 'pack'));
  // An index makes a pack visible: it comes last.
  for (const name of files.sort((a, b) => Number(a.endsWith('.idx')) - Number(b.endsWith('.idx'))))
    await rename(join(objects, 'pack', name), join(gitDir, 'objects', 'pack', name));
  await rm(objects, { recursive: true, force: true });
  const lines = commands.map(({ kind, ref, old, new: to }) => {
    if (kind === 'delete') return `delete ${ref}\0${old}\0`;
    return kind === 'create' ? `create ${ref}\0${to}\0` : `update ${ref}\0${to}\0${old}\0`;
  });
  const result = await git(quarantine.place, ['update-ref', '--stdin', '-z'], {
    stdin: `start\0${lines.join('')}prepare\0commit\0`,
  });
  return result.exitCode === 0 ? null : 'the branch is not where you think it is: fetch first';
}
