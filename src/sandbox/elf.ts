import { readSync } from 'node:fs';

/** What a dynamic loader would read of a 64-bit little-endian ELF file (System V ABI, gABI chapters 4 and 5). */
export interface ElfFile {
  /** EM_X86_64 62, EM_AARCH64 183. */
  readonly machine: number;
  /** PT_INTERP: the loader. Null for static programs and most libraries. */
  readonly interpreter: string | null;
  /** DT_NEEDED, in order. */
  readonly needed: readonly string[];
  /** DT_RPATH and DT_RUNPATH, split at colons, `$ORIGIN` not yet replaced. */
  readonly rpath: readonly string[];
  readonly runpath: readonly string[];
}

/** A file that starts like ELF but is not one a loader would take. */
export class ElfError extends Error {
  override readonly name = 'ElfError';
}

export const elfMachine: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };

const MAX_HEADERS = 512;
const MAX_DYNAMIC = 1024 * 1024;
const MAX_STRINGS = 16 * 1024 * 1024;
const PT = { load: 1, dynamic: 2, interp: 3 } as const;
const DT = { null: 0, needed: 1, strtab: 5, strsz: 10, rpath: 15, runpath: 29 } as const;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

/** Reads from a descriptor; null when the file is not ELF at all. Throws {@link ElfError} for a damaged or foreign one. */
export function readElf(fd: number): ElfFile | null {
  const head = Buffer.alloc(64);
  const size = readSync(fd, head, 0, 64, 0);
  if (size < 4 || head.readUInt32BE(0) !== 0x7f454c46) return null;
  if (size < 64) throw new ElfError('ends within its ELF header');
  if (head[4] !== 2 || head[5] !== 1) throw new ElfError('is not 64-bit little-endian');
  const type = head.readUInt16LE(16);
  if (type !== 2 && type !== 3) throw new ElfError(`has ELF type ${type}: neither a program nor a shared object`);
  const segments = readSegments(fd, head);
  const interp = segments.find((s) => s.type === PT.interp);
  return {
    machine: head.readUInt16LE(18),
    interpreter: interp === undefined ? null : cString(readExactly(fd, interp.offset, Math.min(interp.size, 4096)), 0),
    ...readDynamic(fd, segments),
  };
}

function readSegments(fd: number, head: Buffer): Segment[] {
  const [offset, entry, count] = [safe(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)];
  if (count > 0 && entry !== 56) throw new ElfError(`has program headers of ${entry} bytes instead of 56`);
  if (count > MAX_HEADERS) throw new ElfError(`has ${count} program headers`);
  const table = readExactly(fd, offset, count * 56);
  return Array.from({ length: count }, (_, i) => ({
    type: table.readUInt32LE(i * 56),
    offset: safe(table.readBigUInt64LE(i * 56 + 8)),
    address: safe(table.readBigUInt64LE(i * 56 + 16)),
    size: safe(table.readBigUInt64LE(i * 56 + 32)),
  }));
}

function readDynamic(fd: number, segments: readonly Segment[]): Pick<ElfFile, 'needed' | 'rpath' | 'runpath'> {
  const dynamic = segments.find((s) => s.type === PT.dynamic);
  if (dynamic === undefined) return { needed: [], rpath: [], runpath: [] };
  if (dynamic.size > MAX_DYNAMIC) throw new ElfError(`has a dynamic section of ${dynamic.size} bytes`);
  const table = readExactly(fd, dynamic.offset, dynamic.size);
  const entries: { tag: bigint; value: bigint }[] = [];
  for (let at = 0; at + 16 <= table.length; at += 16) {
    const tag = table.readBigInt64LE(at);
    if (tag === BigInt(DT.null)) break;
    entries.push({ tag, value: table.readBigUInt64LE(at + 8) });
  }
  const values = (wanted: number) => entries.filter((e) => e.tag === BigInt(wanted)).map((e) => safe(e.value));
  const names = [DT.needed, DT.rpath, DT.runpath].map(values);
  if (names.every((list) => list.length === 0)) return { needed: [], rpath: [], runpath: [] };
  const strings = readStrings(fd, segments, values(DT.strtab)[0], values(DT.strsz)[0]);
  const [needed = [], rpath = [], runpath = []] = names.map((list) => list.map((at) => cString(strings, at)));
  const split = (list: string[]) => list.flatMap((text) => text.split(':')).filter((text) => text !== '');
  return { needed, rpath: split(rpath), runpath: split(runpath) };
}

/** DT_STRTAB is an address in memory; the loadable segment that holds it tells where it lies in the file. */
function readStrings(
  fd: number,
  segments: readonly Segment[],
  address: number | undefined,
  size: number | undefined,
): Buffer {
  if (address === undefined || size === undefined) throw new ElfError('names libraries without a string table');
  if (size > MAX_STRINGS) throw new ElfError(`has a string table of ${size} bytes`);
  const home = segments.find((s) => s.type === PT.load && address >= s.address && address + size <= s.address + s.size);
  if (home === undefined) throw new ElfError('has its string table outside of what is loaded');
  return readExactly(fd, home.offset + (address - home.address), size);
}

function readExactly(fd: number, offset: number, size: number): Buffer {
  const buffer = Buffer.alloc(size);
  if (readSync(fd, buffer, 0, size, offset) !== size) throw new ElfError('ends before what its headers promise');
  return buffer;
}

function cString(table: Buffer, at: number): string {
  const end = at < table.length ? table.indexOf(0, at) : -1;
  if (end < 0) throw new ElfError('has a string without an end');
  return table.toString('utf8', at, end);
}

function safe(value: bigint): number {
  if (value > 0xffff_ffff_ffffn) throw new ElfError(`has the offset ${value}`);
  return Number(value);
}
