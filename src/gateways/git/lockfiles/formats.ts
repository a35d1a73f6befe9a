import type { Ecosystem } from '../../../policy/index.ts';
import { LockError } from './node.ts';
import { readNpm } from './npm.ts';
import { readPnpm } from './pnpm.ts';
import { readPipfile, readPoetry, readPylock, readUv } from './python.ts';
import { Reading } from './reading.ts';
import { isRequirements, readRequirements } from './requirements.ts';
import { readNpmrc, readPipConf, readPnpmWorkspace, readTomlSettings, readYarnrc, readYarnrcYml } from './settings.ts';
import { readYarn } from './yarn.ts';

export interface Format {
  readonly ecosystem: Ecosystem;
  /** `settings` name no packages; a `list` need not lock, so that it may be deleted. */
  readonly kind: 'lock' | 'list' | 'settings';
  /** Bytes. */
  readonly most: number;
  /** How much longer a byte of it takes to read than one of JSON. */
  readonly weight: number;
  readonly read: (text: string, reading: Reading) => undefined;
}

const MiB = 1024 * 1024;
const lock = (ecosystem: Ecosystem, read: Format['read'], slow = false): Format => ({
  ecosystem,
  kind: 'lock',
  // The readers of YAML and TOML take a second for a megabyte.
  ...(slow ? { most: 6 * MiB, weight: 8 } : { most: 64 * MiB, weight: 1 }),
  read,
});
const settings = (ecosystem: Ecosystem, read: Format['read']): Format => ({
  ecosystem,
  kind: 'settings',
  most: MiB,
  weight: 8,
  read,
});
const requirements: Format = { ecosystem: 'pypi', kind: 'list', most: 16 * MiB, weight: 1, read: readRequirements };

const formats: ReadonlyMap<string, Format> = new Map([
  ['package-lock.json', lock('npm', readNpm)],
  ['npm-shrinkwrap.json', lock('npm', readNpm)],
  ['pnpm-lock.yaml', lock('npm', readPnpm, true)],
  ['yarn.lock', lock('npm', readYarn, true)],
  ['poetry.lock', lock('pypi', readPoetry, true)],
  ['uv.lock', lock('pypi', readUv, true)],
  ['pipfile.lock', lock('pypi', readPipfile)],
  ['pylock.toml', lock('pypi', readPylock, true)],
  ['.npmrc', settings('npm', readNpmrc)],
  ['.yarnrc', settings('npm', readYarnrc)],
  ['.yarnrc.yml', settings('npm', readYarnrcYml)],
  ['pnpm-workspace.yaml', settings('npm', readPnpmWorkspace)],
  ['pip.conf', settings('pypi', readPipConf)],
  ['pip.ini', settings('pypi', readPipConf)],
  ['.pypirc', settings('pypi', readPipConf)],
  ['pyproject.toml', settings('pypi', readTomlSettings)],
  ['uv.toml', settings('pypi', readTomlSettings)],
  ['pipfile', settings('pypi', readTomlSettings)],
]);

/** By the name alone, letter case aside: other systems take the one for the other. Null: nothing to do with packages. */
export function formatOf(path: string): Format | null {
  const name = (path.split('/').at(-1) ?? '').normalize('NFKC').toLowerCase();
  const known = formats.get(name);
  if (known !== undefined) return known;
  if (/^pylock\.[^.]+\.toml$/.test(name)) return formats.get('pylock.toml') ?? null;
  return isRequirements(name) ? requirements : null;
}

/** Never throws for what the bytes are: what cannot be read is a problem. */
export function readFormat(format: Format, path: string, bytes: Buffer): Reading {
  const reading = new Reading(format.ecosystem, path);
  try {
    format.read(decode(bytes), reading);
  } catch (error) {
    // A reader of another house that falls over a tower of brackets has not read the file.
    if (!(error instanceof LockError) && !(error instanceof RangeError)) throw error;
    reading.problem(
      error instanceof LockError ? error.line : null,
      null,
      `cannot be read: ${error instanceof LockError ? error.message : 'it is too deep'}`,
    );
  }
  return reading;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Without the mark that some editors put first, with one kind of line ends. */
function decode(bytes: Buffer): string {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new LockError(null, 'it is no UTF-8');
  }
  text = text.replaceAll('\r\n', '\n');
  const at = /\r|\0|\ufeff/.exec(text)?.index;
  if (at === undefined) return text;
  throw new LockError(text.slice(0, at).split('\n').length, 'it has a character that editors do not show');
}
