import { randomBytes } from 'node:crypto';
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { StorageError } from '../base/errors.ts';
import { FileLock } from '../base/file-lock.ts';
import { runProgram } from '../base/process.ts';

const Size = z.object({ disk: z.int() });
const KEY = /^[0-9a-f]{40}$/;

/** How a folder is removed: a git that outlived its killed parent may still be writing into it for a moment. */
export const removeWhole = { recursive: true, force: true, maxRetries: 10, retryDelay: 50 } as const;

/** Bytes that a folder takes on disk, hard links counted once. */
export async function folderBytes(dir: string): Promise<number> {
  const result = await runProgram('du', ['-s', '--block-size=1', dir], { timeout: 300_000 });
  const bytes = Number(result.stdout.toString().split('\t', 1)[0]);
  if (result.exitCode !== 0 || !Number.isSafeInteger(bytes))
    throw new StorageError(`the size of ${dir} cannot be told`);
  return bytes;
}

/**
 * Removes what interrupted processes left, and the longest unused checkouts until the rest fits into `limit` bytes.
 * One that is in use (its lock is held, by whichever process) is never touched, even when that keeps the cache too large.
 */
export async function evictCheckouts(root: string, limit: number): Promise<void> {
  for (const name of await readdir(join(root, 'tmp'))) {
    const key = name.slice(0, 40);
    if (KEY.test(key)) await whenUnused(root, key, () => rm(join(root, 'tmp', name), removeWhole));
  }
  const entries = await listEntries(root);
  let total = entries.reduce((sum, entry) => sum + entry.disk, 0);
  for (const entry of entries.sort((a, b) => a.used - b.used)) {
    if (total <= limit) return;
    const removed = await whenUnused(root, entry.key, async () => {
      // Out of sight in one step: nobody may find half an entry when this process dies on the way.
      const rubbish = join(root, 'tmp', `${entry.key}.${randomBytes(6).toString('hex')}`);
      await rename(join(root, entry.key), rubbish);
      await rm(rubbish, removeWhole);
    });
    if (removed) total -= entry.disk;
  }
}

async function listEntries(root: string): Promise<{ key: string; disk: number; used: number }[]> {
  const found: { key: string; disk: number; used: number }[] = [];
  for (const key of await readdir(root)) {
    if (!KEY.test(key)) continue;
    try {
      const file = join(root, key, 'entry.json');
      const { disk } = Size.parse(JSON.parse(await readFile(file, 'utf8')));
      found.push({ key, disk, used: (await stat(file)).mtimeMs });
    } catch {
      found.push({ key, disk: 0, used: 0 }); // unreadable: whoever wants this key makes it again
    }
  }
  return found;
}

/** Runs `action` with the exclusive lock of `key`; false when somebody holds it. */
async function whenUnused(root: string, key: string, action: () => Promise<void>): Promise<boolean> {
  const lock = new FileLock(join(root, `${key}.lock`));
  try {
    if (!lock.tryAcquire('exclusive')) return false;
    await action();
    return true;
  } finally {
    lock.close();
  }
}
