/** Text that a run's task is accompanied by, from others than the requester: as programs hand it over. */
import * as z from 'zod';
import { UsageError } from '../base/errors.ts';

/** Bytes of one part, and of all together. */
export const LONGEST_PART = 256 * 1024;
const LONGEST = 1024 * 1024;
const MOST_PARTS = 64;

const name = z.string().min(1).max(2_048);
const part = z.strictObject({
  kind: z.enum(['person', 'issue', 'comment', 'file']),
  /** Who wrote it, where that is known. */
  by: name.nullable(),
  /** Where it came from: an address, a path. */
  source: name.nullable(),
  text: z.string().refine((text) => !text.includes('\0'), 'must not contain a NUL character'),
});
const schema = z.array(part).max(MOST_PARTS);

export type ContextPart = Readonly<z.output<typeof part>>;

const SHORTER = { remedy: 'give what the task needs of it; the agent reads files of the repository by itself' };

/** Of a part that was not read to its end. */
export function tooLong(source: string): UsageError {
  return new UsageError(`the task's context: ${source} has more than ${LONGEST_PART} bytes`, SHORTER);
}

/** Strict and bounded. Throws `UsageError`, which names the part. */
export function contextParts(value: unknown): readonly ContextPart[] {
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0] ?? { path: [], message: 'it cannot be read' };
    throw new UsageError(`the task's context: ${[...path, message].join(': ')}`);
  }
  let all = 0;
  for (const { kind, source, text } of parsed.data) {
    const bytes = Buffer.byteLength(text);
    all += bytes;
    if (bytes > LONGEST_PART || all > LONGEST) {
      const what = bytes > LONGEST_PART ? `has ${bytes} bytes` : `makes it ${all} bytes together`;
      const most = bytes > LONGEST_PART ? LONGEST_PART : LONGEST;
      throw new UsageError(`the task's context: ${source ?? kind} ${what}, more than ${most}`, SHORTER);
    }
  }
  return parsed.data;
}
