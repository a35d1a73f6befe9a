import { LockError } from './node.ts';
import type { Reading } from './reading.ts';

/**
 * `yarn.lock` of yarn 1, exactly as yarn writes it:
 *
 *   # yarn lockfile v1
 *
 *   "@acme/ui@^1.0.0", name@npm:other@^2:
 *     version "1.2.3"
 *     resolved "https://…/ui-1.2.3.tgz#<sha1>"
 *     integrity sha512-…
 *     dependencies:
 *       name "^1.0.0"
 */
export function readYarnClassic(text: string, reading: Reading): undefined {
  const seen = new Set<string>();
  let block: Block | null = null;
  let inner = false;
  text.split('\n').forEach((line, i) => {
    const at = i + 1;
    if (line === '' || line.startsWith('#')) return;
    const indent = /^ */.exec(line)?.[0].length ?? 0;
    const rest = line.slice(indent);
    if (indent === 0) {
      if (block !== null) finish(block, reading);
      block = { patterns: patternsOf(rest, at, seen), line: at, values: new Map() };
      inner = false;
    } else if (indent === 2 && block !== null) inner = readField(rest, at, block);
    else if (indent !== 4 || !inner || !FIELD.test(rest)) throw malformed(at);
  });
  if (block !== null) finish(block, reading);
}

interface Block {
  readonly patterns: readonly string[];
  readonly line: number;
  readonly values: Map<string, string>;
}

const WORD = '(?:"(?:[^"\\\\]|\\\\.)*"|[A-Za-z][^:\\s\\\\",\\[\\]]*)';
const KEY = new RegExp(`^${WORD}(?:, ${WORD})*:$`);
const FIELD = new RegExp(`^(${WORD}) ("(?:[^"\\\\]|\\\\.)*"|[^\\s"]+)$`);
const GROUPS = new Set(['dependencies:', 'optionalDependencies:']);
const FIELDS = new Set(['version', 'resolved', 'integrity', 'uid', 'registry', 'name']);

function malformed(line: number): LockError {
  return new LockError(line, 'it is not as yarn writes it');
}

function unquote(word: string, line: number): string {
  if (!word.startsWith('"')) return word;
  try {
    return JSON.parse(word) as string;
  } catch {
    throw malformed(line);
  }
}

function patternsOf(rest: string, line: number, seen: Set<string>): string[] {
  if (!KEY.test(rest)) throw malformed(line);
  const words = rest.slice(0, -1).match(new RegExp(WORD, 'g')) ?? [];
  return words.map((word) => {
    const pattern = unquote(word, line);
    if (seen.has(pattern)) throw new LockError(line, 'a key stands there twice');
    seen.add(pattern);
    return pattern;
  });
}

/** True when a group follows. */
function readField(rest: string, line: number, block: Block): boolean {
  if (GROUPS.has(rest)) {
    if (block.values.has(rest)) throw malformed(line);
    block.values.set(rest, '');
    return true;
  }
  const [, key = '', value = ''] = FIELD.exec(rest) ?? [];
  if (!FIELDS.has(key)) throw malformed(line);
  if (block.values.has(key)) throw new LockError(line, 'a key stands there twice');
  block.values.set(key, unquote(value, line));
  return false;
}

function finish({ patterns, line, values }: Block, reading: Reading): undefined {
  const parts = patterns.map((pattern) => {
    const at = pattern.indexOf('@', 1);
    if (at === -1) throw malformed(line);
    const range = pattern.slice(at + 1);
    const alias = /^npm:(@?[^@]+)(?:@.*)?$/.exec(range)?.[1];
    return { name: alias ?? pattern.slice(0, at), range };
  });
  const name = parts[0]?.name ?? '';
  if (parts.some((part) => part.name !== name)) return reading.problem(line, name, 'stands for several packages');
  const resolved = values.get('resolved');
  const local = parts.find(({ range }) => /^(?:file|link):/.test(range));
  if (local !== undefined && resolved === undefined) return reading.local(line, name, local.range.slice(5));
  const sha1 = /#([0-9a-f]{40})$/.exec(resolved ?? '')?.[1];
  const integrity = values.get('integrity');
  reading.add({
    name,
    version: values.get('version') ?? '',
    line,
    urls: resolved === undefined ? [] : [resolved],
    hashes: integrity === undefined ? (sha1 === undefined ? [] : [`sha1:${sha1}`]) : [integrity],
  });
}
