import { NO_HASH } from './hashes.ts';
import { parseJson } from './json.ts';
import { LockError, listAt, type Table, tableAt, tableOf, textAt } from './node.ts';
import type { Reading } from './reading.ts';
import { parseToml } from './toml.ts';

/** The lock files of Python's tools but for requirements. A package has one hash a file; each must be there. */

/** `poetry.lock`: [[package]] name, version, files = [{file, hash}], source = {type, url}; [metadata] lock-version, and files before 1.2. */
export function readPoetry(text: string, reading: Reading): undefined {
  const root = tableOf(parseToml(text), 'it');
  const metadata = tableAt(root, 'metadata');
  if (!/^[12]\.\d$/.test(textAt(metadata, 'lock-version') ?? ''))
    throw new LockError(null, 'its lock-version is not one of 1 and 2');
  const older = tableAt(metadata, 'files');
  for (const node of listAt(root, 'package')) {
    const entry = tableOf(node, 'a package');
    const name = textAt(entry, 'name') ?? '';
    const source = tableAt(entry, 'source');
    const [type, url] = [textAt(source, 'type'), textAt(source, 'url') ?? ''];
    if (type === 'directory') reading.local(node.line, name, url);
    else if (type === 'git') reading.problem(node.line, name, 'comes from git, not from a registry');
    else if (type === 'file') reading.problem(node.line, name, 'comes from a file, not from a registry');
    else if (type !== null && type !== 'legacy' && type !== 'url')
      reading.problem(node.line, name, 'comes from a place of an unknown kind');
    else {
      const files = entry.has('files') ? listAt(entry, 'files') : listAt(older, name);
      const hashes = files.map((file) => textAt(tableOf(file, 'a file'), 'hash') ?? NO_HASH);
      const from = type === 'legacy' ? { indexes: [url] } : type === 'url' ? { urls: [url] } : {};
      reading.add({ name, version: textAt(entry, 'version') ?? '', line: node.line, hashes, ...from });
    }
  }
}

/** `uv.lock`: [[package]] name, version, source = {registry | url | editable | virtual | directory | git | path}, sdist, wheels = [{url, hash}]. */
export function readUv(text: string, reading: Reading): undefined {
  const root = tableOf(parseToml(text), 'it');
  if (root.get('version')?.value !== 1n) throw new LockError(null, 'its version is not 1');
  for (const node of listAt(root, 'package')) {
    const entry = tableOf(node, 'a package');
    const name = textAt(entry, 'name') ?? '';
    const source = tableAt(entry, 'source');
    const local = ['editable', 'virtual', 'directory'].find((key) => source.has(key));
    const [registry, url] = [textAt(source, 'registry'), textAt(source, 'url')];
    if (local !== undefined) reading.local(node.line, name, textAt(source, local) ?? '');
    else if (source.has('git')) reading.problem(node.line, name, 'comes from git, not from a registry');
    else if (source.has('path')) reading.problem(node.line, name, 'comes from a file, not from a registry');
    else if (registry === null && url === null)
      reading.problem(node.line, name, 'comes from a place of an unknown kind');
    else {
      const files = filesOf(entry, (file) => [textAt(file, 'hash') ?? NO_HASH]);
      const version = textAt(entry, 'version') ?? '';
      const indexes = registry === null ? [] : [registry];
      const urls = [...(url === null ? [] : [url]), ...files.urls];
      reading.add({ name, version, line: node.line, indexes, urls, hashes: files.hashes });
    }
  }
}

/** `pylock.toml` (PEP 751): [[packages]] name, version, index, vcs, directory, archive, sdist, wheels = [{url | path, hashes}]. */
export function readPylock(text: string, reading: Reading): undefined {
  const root = tableOf(parseToml(text), 'it');
  if (!/^1\.\d+$/.test(textAt(root, 'lock-version') ?? '')) throw new LockError(null, 'its lock-version is not 1');
  for (const node of listAt(root, 'packages')) {
    const entry = tableOf(node, 'a package');
    const name = textAt(entry, 'name') ?? '';
    const index = textAt(entry, 'index');
    if (entry.has('directory')) reading.local(node.line, name, textAt(tableAt(entry, 'directory'), 'path') ?? '/');
    else if (entry.has('vcs')) reading.problem(node.line, name, 'comes from git, not from a registry');
    else {
      const { urls, hashes } = filesOf(entry, (file) => {
        const stated = [...tableAt(file, 'hashes').keys()].map(
          (key) => `${key}:${textAt(tableAt(file, 'hashes'), key)}`,
        );
        return stated.length === 0 ? [NO_HASH] : stated;
      });
      const indexes = index === null ? [] : [index];
      reading.add({ name, version: textAt(entry, 'version') ?? '', line: node.line, indexes, urls, hashes });
    }
  }
}

/** Of an sdist, wheels, or the archive in their place. A file without an address must have no path of this machine either. */
function filesOf(entry: Table, hashesOf: (file: Table) => readonly string[]): { urls: string[]; hashes: string[] } {
  const singles = ['sdist', 'archive'].filter((key) => entry.has(key)).map((key) => tableAt(entry, key));
  const files = [...singles, ...listAt(entry, 'wheels').map((wheel) => tableOf(wheel, 'a wheel'))];
  const urls = files.flatMap((file) => {
    const [url, path] = [textAt(file, 'url'), textAt(file, 'path')];
    return [...(url === null ? [] : [url]), ...(path === null ? [] : [`file:${path}`])];
  });
  return { urls, hashes: files.flatMap(hashesOf) };
}

/** `Pipfile.lock`: _meta: {pipfile-spec: 6, sources: [{url, verify_ssl}]}, then a table a category: {name: {version: "==1.0", hashes: […]}}. */
export function readPipfile(text: string, reading: Reading): undefined {
  const root = tableOf(parseJson(text), 'it');
  const meta = tableAt(root, '_meta');
  if (meta.get('pipfile-spec')?.value !== 6) throw new LockError(null, 'its pipfile-spec is not 6');
  for (const node of listAt(meta, 'sources')) {
    const source = tableOf(node, 'a source');
    reading.place(source.get('url')?.line ?? node.line, 'source', textAt(source, 'url') ?? '');
    if (source.has('verify_ssl') && source.get('verify_ssl')?.value !== true)
      reading.problem(source.get('verify_ssl')?.line ?? null, 'source', 'is not verified (verify_ssl)');
  }
  for (const [category, packages] of root) {
    if (category === '_meta') continue;
    for (const [name, node] of tableOf(packages, category)) {
      const entry = tableOf(node, 'a package');
      const [path, file, version] = [textAt(entry, 'path'), textAt(entry, 'file'), textAt(entry, 'version')];
      if (['git', 'hg', 'svn', 'bzr'].some((key) => entry.has(key)))
        reading.problem(node.line, name, 'comes from git, not from a registry');
      else if (path !== null) reading.local(node.line, name, path);
      else {
        const hashes = listAt(entry, 'hashes').map(({ value }) => String(value));
        const pinned = /^===?([^*]+)$/.exec(version ?? '')?.[1] ?? '';
        reading.add({ name, version: pinned, line: node.line, urls: file === null ? [] : [file], hashes });
      }
    }
  }
}
