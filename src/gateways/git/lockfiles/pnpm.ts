import { LockError, type Node, type Table, tableAt, tableOf, textAt } from './node.ts';
import type { Reading } from './reading.ts';
import { parseYaml } from './yaml.ts';

/**
 * `pnpm-lock.yaml`, one document or more (pnpm's own parts have one of their own):
 *
 *   lockfileVersion  5 … 5.4    packages: {/name/1.2.3_peers: {resolution: {integrity, tarball, registry}, name, version}}
 *                    6.0, 6.1   packages: {/name@1.2.3(peers): …}
 *                    9.0        packages: {name@1.2.3: …}, snapshots: {name@1.2.3(peers): …}
 *   resolution.type  git, directory; absent for what registries and tarballs have
 */
export function readPnpm(text: string, reading: Reading): undefined {
  for (const document of parseYaml(text)) {
    const root = tableOf(document, 'it');
    const version = root.get('lockfileVersion');
    const format = /^(?:(5)(?:\.[0-4])?|(6)\.[01]|(9)\.0)$/.exec(String(version?.value ?? ''));
    if (format === null) throw new LockError(version?.line ?? null, 'its lockfileVersion is not one of 5 to 9');
    const packages = tableAt(root, 'packages');
    for (const [key, node] of packages) readPackage(key, node, Number(format[1] ?? format[2] ?? format[3]), reading);
    for (const [key, { line }] of tableAt(root, 'snapshots'))
      if (!packages.has(key.replace(/\(.*$/s, '')))
        reading.problem(line, key.slice(0, 100), 'has no entry in packages');
  }
}

function readPackage(key: string, node: Node, format: number, reading: Reading): undefined {
  const { line } = node;
  const entry = tableOf(node, 'an entry');
  const resolution = tableAt(entry, 'resolution');
  const type = textAt(resolution, 'type');
  const named = nameOf(key, format);
  const name = textAt(entry, 'name') ?? named.name;
  const label = name === '' ? key.slice(0, 100) : name;
  if (type === 'directory') return reading.local(line, label, textAt(resolution, 'directory') ?? '/');
  if (type === 'git' || resolution.has('repo'))
    return reading.problem(line, label, 'comes from git, not from a registry');
  if (type !== null) return reading.problem(line, label, 'comes from a place of an unknown kind');
  const [tarball, registry, integrity] = [
    textAt(resolution, 'tarball'),
    textAt(resolution, 'registry'),
    textAt(resolution, 'integrity'),
  ];
  reading.add({
    name,
    version: versionOf(entry, named.version),
    line,
    urls: [...(tarball === null ? [] : [tarball]), ...named.addresses],
    indexes: [...(registry === null ? [] : [registry]), ...named.registry],
    hashes: integrity === null ? [] : [integrity],
  });
}

function versionOf(entry: Table, fromKey: string): string {
  return textAt(entry, 'version') ?? fromKey;
}

interface Named {
  readonly name: string;
  readonly version: string;
  /** In place of a version. */
  readonly addresses: readonly string[];
  readonly registry: readonly string[];
}

function nameOf(key: string, format: number): Named {
  const bare = key.replace(/\(.*$/s, '');
  const path = bare.startsWith('/') ? bare.slice(1) : bare;
  // A key of the older formats that does not begin with / begins with the registry's host.
  const foreign = format < 9 && !bare.startsWith('/') && !/^(?:file|link):/.test(bare);
  const host = foreign ? path.replace(/^@/, '').split('/')[0] : undefined;
  const rest = host === undefined ? path : path.replace(/^@?[^/]*\//, '');
  const registry = host === undefined ? [] : [`https://${host}/`];
  const match = (format === 5 ? /^((?:@[^/]+\/)?[^/]+)\/([^/_]+)(?:_.*)?$/ : /^(@?[^@]+)@(.+)$/).exec(rest);
  const version = match?.[2] ?? '';
  const addresses = /^[a-z][a-z0-9+.-]*:/i.test(version) ? [version] : [];
  return { name: match?.[1] ?? '', version: addresses.length > 0 ? '' : version, addresses, registry };
}
