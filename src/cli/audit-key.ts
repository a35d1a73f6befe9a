import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { VKEY_FILE } from '../audit/keys.ts';
import { UsageError } from '../base/errors.ts';
import { safeText } from '../base/term.ts';
import type { Paths } from '../config/paths.ts';

/** The log's public key: as it was named (the line itself or a file with it), or this installation's. */
export async function readPublicKey(named: string | undefined, cwd: string, paths: Paths): Promise<string> {
  // `name+hash+key`: the form of a verifier key in C2SP signed-note; no path is taken for one by accident.
  if (named !== undefined && /^[^\s+]+\+[0-9a-f]{8}\+\S+$/.test(named.trim())) return named.trim();
  const file = named === undefined ? join(paths.keys, VKEY_FILE) : resolve(cwd, named);
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new UsageError(`the public key ${safeText(file)} cannot be read`, {
      cause,
      remedy:
        named === undefined
          ? 'it is made with the first run: cordon run -- CMD…'
          : 'give the line, or the file, that the log’s owner handed to you (keys/audit.vkey)',
    });
  }
}
