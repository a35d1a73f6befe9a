import { LockError, type Node, tableAt, tableOf, textAt } from './node.ts';
import { readOrigin } from './origins.ts';
import type { Reading } from './reading.ts';
import { parseYaml } from './yaml.ts';

/**
 * `yarn.lock` of yarn 2 and later:
 *
 *   __metadata: {version: 4 … 10, cacheKey: 10c0}
 *   "name@npm:^1.0.0": {version, resolution: "name@npm:1.2.3", checksum: 10c0/<sha512>, languageName, linkType: hard}
 *
 * The checksum is of the archive that yarn makes of the registry's file.
 */
export function readYarnBerry(text: string, reading: Reading): undefined {
  const documents = parseYaml(text);
  const [document] = documents;
  if (document === undefined || documents.length > 1) throw new LockError(null, 'it is not one document');
  const root = tableOf(document, 'it');
  const version = tableAt(root, '__metadata').get('version');
  if (!/^(?:[4-9]|10)$/.test(String(version?.value ?? '')))
    throw new LockError(version?.line ?? null, 'its version is not one of 4 to 10');
  for (const [key, node] of root) if (key !== '__metadata') readEntry(key, node, reading);
}

function readEntry(key: string, node: Node, reading: Reading): undefined {
  const { line } = node;
  const entry = tableOf(node, 'an entry');
  const resolution = textAt(entry, 'resolution') ?? '';
  const [, name = '', from = ''] = /^(@?[^@]+)@(.+)$/s.exec(resolution) ?? [];
  if (name === '') return reading.problem(line, key.slice(0, 100), 'has no resolution that can be read');
  const checksum = /^(?:[0-9a-z]{1,8}\/)?([0-9a-f]{128})$/.exec(textAt(entry, 'checksum') ?? '')?.[1];
  const hashes = checksum === undefined ? [] : [`sha512:${checksum}`];
  const local = /^(?:workspace|link|portal):([^#]*?)(?:::.*)?$/.exec(from);
  if (local !== null) {
    if (textAt(entry, 'linkType') === 'soft' || from.startsWith('portal:')) reading.local(line, name, local[1] ?? '');
    else reading.problem(line, name, 'is a folder of the project that is not linked');
    return;
  }
  const add = (version: string, urls: readonly string[]) =>
    reading.add({ name, version, line, urls, hashes, kind: 'archive' });
  const npm = /^npm:([^:#]+)(?:::__archiveUrl=([^&]+))?$/.exec(from);
  if (npm !== null) return add(npm[1] ?? '', npm[2] === undefined ? [] : [decoded(npm[2])]);
  // The package under a patch has an entry of its own.
  const patch = /^patch:(@?[^@]+)@(?:npm%3A|npm:)([^#]+)#/i.exec(from);
  if (patch !== null && decoded(patch[1] ?? '') === name) return add(textAt(entry, 'version') ?? '', []);
  if (/^https:/i.test(from) && !/[#&](?:commit|workspace|head|tag)=/.test(from))
    return add(textAt(entry, 'version') ?? '', [from]);
  const origin = readOrigin(from);
  const isGit = /[#&](?:commit|workspace|head|tag)=/.test(from);
  reading.problem(
    line,
    name,
    isGit
      ? 'comes from git, not from a registry'
      : 'problem' in origin
        ? origin.problem
        : 'comes from an unknown place',
  );
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
