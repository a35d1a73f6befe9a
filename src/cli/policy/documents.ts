import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { NotFoundError, StorageError, UsageError } from '../../base/errors.ts';
import { safeText } from '../../base/term.ts';
import { resolvePaths } from '../../config/paths.ts';
import type { PolicyAction, PolicyInput, Source } from '../../policy/index.ts';
import type { Context } from '../context.ts';

/** Which documents a `policy` verb looks at: the files as they are on disk now, for whoever is editing them. */
export interface DocumentOptions {
  readonly policy?: string | undefined;
  readonly organisation?: string | undefined;
}

/** More is not read: the schema takes 256 KiB and says so; this only bounds memory. */
const MAX_BYTES = 1024 * 1024;

export async function readDocuments(context: Context, options: DocumentOptions): Promise<PolicyInput> {
  const organisation = await readOptional(context, options.organisation, resolvePaths(context.env).organisationPolicy);
  const usual = '.cordon/policy.yaml';
  const repository = await readOptional(context, options.policy, join(topOf(context.cwd), usual), usual);
  return {
    ...(organisation === undefined ? {} : { organisation }),
    ...(repository === undefined ? {} : { repository }),
  };
}

/** The top of the repository that `dir` is in, as `cordon run` takes it, or `dir` itself. */
function topOf(dir: string): string {
  for (let at = dir; ; at = dirname(at)) {
    if (existsSync(join(at, '.git'))) return at;
    if (dirname(at) === at) return dir;
  }
}

/** A file that was named must be there; the usual one need not. */
async function readOptional(
  context: Context,
  named: string | undefined,
  usual: string,
  shownAs = usual,
): Promise<Source | undefined> {
  if (named !== undefined) return { file: named, text: await readText(resolve(context.cwd, named), named) };
  try {
    return { file: shownAs, text: await readText(usual, shownAs) };
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}

export async function readSource(context: Context, file: string): Promise<Source> {
  return { file, text: await readText(resolve(context.cwd, file), file) };
}

async function readText(path: string, shownAs: string): Promise<string> {
  try {
    const handle = await open(path, 'r');
    try {
      if (!(await handle.stat()).isFile()) throw new UsageError(`${safeText(shownAs)} is not a file`);
      const buffer = Buffer.alloc(MAX_BYTES + 1);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
      if (bytesRead > MAX_BYTES) throw new UsageError(`${safeText(shownAs)} is larger than ${MAX_BYTES} bytes`);
      return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, bytesRead));
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    if (cause instanceof TypeError) throw new UsageError(`${safeText(shownAs)} is not UTF-8 text`, { cause });
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new NotFoundError(`there is no ${safeText(shownAs)}`, { cause, remedy: '`cordon init` writes one' });
    }
    throw new StorageError(`${safeText(shownAs)} could not be read: ${(cause as Error).message}`, { cause });
  }
}

/** Actions as JSON lines, `{"action": "net.connect", "host": "a.example:443"}`: as tests write them, and as decisions record them. */
export async function readActions(context: Context, file: string): Promise<readonly PolicyAction[]> {
  const { readAction } = await import('../../policy/action-input.ts');
  const { strictJsonParse } = await import('../../base/strict-json.ts');
  const lines = (await readText(resolve(context.cwd, file), file)).split('\n');
  return lines.flatMap((line, i) => {
    if (line.trim() === '') return [];
    const fail = (message: string) =>
      new UsageError(`${safeText(file)}:${i + 1}: ${message}`, {
        remedy: 'one action a line: {"action": "net.connect", "host": "a.example:443"}',
      });
    let value: unknown;
    try {
      value = strictJsonParse(line);
    } catch {
      throw fail('not a JSON object');
    }
    if (value === null || typeof value !== 'object' || Array.isArray(value)) throw fail('not a JSON object');
    const { action: name, ...fields } = value as Record<string, unknown>;
    const action = readAction(name, fields);
    if (!action.ok) throw fail(action.message);
    return [action.value];
  });
}
