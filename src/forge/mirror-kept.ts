/** A mirror as it lies on this machine: nothing is fetched, and nothing asked of its forge. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../base/clock.ts';
import { ConflictError } from '../base/errors.ts';
import { FileLock } from '../base/file-lock.ts';
import { type GitPlace, gitBytes, gitText } from '../base/git.ts';
import type { RemoteName } from '../policy/remotes.ts';
import type { Forge, RemoteRef } from './forge.ts';
import { mirrorId } from './mirror.ts';

export interface KeptMirror {
  readonly place: GitPlace;
  readonly objectsDir: string;
  readonly objectFormat: 'sha1' | 'sha256';
  /** As of the last fetch. */
  readonly refs: readonly RemoteRef[];
  /** Refuses whatever would go online. */
  readonly forge: Forge;
  /** The mirror may be packed anew. Idempotent. */
  release(): void;
}

/** Milliseconds that somebody may take to pack it anew. */
const PATIENCE = 3_600_000;

/** Null where this machine has none of that repository. The caller releases it. */
export async function openKeptMirror(root: string, repository: RemoteName): Promise<KeptMirror | null> {
  const dir = join(root, mirrorId(repository.name));
  if ((await stat(join(dir, 'config')).catch(() => null)) === null) return null;
  const use = new FileLock(`${dir}.use`, systemClock);
  try {
    await use.acquire(PATIENCE, 'shared');
    const place: GitPlace = { gitDir: dir };
    const [format, listed] = await Promise.all([
      gitText(place, ['rev-parse', '--show-object-format']),
      gitBytes(place, ['for-each-ref', '--format=%(objectname) %(refname)'], { maxOutput: 256 * 1024 ** 2 }),
    ]);
    const refs = listed
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => ({ oid: line.slice(0, line.indexOf(' ')), name: line.slice(line.indexOf(' ') + 1) }));
    const objectFormat = format.trim() === 'sha256' ? 'sha256' : 'sha1';
    const release = () => use.close();
    return { place, objectsDir: join(dir, 'objects'), objectFormat, refs, forge: silent(repository), release };
  } catch (error) {
    use.close();
    throw error;
  }
}

function silent(repository: RemoteName): Forge {
  const refuse = (): never => {
    throw new ConflictError(`nothing is asked of ${repository.name}: only what lies on this machine is used`);
  };
  return { repository, listRefs: refuse, fetchPack: refuse, push: refuse, close() {} };
}
