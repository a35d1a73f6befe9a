/** Settings that people write as YAML: what is wrong with them is said with file, line and column. */
import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { DocumentError, type Problem, StorageError } from './errors.ts';

/** The text of a file; null when there is none. Throws `StorageError` when it cannot be read. */
export async function settingsText(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new StorageError(`${file} could not be read: ${message}`, { cause });
  }
}

/**
 * Throws `DocumentError` with all that is wrong: a setting that was meant to limit something must not be passed over. YAML's
 * aliases are refused: a few lines of them unfold to gigabytes. `remedy` says which settings there are.
 */
export async function parseSettingsText<Schema extends z.ZodType>(
  file: string,
  text: string,
  schema: Schema,
  remedy: string,
): Promise<z.output<Schema>> {
  const { LineCounter, parseDocument, isNode, visit } = await import('yaml');
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, uniqueKeys: true, strict: true });
  const at = (offset: number, message: string): Problem => {
    const { line, col } = lineCounter.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col), message };
  };
  if (document.errors.length > 0)
    throw new DocumentError(
      document.errors.map((error) => at(error.pos[0], error.message.split('\n')[0] ?? error.code)),
    );
  let aliasAt: number | null = null;
  visit(document, {
    Alias(_, node) {
      aliasAt ??= node.range?.[0] ?? 0;
    },
  });
  if (aliasAt !== null) throw new DocumentError([at(aliasAt, 'aliases of YAML are not taken here: write it out')]);
  const parsed = schema.safeParse(document.toJS());
  if (parsed.success) return parsed.data;
  throw new DocumentError(
    parsed.error.issues.map((issue) => {
      const keys = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] as string] : issue.path;
      const node = keys.length === 0 ? document.contents : document.getIn(keys, true);
      const offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
      return at(offset, `${keys.map(String).join('.') || 'the document'}: ${issue.message}`);
    }),
    { remedy },
  );
}
