import { LockError } from './node.ts';
import type { Reading } from './reading.ts';
import { readYarnBerry } from './yarn-berry.ts';
import { readYarnClassic } from './yarn-classic.ts';

/** `yarn.lock`, of yarn 1 or of a later one; a file that both would read is neither's. */
export function readYarn(text: string, reading: Reading): undefined {
  const berry = /^["']?__metadata["']?:/m.test(text);
  const classic = /^# yarn lockfile v1$/m.test(text);
  if (berry && !classic) readYarnBerry(text, reading);
  else if (classic && !berry) readYarnClassic(text, reading);
  else throw new LockError(1, 'it is of no known version of yarn');
}
