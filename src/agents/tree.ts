/** The files of an agent as they were installed, and whether they still are. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import * as z from 'zod';
import { canonicalJson } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';

const hex = z.string().regex(/^[0-9a-f]{64}$/);

/** One file or link. `identity` is what tells without reading that content is as it was: size, inode, and both times. */
export const treeEntry = z.strictObject({
  path: z.string(),
  executable: z.boolean(),
  /** Of the content; of the target for a link. */
  sha256: hex,
  link: z.boolean(),
  identity: z.string(),
});
export type TreeEntry = z.infer<typeof treeEntry>;

/** Files of one agent; more is no agent. */
const MOST_FILES = 100_000;

/** Every file below, sorted by path. `known`: what need not be read again. Throws the system's errors, and for what is neither file nor link. */
export async function readTree(root: string, known: readonly TreeEntry[] = []): Promise<TreeEntry[]> {
  const before = new Map(known.map((entry) => [entry.path, entry]));
  const found: TreeEntry[] = [];
  const visit = async (folder: string): Promise<void> => {
    for (const { name } of await readdir(join(root, folder), { withFileTypes: true })) {
      const path = folder === '' ? name : `${folder}/${name}`;
      const stat = await lstat(join(root, path), { bigint: true });
      if (stat.isDirectory()) {
        await visit(path);
        continue;
      }
      if (!stat.isFile() && !stat.isSymbolicLink())
        throw new TypeError(`${join(root, path)} is neither a file nor a link`);
      if (found.length >= MOST_FILES) throw new RangeError(`${root} has more than ${MOST_FILES} files`);
      const link = stat.isSymbolicLink();
      const executable = !link && (stat.mode & 0o111n) !== 0n;
      const identity = [stat.size, stat.dev, stat.ino, stat.mtimeNs, stat.ctimeNs].join(' ');
      const same = before.get(path);
      if (same?.identity === identity) found.push({ ...same, executable, link });
      else found.push({ path, executable, link, identity, sha256: await contentDigest(join(root, path), link) });
    }
  };
  await visit('');
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** 64 hex digits: of a file's content, of a link's target. */
export async function contentDigest(path: string, link = false): Promise<string> {
  const hash = createHash('sha256');
  if (link) hash.update(await readlink(path, { encoding: 'buffer' }));
  else await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

/** `sha256:…` over paths, content and what is executable: the same on every machine with the same files. */
export function treeDigest(entries: readonly TreeEntry[]): string {
  return digest(
    canonicalJson(entries.map(({ path, executable, link, sha256 }) => ({ path, executable, link, sha256 }))),
  );
}
