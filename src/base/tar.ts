/**
 * Writes tar archives that GNU tar and busybox read (ustar, with GNU's long names):
 *
 *   entry    header (512 bytes), then its content, filled up with zeros to 512
 *   header   name 0–99, mode 100–107, uid, gid, size 124–135, mtime 136–147, sum 148–155, type 156, link 157–256, "ustar  \0"
 *   long     an entry `././@LongLink` of type L (name) or K (link) before the one that it belongs to
 */
const BLOCK = 512;
const NAME = 100;

export interface TarEntry {
  /** As bytes: names need not be text. */
  readonly path: Buffer;
  readonly kind: 'file' | 'symlink' | 'directory';
  readonly mode: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  /** A file's bytes, a link's target. */
  readonly content: Buffer;
}

export function tarEntry({ path, kind, mode, mtime, content }: TarEntry): Buffer {
  const link = kind === 'symlink' ? content : Buffer.alloc(0);
  const body = kind === 'file' ? content : Buffer.alloc(0);
  const type = { file: '0', symlink: '2', directory: '5' }[kind];
  return Buffer.concat([
    ...(path.length > NAME ? long('L', path) : []),
    ...(link.length > NAME ? long('K', link) : []),
    header({ path, mode, size: body.length, mtime, type, link }),
    body,
    padding(body.length),
  ]);
}

/** What an archive ends with. */
export const TAR_END = Buffer.alloc(BLOCK * 2);

function long(type: 'L' | 'K', text: Buffer): Buffer[] {
  const body = Buffer.concat([text, Buffer.alloc(1)]);
  const path = Buffer.from('././@LongLink');
  return [
    header({ path, mode: 0o644, size: body.length, mtime: 0, type, link: Buffer.alloc(0) }),
    body,
    padding(body.length),
  ];
}

function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

function header(of: { path: Buffer; mode: number; size: number; mtime: number; type: string; link: Buffer }): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, width: number) =>
    block.write(
      `${Math.max(0, Math.trunc(value))
        .toString(8)
        .padStart(width - 1, '0')}\0`,
      at,
      'latin1',
    );
  of.path.copy(block, 0, 0, NAME);
  octal(of.mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(of.size, 124, 12);
  octal(Math.min(of.mtime, 0o77777777777), 136, 12);
  block.fill(' ', 148, 156);
  block.write(of.type, 156, 'latin1');
  of.link.copy(block, 157, 0, NAME);
  block.write('ustar  \0', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
