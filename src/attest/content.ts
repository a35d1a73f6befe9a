import type { Clone } from './clone.ts';
import { BrokenLink, demand } from './links.ts';

const MAX_TREE = 64 * 1024 * 1024;
const MAX_FILE = 512 * 1024 * 1024;
const MAX_DEPTH = 256;
const GITLINK = '160000';

/**
 * Hashes every file and folder below a tree, so that what lies in the clone is what the tree's id stands for. Resolves with
 * how many objects that were. Throws `BrokenLink`.
 */
export async function checkContent(clone: Clone, tree: string): Promise<number> {
  const seen = new Set<string>();
  const visit = async (oid: string, depth: number): Promise<void> => {
    demand(depth <= MAX_DEPTH, 'commit', `the tree ${tree} is deeper than ${MAX_DEPTH}`);
    const bytes = await clone.checked(oid, 'tree', MAX_TREE);
    demand(bytes !== null, 'commit', `the tree ${oid} is missing in this clone`);
    for (const entry of entriesOf(oid, bytes, clone.objectFormat === 'sha1' ? 20 : 32)) {
      if (entry.mode === GITLINK || seen.has(entry.oid)) continue;
      seen.add(entry.oid);
      if (entry.mode === '40000') await visit(entry.oid, depth + 1);
      else {
        const file = await clone.checked(entry.oid, 'blob', MAX_FILE);
        demand(file !== null, 'commit', `the file object ${entry.oid} is missing in this clone, or too large`);
      }
    }
  };
  seen.add(tree);
  await visit(tree, 0);
  return seen.size;
}

function* entriesOf(tree: string, bytes: Buffer, idBytes: number): Generator<{ mode: string; oid: string }> {
  for (let at = 0; at < bytes.length; ) {
    const blank = bytes.indexOf(0x20, at);
    const end = bytes.indexOf(0, blank);
    if (blank < 0 || end < 0 || end + 1 + idBytes > bytes.length)
      throw new BrokenLink('commit', `the tree ${tree} cannot be read`);
    yield { mode: bytes.toString('latin1', at, blank), oid: bytes.toString('hex', end + 1, end + 1 + idBytes) };
    at = end + 1 + idBytes;
  }
}
