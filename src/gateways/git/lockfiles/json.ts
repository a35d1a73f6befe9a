import { LockError, MOST_DEEP, MOST_NODES, type Node, type Value } from './node.ts';

const TOKEN = /([ \t\r\n]+)|([{}[\],:])|("(?:[^"\\]|\\.)*")|([^\s{}[\],:"]+)/y;

interface Open {
  readonly line: number;
  readonly map: Map<string, Node> | null;
  readonly list: Node[];
  key: string | null;
}

/**
 * JSON with the line of every value, and without repeated keys, of which readers take one or the other. That it is JSON is
 * `JSON.parse`'s word; this only follows it. Throws `LockError`.
 */
export function parseJson(text: string): Node {
  try {
    JSON.parse(text);
  } catch {
    throw new LockError(null, 'it is no JSON');
  }
  const open: Open[] = [];
  let root: Node | null = null;
  let line = 1;
  let count = 0;
  const put = (value: Value, at: number) => {
    const top = open.at(-1);
    if (++count > MOST_NODES) throw new LockError(at, `it has more than ${MOST_NODES} values`);
    const node = { value, line: at };
    if (top === undefined) root = node;
    else if (top.map === null) top.list.push(node);
    else {
      top.map.set(top.key ?? '', node);
      top.key = null;
    }
  };
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    const [, space, mark, string, word] = match;
    const top = open.at(-1);
    if (space !== undefined) for (const character of space) line += character === '\n' ? 1 : 0;
    else if (string !== undefined) {
      const value: string = JSON.parse(string);
      if (top === undefined || top.map === null || top.key !== null) put(value, line);
      else if (top.map.has(value)) throw new LockError(line, 'a key stands there twice');
      else top.key = value;
    } else if (word !== undefined) put(JSON.parse(word), line);
    else if (mark === '{' || mark === '[') {
      if (open.length >= MOST_DEEP) throw new LockError(line, `it is more than ${MOST_DEEP} deep`);
      open.push({ line, map: mark === '{' ? new Map() : null, list: [], key: null });
    } else if (mark === '}' || mark === ']') {
      const done = open.pop();
      if (done !== undefined) put(done.map ?? done.list, done.line);
    }
  }
  if (root === null) throw new LockError(null, 'it is no JSON');
  return root;
}
