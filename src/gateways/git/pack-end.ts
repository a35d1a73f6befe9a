import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Whether the bytes that came in ended where their pack does. `git index-pack` takes what it needs and does not say what
 * followed; it keeps the pack as it came, and writes the bases of a thin one behind the last object, in place of the
 * checksum. So with nothing added the file has the size of what came, else the first base begins where the checksum was:
 *
 *     pack  = "PACK" version count *object checksum                       (gitformat-pack(5))
 *     index = "\377tOc" version fanout[256] *oid *crc32 *offset32 *offset64 …
 */
export async function endsWithPack(
  objects: string,
  objectFormat: 'sha1' | 'sha256',
  came: { readonly bytes: number; readonly objects: number },
): Promise<boolean> {
  const folder = join(objects, 'pack');
  const name = (await readdir(folder)).find((file) => file.endsWith('.pack'));
  if (name === undefined) return false;
  const pack = join(folder, name);
  const { count, size } = await readHead(pack);
  if (count === came.objects) return size === came.bytes;
  const checksum = objectFormat === 'sha1' ? 20 : 32;
  const offsets = readOffsets(await readFile(pack.replace(/\.pack$/, '.idx')), checksum);
  const added = came.bytes - checksum;
  return offsets.includes(added) && offsets.filter((offset) => offset < added).length === came.objects;
}

async function readHead(pack: string): Promise<{ count: number; size: number }> {
  const file = await open(pack);
  try {
    const { buffer } = await file.read(Buffer.alloc(12), 0, 12, 0);
    return { count: buffer.readUInt32BE(8), size: (await file.stat()).size };
  } finally {
    await file.close();
  }
}

/** Those beyond 2 GiB are in the second table and come out too large, as they are: a pack that came in is far smaller. */
function readOffsets(index: Buffer, oidBytes: number): number[] {
  const count = index.readUInt32BE(8 + 255 * 4);
  const at = 8 + 256 * 4 + count * (oidBytes + 4);
  return Array.from({ length: count }, (_, i) => index.readUInt32BE(at + i * 4));
}
