import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, type Node as YamlNode } from 'yaml';
import { boundMarks, LockError, MOST_DEEP, MOST_NODES, type Node } from './node.ts';

const MOST_DOCUMENTS = 10;

/**
 * The documents of a YAML file, without what lock files never have: anchors, aliases, tags, merge keys, repeated keys.
 * Throws `LockError`.
 */
export function parseYaml(text: string): readonly Node[] {
  boundMarks(text);
  if ((text.match(/^---/gm) ?? []).length > MOST_DOCUMENTS)
    throw new LockError(null, `it has more than ${MOST_DOCUMENTS} documents`);
  const lines = new LineCounter();
  const lineOf = (node: YamlNode | null) => (node?.range ? lines.linePos(node.range[0]).line : null);
  // The library looks for repeated keys in time that grows with their square: that is done below.
  const options = { lineCounter: lines, uniqueKeys: false, merge: false, version: '1.2', schema: 'core' } as const;
  const documents = parseAllDocuments(text, { ...options, logLevel: 'silent', prettyErrors: false });
  if (!Array.isArray(documents)) throw new LockError(null, 'it is empty');
  let count = 0;
  const convert = (node: YamlNode | null, depth: number): Node => {
    const line = lineOf(node);
    if (depth > MOST_DEEP) throw new LockError(line, `it is more than ${MOST_DEEP} deep`);
    if (++count > MOST_NODES) throw new LockError(line, `it has more than ${MOST_NODES} values`);
    if (node === null) return { value: null, line };
    if (isAlias(node) || node.anchor !== undefined || (node.tag !== undefined && !isPlainTag(node.tag)))
      throw new LockError(line, 'it has an anchor, an alias or a tag');
    if (isSeq(node)) return { value: node.items.map((item) => convert(item as YamlNode, depth + 1)), line };
    if (isMap(node)) {
      const map = new Map<string, Node>();
      for (const { key, value } of node.items) {
        const { value: name } = convert(key as YamlNode, depth + 1);
        const at = lineOf(key as YamlNode);
        if (typeof name === 'object' || name === '<<') throw new LockError(at, 'a key is no text');
        if (map.has(String(name))) throw new LockError(at, 'a key stands there twice');
        map.set(String(name), { ...convert(value as YamlNode | null, depth + 1), line: at });
      }
      return { value: map, line };
    }
    if (!isScalar(node)) throw new LockError(line, 'it holds something unknown');
    const { value } = node;
    if (value === null || ['string', 'number', 'boolean'].includes(typeof value))
      return { value: value as string | number | boolean | null, line };
    throw new LockError(line, 'it holds something unknown');
  };
  return documents.map((document) => {
    const [error] = [...document.errors, ...document.warnings];
    if (error !== undefined)
      throw new LockError(lines.linePos(error.pos[0]).line, 'it is no YAML that can be relied upon');
    return convert(document.contents as YamlNode | null, 0);
  });
}

function isPlainTag(tag: string): boolean {
  return /^tag:yaml\.org,2002:(?:map|seq|str|int|float|bool|null)$/.test(tag);
}
