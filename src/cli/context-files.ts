import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { UsageError } from '../base/errors.ts';
import { type ContextPart, contextParts, LONGEST_PART, tooLong } from '../runs/context-parts.ts';

/** What `--context FILE` names: text of a file, or of standard input for `-`. Throws `UsageError`. */
export async function readContext(files: readonly string[], cwd: string): Promise<readonly ContextPart[]> {
  if (files.filter((file) => file === '-').length > 1) throw new UsageError('standard input can be read once only');
  const parts: unknown[] = [];
  for (const file of files) {
    const source = file === '-' ? 'standard input' : resolve(cwd, file);
    const bytes = await bounded(file === '-' ? process.stdin : createReadStream(source)).catch(
      (cause: NodeJS.ErrnoException) => {
        if (cause.code === 'ENOENT') throw new UsageError(`--context: there is no ${source}`, { cause });
        throw new UsageError(`--context ${file}: ${cause.message}`, { cause });
      },
    );
    if (bytes === null) throw tooLong(source);
    if (!isUtf8(bytes)) throw new UsageError(`--context ${file}: it is not UTF-8 text`);
    parts.push({ kind: 'file', by: null, source, text: bytes.toString('utf8') });
  }
  return contextParts(parts);
}

/** No more than a part may have: a log, or a device, has no end. Null where there is more. */
async function bounded(stream: AsyncIterable<Buffer | string>): Promise<Buffer | null> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of stream) {
    const bytes = Buffer.from(piece);
    length += bytes.length;
    if (length > LONGEST_PART) return null;
    pieces.push(bytes);
  }
  return Buffer.concat(pieces);
}
