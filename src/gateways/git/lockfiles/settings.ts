import { listAt, type Node, type Table, tableAt, tableOf, textAt } from './node.ts';
import type { Reading } from './reading.ts';
import { parseToml } from './toml.ts';
import { parseYaml } from './yaml.ts';

/** Files that tell package managers where registries are: read for addresses alone. */

/** `key = value` lines of npm and pnpm (`registry`, `@scope:registry`). Sections and array marks do not hide a key. */
export function readNpmrc(text: string, reading: Reading): undefined {
  text.split(/[\r\n]+/).forEach((raw, i) => {
    const line = raw.trim();
    if (line === '' || /^[;#[]/.test(line)) return;
    const [, rawKey = '', value = ''] = /^([^=]*)=?(.*)$/s.exec(line) ?? [];
    const key = plain(rawKey).replace(/\[\]$/, '');
    // A variable or an escape in a key may make it any key.
    if (/\$\{|\\/.test(key)) reading.problem(i + 1, null, 'has a key that is not known before it is used');
    else if (/(?:^|:)registry$/i.test(key)) address(reading, i + 1, key, plain(value));
  });
}

function plain(text: string): string {
  const trimmed = text.trim();
  return /^"[^"]*"$|^'[^']*'$/.test(trimmed) ? trimmed.slice(1, -1).trim() : trimmed;
}

function address(reading: Reading, line: number | null, key: string, value: string): undefined {
  if (/\$\{?\w|[;#\\]/.test(value)) reading.problem(line, key, 'has an address that is not known before it is used');
  else reading.place(line, key, value);
}

/** `.yarnrc` of yarn 1: `registry "https://…"`, `"@scope:registry" "https://…"`, `--install.registry …`. */
export function readYarnrc(text: string, reading: Reading): undefined {
  text.split('\n').forEach((raw, i) => {
    const match = /^\s*(?:--)?"?([\w.@/-]*:?registry)"?[\s:=]+(.*)$/i.exec(raw);
    if (match !== null) address(reading, i + 1, match[1] ?? '', plain(match[2] ?? ''));
  });
}

/** INI of pip (`index-url`, `extra-index-url`, `find-links`, in any section) and of twine (`repository`). Values may go on in indented lines. */
export function readPipConf(text: string, reading: Reading): undefined {
  let key = '';
  text.split(/\r?\n|\r/).forEach((raw, i) => {
    if (/^\s*(?:[;#]|$)/.test(raw)) return;
    const continued = /^\s/.test(raw) && key !== '';
    const match = continued ? null : /^\s*([^=:\s]+)\s*[=:]\s*(.*)$/.exec(raw);
    if (!continued) key = (match?.[1] ?? '').toLowerCase().replaceAll('_', '-');
    if (!/^(?:(?:extra-)?index-url|find-links|repository|index)$/.test(key)) return;
    const values = (continued ? raw : (match?.[2] ?? '')).trim().split(/\s+/);
    for (const value of values.filter((each) => each !== '')) address(reading, i + 1, key, value);
  });
}

const YARN_KEYS = ['npmRegistryServer', 'npmPublishRegistry'];

/** `.yarnrc.yml`: npmRegistryServer, npmPublishRegistry, npmScopes.*; no plain http. */
export function readYarnrcYml(text: string, reading: Reading): undefined {
  for (const document of parseYaml(text)) {
    if (document.value === null) continue;
    const root = tableOf(document, 'it');
    const scopes = [...tableAt(root, 'npmScopes').values()].map((node) => tableOf(node, 'a scope'));
    for (const table of [root, ...scopes]) for (const key of YARN_KEYS) at(table, key, reading);
    for (const { line } of listAt(root, 'unsafeHttpWhitelist'))
      reading.problem(line, 'unsafeHttpWhitelist', 'opens plain http');
  }
}

/** `pnpm-workspace.yaml`: registry, registries: {default, "@scope"}. */
export function readPnpmWorkspace(text: string, reading: Reading): undefined {
  for (const document of parseYaml(text)) {
    if (document.value === null) continue;
    const root = tableOf(document, 'it');
    at(root, 'registry', reading);
    const registries = tableAt(root, 'registries');
    for (const key of registries.keys()) at(registries, key, reading);
  }
}

function at(table: Table, key: string, reading: Reading): undefined {
  const value = textAt(table, key);
  if (value !== null) address(reading, table.get(key)?.line ?? null, key, value);
}

/** `pyproject.toml`, `uv.toml`, `Pipfile`: indexes of uv, poetry, pdm and pipenv. */
export function readTomlSettings(text: string, reading: Reading): undefined {
  const root = tableOf(parseToml(text), 'it');
  const tool = tableAt(root, 'tool');
  const uv = [tableAt(tool, 'uv'), root, tableAt(root, 'pip'), tableAt(tableAt(tool, 'uv'), 'pip')];
  const places: { node: Node; what: string }[] = [];
  for (const table of uv) {
    for (const key of ['index-url', 'extra-index-url', 'find-links']) {
      const node = table.get(key);
      if (node !== undefined) places.push(...flat(node).map((each) => ({ node: each, what: key })));
    }
    places.push(...urls(table, 'index'));
  }
  places.push(
    ...urls(tableAt(tool, 'poetry'), 'source'),
    ...urls(tableAt(tool, 'pdm'), 'source'),
    ...urls(root, 'source'),
  );
  const lines = text.split('\n');
  for (const { node, what } of places) {
    const value = typeof node.value === 'string' ? node.value : '';
    const line = lines.findIndex((each) => value !== '' && each.includes(value)) + 1;
    address(reading, line > 0 ? line : node.line, what, value);
  }
}

function flat(node: Node): readonly Node[] {
  return Array.isArray(node.value) ? (node.value as readonly Node[]) : [node];
}

function urls(table: Table, key: string): { node: Node; what: string }[] {
  if (!Array.isArray(table.get(key)?.value)) return [];
  return listAt(table, key).flatMap((node) => {
    const url = tableOf(node, key).get('url');
    return url === undefined ? [] : [{ node: url, what: key }];
  });
}
