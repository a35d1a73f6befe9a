import { elfMachine } from './elf.ts';

export interface FakeElf {
  readonly machine?: number;
  readonly interpreter?: string;
  readonly needed?: readonly string[];
  readonly rpath?: string;
  readonly runpath?: string;
}

/** A file with just enough of ELF for a reader of its headers: one loadable segment that is the whole file. */
export function fakeElf(what: FakeElf): Buffer {
  const BASE = 0x10000;
  const DYNAMIC = 64 + 3 * 56;
  const tags = [
    ...(what.needed ?? []).map(() => 1),
    ...(what.rpath === undefined ? [] : [15]),
    ...(what.runpath === undefined ? [] : [29]),
  ];
  const texts = [...(what.needed ?? []), what.rpath, what.runpath].filter((text) => text !== undefined);
  const strings = Buffer.from(`\0${[...texts, what.interpreter ?? ''].map((text) => `${text}\0`).join('')}`);
  const dynamicSize = (tags.length + 3) * 16;
  const at = DYNAMIC + dynamicSize;
  const file = Buffer.concat([Buffer.alloc(at), strings]);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(3, 16);
  file.writeUInt16LE(what.machine ?? elfMachine[process.arch] ?? 62, 18);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(what.interpreter === undefined ? 2 : 3, 56);
  const segment = (i: number, type: number, offset: number, size: number) => {
    file.writeUInt32LE(type, 64 + i * 56);
    file.writeBigUInt64LE(BigInt(offset), 64 + i * 56 + 8);
    file.writeBigUInt64LE(BigInt(BASE + offset), 64 + i * 56 + 16);
    file.writeBigUInt64LE(BigInt(size), 64 + i * 56 + 32);
  };
  segment(0, 1, 0, file.length);
  segment(1, 2, DYNAMIC, dynamicSize);
  let offset = 1;
  const entry = (i: number, tag: number, value: number) => {
    file.writeBigInt64LE(BigInt(tag), DYNAMIC + i * 16);
    file.writeBigUInt64LE(BigInt(value), DYNAMIC + i * 16 + 8);
  };
  tags.forEach((tag, i) => {
    entry(i, tag, offset);
    offset += Buffer.byteLength(texts[i] as string) + 1;
  });
  entry(tags.length, 5, BASE + at);
  entry(tags.length + 1, 10, strings.length);
  if (what.interpreter !== undefined) segment(2, 3, at + offset, what.interpreter.length + 1);
  return file;
}
