import { readFile } from 'node:fs/promises';
import { DocumentError, type Problem, StorageError } from '../base/errors.ts';
import type { Settings } from './schema.ts';

const defaultSettings: Settings = { version: 1, run: {} };

/**
 * The user's settings; the defaults when there is no such file. Throws `DocumentError` naming line and column for a file
 * that is wrong in any way: a setting that was meant to limit something must not be passed over.
 */
export async function loadSettings(path: string): Promise<Settings> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT' || (cause as NodeJS.ErrnoException).code === 'ENOTDIR') {
      return defaultSettings;
    }
    throw new StorageError(`${path} could not be read: ${(cause as Error).message}`, { cause });
  }
  return parseSettings(path, text);
}

export async function parseSettings(path: string, text: string): Promise<Settings> {
  const [{ LineCounter, parseDocument, isNode }, { settingsSchema }] = await Promise.all([
    import('yaml'),
    import('./schema.ts'),
  ]);
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, uniqueKeys: true, strict: true });
  const at = (offset: number, message: string): Problem => {
    const { line, col } = lineCounter.linePos(offset);
    return { file: path, line: Math.max(1, line), column: Math.max(1, col), message };
  };
  if (document.errors.length > 0) {
    throw new DocumentError(
      document.errors.map((error) => at(error.pos[0], error.message.split('\n')[0] ?? error.code)),
    );
  }
  const parsed = settingsSchema.safeParse(document.toJS({ maxAliasCount: 0 }));
  if (parsed.success) return parsed.data;
  throw new DocumentError(
    parsed.error.issues.map((issue) => {
      const keys = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] as string] : issue.path;
      const node = keys.length === 0 ? document.contents : document.getIn(keys, true);
      const offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
      return at(offset, `${keys.map(String).join('.') || 'the document'}: ${issue.message}`);
    }),
    {
      remedy:
        'what there is: version, requester, run: {approvals, deliver, timeout, memory, cpus, pids, disk, record}, secrets: {sources: [{driver: vault | file | env, …}]}, network: {ca_file, proxy}, forges: [{host, token, user, auth, ca_file, plain_http, max_size}], mcp_folders: {NAME: /path}',
    },
  );
}
