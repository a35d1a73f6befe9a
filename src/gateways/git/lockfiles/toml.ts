import { parse, TomlError } from 'smol-toml';
import { boundMarks, LockError, MOST_DEEP, MOST_NODES, type Node, type Value } from './node.ts';

/**
 * TOML; it forbids repeated keys by itself. Lines are known of the tables of top-level lists (`[[package]]`) and what is in
 * them, as the line of their header. Throws `LockError`.
 */
export function parseToml(text: string): Node {
  boundMarks(text);
  let root: unknown;
  try {
    root = parse(text, { integersAsBigInt: true, maxDepth: MOST_DEEP });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new LockError(error.line, 'it is no TOML');
  }
  const headers = headerLines(text);
  let count = 0;
  const convert = (value: unknown, depth: number, line: number | null, name: string): Node => {
    if (depth > MOST_DEEP) throw new LockError(line, `it is more than ${MOST_DEEP} deep`);
    if (++count > MOST_NODES) throw new LockError(line, `it has more than ${MOST_NODES} values`);
    if (Array.isArray(value)) {
      const known = depth === 1 ? headers.get(name) : undefined;
      const lines = known?.length === value.length ? known : null;
      return { value: value.map((item, i) => convert(item, depth + 1, lines?.[i] ?? line, '')), line };
    }
    if (typeof value !== 'object' || value === null) return { value: value as Value, line };
    if (value instanceof Date) return { value: value.toISOString(), line };
    const entries = Object.entries(value).map(([key, item]) => [key, convert(item, depth + 1, line, key)] as const);
    return { value: new Map(entries), line };
  };
  return convert(root, 0, null, '');
}

function headerLines(text: string): Map<string, number[]> {
  const found = new Map<string, number[]>();
  text.split('\n').forEach((line, i) => {
    const name = /^\[\[\s*([\w-]+)\s*\]\]/.exec(line)?.[1];
    if (name === undefined) return;
    const lines = found.get(name);
    if (lines === undefined) found.set(name, [i + 1]);
    else lines.push(i + 1);
  });
  return found;
}
