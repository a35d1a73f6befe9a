import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ElfFile } from './elf.ts';

/**
 * Where a dynamic loader looks for a library (ld.so(8)): the object's RPATH, its RUNPATH, `/etc/ld.so.cache`, then the
 * loader's built-in folders. The loader itself is never run to find out: `ldd` executes what it is asked about.
 *
 * The answer is every file that the name may lead to, not only the first: a guest with or without the cache, and a
 * processor with or without a hardware-specific build (glibc-hwcaps), then finds what it looks for among them.
 */
export interface LibrarySearch {
  /** Every existing candidate, as the loader would name it (links not resolved), most wanted first. */
  candidates(name: string, by: ElfFile, byPath: string, program: ElfFile, programPath: string): string[];
}

const MULTIARCH: Readonly<Record<number, string>> = { 62: 'x86_64-linux-gnu', 183: 'aarch64-linux-gnu' };
/** FLAG_ELF_LIBC6 with the architecture's own bits (glibc elf/cache.c). */
const CACHE_FLAGS: Readonly<Record<number, number>> = { 62: 0x0303, 183: 0x0a03 };

function defaultFolders(machine: number): string[] {
  const multiarch = MULTIARCH[machine];
  const native = multiarch === undefined ? [] : [`/lib/${multiarch}`, `/usr/lib/${multiarch}`];
  return [...native, '/lib64', '/usr/lib64', '/lib', '/usr/lib', '/usr/local/lib'];
}

export function librarySearch(
  machine: number,
  cacheFile = '/etc/ld.so.cache',
  folders = defaultFolders(machine),
): LibrarySearch {
  const cache = readCache(cacheFile, CACHE_FLAGS[machine] ?? -1);
  return {
    candidates(name, by, byPath, program, programPath) {
      if (name.includes('/')) return existsSync(name) ? [name] : [];
      const own = by.runpath.length > 0 ? by.runpath : by.rpath;
      const inherited = by.runpath.length > 0 ? [] : program.rpath;
      const places = [
        ...own.flatMap((folder) => expand(folder, byPath)),
        ...inherited.flatMap((folder) => expand(folder, programPath)),
      ].map((folder) => join(folder, name));
      const found = [...places, ...(cache.get(name) ?? []), ...folders.map((folder) => join(folder, name))];
      return [...new Set(found)].filter((path) => existsSync(path));
    },
  };
}

/** `$ORIGIN` is the folder of the object itself. Other tokens and relative folders depend on where one stands: left out. */
function expand(folder: string, objectPath: string): string[] {
  const path = folder.replace(/\$(ORIGIN\b|\{ORIGIN\})/g, () => dirname(objectPath));
  return path.startsWith('/') && !path.includes('$') ? [path] : [];
}

/**
 * `/etc/ld.so.cache` in the format "glibc-ld.so.cache1.1" (glibc sysdeps/generic/dl-cache.h): library name → paths.
 * Empty for another format (musl has none) or a damaged file: the built-in folders remain.
 */
export function readCache(file: string, flags: number): Map<string, string[]> {
  const names = new Map<string, string[]>();
  let data: Buffer;
  try {
    data = readFileSync(file);
  } catch {
    return names;
  }
  const HEADER = 48;
  const ENTRY = 24;
  if (data.length < HEADER || data.toString('latin1', 0, 20) !== 'glibc-ld.so.cache1.1') return names;
  const count = Math.min(data.readUInt32LE(20), Math.floor((data.length - HEADER) / ENTRY));
  for (let i = 0; i < count; i++) {
    const at = HEADER + i * ENTRY;
    if (data.readInt32LE(at) !== flags) continue;
    const name = stringAt(data, data.readUInt32LE(at + 4));
    const path = stringAt(data, data.readUInt32LE(at + 8));
    if (name === null || path === null || !path.startsWith('/')) continue;
    names.set(name, [...(names.get(name) ?? []), path]);
  }
  return names;
}

function stringAt(data: Buffer, at: number): string | null {
  const end = at < data.length ? data.indexOf(0, at) : -1;
  return end < 0 ? null : data.toString('utf8', at, end);
}
