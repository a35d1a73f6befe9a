import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { type Clock, systemClock } from '../base/clock.ts';
import { writeDurably } from '../base/durable-file.ts';
import { EnforcementError } from '../base/errors.ts';
import { FileLock } from '../base/file-lock.ts';
import { isRunId } from '../base/ids.ts';
import { isAlive, type ProcessIdentity } from '../base/process-identity.ts';
import { checkName } from './driver.ts';

/**
 * Who has what, between processes: `grants/RUN.json` by the process that drives the run, `revoked/NAME.json` by whoever revokes.
 *
 *   grants/RUN.json    {"v":1,"run","owner":{pid,startTime,bootId},"grants":[{"id","name","since","revoked"}]}
 *   revoked/NAME.json  {"v":1,"count"}
 *
 * A grant made when a name had been revoked `since` times is void as soon as it has been revoked more often. The holder reads the
 * count before it writes its grant, the revoker counts up before it reads the grants: whichever comes first, one sees
 * the other. The holder confirms with the count it then found, in `revoked`, once everything that used the grant was told to stop.
 */
const grantSchema = z.strictObject({
  id: z.string(),
  name: z.string(),
  since: z.int().nonnegative(),
  revoked: z.int().positive().nullable(),
});
const bookSchema = z.strictObject({
  v: z.literal(1),
  run: z.string().refine(isRunId),
  owner: z.strictObject({ pid: z.int(), startTime: z.string(), bootId: z.string() }),
  grants: z.array(grantSchema),
});
const revokedSchema = z.strictObject({ v: z.literal(1), count: z.int().positive() });

/** Between two looks, in milliseconds. */
const PAUSE = 10;

export type GrantRecord = z.infer<typeof grantSchema>;
type RunGrants = z.infer<typeof bookSchema>;

export interface Cut {
  /** Runs that had it and have it no more. */
  readonly runs: readonly string[];
  /** Runs whose process did not confirm in time. */
  readonly unanswered: readonly string[];
}

export class GrantBook {
  readonly #grants: string;
  readonly #revoked: string;
  readonly #clock: Clock;

  /** `dir`: the folder `secrets` of this installation; made when needed. */
  constructor(dir: string, clock: Clock = systemClock) {
    this.#grants = join(dir, 'grants');
    this.#revoked = join(dir, 'revoked');
    this.#clock = clock;
  }

  /** How often a name has been revoked. Synchronous: it is asked right before every use. */
  count(name: string): number {
    const path = join(this.#revoked, `${checkName(name)}.json`);
    try {
      return revokedSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).count;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return 0;
      // Whether it was revoked cannot be known: then it is not used.
      throw new EnforcementError('secrets', `${path} cannot be read: whether ${name} was revoked is not known`, {
        remedy: `remove it, and say again: cordon secrets revoke ${name}`,
        cause,
      });
    }
  }

  async write(run: string, owner: ProcessIdentity, grants: readonly GrantRecord[]): Promise<void> {
    await mkdir(this.#grants, { recursive: true, mode: 0o700 });
    const book: RunGrants = { v: 1, run, owner: { ...owner }, grants: [...grants] };
    await writeDurably(join(this.#grants, `${run}.json`), `${JSON.stringify(book)}\n`);
  }

  async remove(run: string): Promise<void> {
    await unlink(join(this.#grants, `${run}.json`)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }

  /**
   * Revokes a name, and waits until every run that had it confirms, for `timeout` milliseconds. Where the machine stood still meanwhile it
   * waits longer: nobody could confirm then, so there are always as many looks as that time has room for at leisure.
   */
  async revoke(name: string, timeout: number): Promise<Cut> {
    const count = await this.#countUp(checkName(name));
    const deadline = this.#clock.monotonic() + timeout;
    const had = new Set<string>();
    for (let looks = 1; ; looks++) {
      const held = (await this.#all()).filter(({ grants }) => grants.some((grant) => isVoid(grant, name, count)));
      for (const { run } of held) had.add(run);
      const open = held.filter(({ grants }) =>
        grants.some((grant) => isVoid(grant, name, count) && grant.revoked === null),
      );
      if (open.length > 0 && (this.#clock.monotonic() < deadline || looks * 2 * PAUSE < timeout)) {
        await sleep(PAUSE);
        continue;
      }
      // A run that was there and is gone has ended, and its grants with it.
      const unanswered = open.map(({ run }) => run).sort();
      return { runs: [...had].filter((run) => !unanswered.includes(run)).sort(), unanswered };
    }
  }

  /** What runs of living processes have now. Sorted. */
  async names(): Promise<string[]> {
    const names = (await this.#all()).flatMap(({ grants }) => grants.map(({ name }) => name));
    return [...new Set(names)].sort();
  }

  async #countUp(name: string): Promise<number> {
    await mkdir(this.#revoked, { recursive: true, mode: 0o700 });
    const lock = new FileLock(join(this.#revoked, '.lock'), this.#clock);
    try {
      await lock.acquire(5_000);
      const count = this.count(name) + 1;
      await writeDurably(join(this.#revoked, `${name}.json`), `${JSON.stringify({ v: 1, count })}\n`);
      return count;
    } finally {
      lock.close();
    }
  }

  /** Of processes that live; what dead ones left is removed. */
  async #all(): Promise<RunGrants[]> {
    const names = await readdir(this.#grants).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    const books: RunGrants[] = [];
    for (const name of names.filter((file) => file.endsWith('.json'))) {
      const text = await readFile(join(this.#grants, name), 'utf8').catch(() => null); // ended since
      const book = text === null ? null : bookSchema.safeParse(JSON.parse(text));
      if (book === null || !book.success) continue;
      if (isAlive(book.data.owner)) books.push(book.data);
      else await this.remove(book.data.run);
    }
    return books;
  }
}

/** Made void by this revocation, and not by one before it. */
function isVoid({ revoked, ...grant }: GrantRecord, name: string, count: number): boolean {
  return grant.name === name && grant.since < count && (revoked === null || revoked >= count);
}
