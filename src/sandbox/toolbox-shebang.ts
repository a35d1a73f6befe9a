import { readSync } from 'node:fs';
import { basename } from 'node:path';

/** Interpreter and its one argument, as the kernel splits the first 256 bytes (BINPRM_BUF_SIZE); empty for no script. */
export function readShebang(fd: number): string[] {
  const buffer = Buffer.alloc(256);
  const size = readSync(fd, buffer, 0, 256, 0);
  if (size < 2 || buffer[0] !== 0x23 || buffer[1] !== 0x21) return [];
  const line = buffer.toString('utf8', 2, size).split('\n', 1)[0] ?? '';
  const match = /^[ \t]*(\S+)[ \t]*(.*?)[ \t]*$/.exec(line);
  if (match?.[1] === undefined) return [];
  return match[2] === undefined || match[2] === '' ? [match[1]] : [match[1], match[2]];
}

/** What `#!/usr/bin/env …` runs: past options and assignments. Null when that cannot be told. */
export function envCommand(argument: string | undefined): string | null {
  const words = (argument ?? '')
    .split(/\s+/)
    .filter((word) => word !== '' && !word.startsWith('-') && !word.includes('='));
  return words[0] === undefined ? null : basename(words[0]);
}
