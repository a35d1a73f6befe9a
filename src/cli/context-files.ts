import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { UsageError } from '../base/errors.ts';
import { type ContextPart, contextParts } from '../runs/context-parts.ts';

/** What `--context FILE` names: text of a file, or of standard input for `-`. Throws `UsageError`. */
export async function readContext(files: readonly string[], cwd: string): Promise<readonly ContextPart[]> {
  if (files.filter((file) => file === '-').length > 1) throw new UsageError('standard input can be read once only');
  const parts: unknown[] = [];
  for (const file of files) {
    const bytes = await (file === '-' ? standardInput() : readFile(resolve(cwd, file))).catch((cause: Error) => {
      throw new UsageError(`--context ${file}: ${cause.message}`, { cause });
    });
    if (!isUtf8(bytes)) throw new UsageError(`--context ${file}: it is not UTF-8 text`);
    const source = file === '-' ? 'standard input' : resolve(cwd, file);
    parts.push({ kind: 'file', by: null, source, text: bytes.toString('utf8') });
  }
  return contextParts(parts);
}

async function standardInput(): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}
