import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  Scalar,
  visit,
} from 'yaml';
import type { Problem } from '../base/errors.ts';
import { shown } from './parsed.ts';

/** A document as it was read: its name as the user knows it, and its text. */
export interface Source {
  readonly file: string;
  readonly text: string;
}

export type Path = readonly PropertyKey[];

/** A YAML document as plain values, with the place of every node. */
export interface YamlSource {
  readonly file: string;
  /** Undefined when the text is no usable YAML (then `problems` says why). */
  readonly value: unknown;
  readonly problems: readonly Problem[];
  /** Where the value at `path` stands; `of: 'key'` where its key does. Falls back to the nearest that exists. */
  place(path: Path, of?: 'key' | 'value'): { line: number; column: number };
  /** The first line and the indentation of the content of a block scalar (`rules: |`), to map offsets into it. */
  block(path: Path): { line: number; indent: number };
}

const TOO_DEEP = ['the document is nested too deeply', 'a policy needs no more than six levels'] as const;

const MAX_BYTES = 256 * 1024;

/**
 * Reads YAML 1.2 and refuses what makes two readers see two documents or what costs more to read than it says:
 * duplicate keys, anchors and aliases (billion laughs), merge keys, tags, directives (`%YAML 1.1` turns `no` into false),
 * keys that are not text, numbers that lose digits, and characters that reorder what a reviewer sees (CVE-2021-42574).
 */
export function readYaml(source: Source): YamlSource {
  const { file, text } = source;
  const lines = new LineCounter();
  const problems: Problem[] = [];
  const report = (offset: number, message: string, remedy?: string) => {
    const { line, col } = lines.linePos(offset);
    problems.push({
      file,
      line: Math.max(line, 1),
      column: Math.max(col, 1),
      message,
      ...(remedy === undefined ? {} : { remedy }),
    });
  };
  const nowhere = (): YamlSource => ({
    file,
    value: undefined,
    problems,
    place: () => ({ line: 1, column: 1 }),
    block: () => ({ line: 1, indent: 0 }),
  });
  const size = Buffer.byteLength(text);
  if (size > MAX_BYTES) {
    report(
      0,
      `the document has ${size} bytes; at most ${MAX_BYTES} are read`,
      'shorten its lists: a * below a domain, ** below a folder',
    );
    return nowhere();
  }
  checkCharacters(text, lines, report);
  if (problems.length > 0) return nowhere();
  const document = parse(text, report);
  if (document === undefined) return nowhere();
  const errors = [...document.errors, ...document.warnings];
  // The parser gives up on a node that it cannot descend into with one such error for every level it unwinds.
  if (errors.some((error) => error.code === 'IMPOSSIBLE' || error.code === 'RESOURCE_EXHAUSTION'))
    report(0, ...TOO_DEEP);
  else for (const error of errors.slice(0, 50)) report(error.pos[0], ...explained(error.code, error.message));
  if (problems.length === 0) checkNodes(document, report);
  const place = (path: Path, of: 'key' | 'value' = 'value') => {
    const { line, col } = lines.linePos(offsetOf(document, path, of));
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const value = problems.length === 0 ? document.toJS({ maxAliasCount: 0 }) : undefined;
  if (problems.length === 0 && (value === null || value === undefined))
    report(0, 'the document is empty', 'write `version: 1` as its first line');
  return { file, value, problems, place, block: (path) => blockOf(document, path, text, lines) };
}

type Report = (offset: number, message: string, remedy?: string) => void;

function checkCharacters(text: string, lines: LineCounter, report: Report): void {
  lines.addNewLine(0);
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines.addNewLine(at + 1);
  const odd = /[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u2028\u2029]|[^\P{Cc}\t\n\r]|\p{Cs}/u.exec(text);
  if (odd !== null)
    report(
      odd.index,
      `the invisible or control character ${shown(odd[0])} stands here`,
      'remove it: what is read must be what is seen',
    );
  const directive = /^%.*/m.exec(text);
  if (directive !== null)
    report(
      directive.index,
      `the YAML directive ${shown(directive[0])} is not taken`,
      'remove the line: policies are YAML 1.2',
    );
}

function parse(text: string, report: Report): Document.Parsed | undefined {
  try {
    // Without the line counter: the lines are counted already, before anything is parsed.
    return parseDocument(text, {
      version: '1.2',
      schema: 'core',
      strict: true,
      uniqueKeys: true,
      merge: false,
      prettyErrors: false,
      stringKeys: false,
      logLevel: 'error',
    });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    report(0, ...TOO_DEEP);
    return undefined;
  }
}

function explained(code: string, message: string): [string, string?] {
  if (code === 'DUPLICATE_KEY')
    return ['this key stands here a second time', 'keep one: two readers could take either'];
  if (code === 'MULTIPLE_DOCS')
    return ['a second document starts here', 'remove the --- line: a policy is one document'];
  if (code === 'TAB_AS_INDENT') return ['a tab indents this line', 'indent with spaces'];
  if (/^Implicit map keys/.test(message))
    return ['this line is no `key: value`', 'write a colon, a blank and a value behind the key, or remove it'];
  const first = message.split('\n')[0] ?? message;
  if (code === 'BAD_INDENT' || /same column/.test(first))
    return [
      'this line’s indentation fits neither the line above nor a list or keys of its own',
      'give it that of the keys beside it',
    ];
  if (code === 'BLOCK_AS_IMPLICIT_KEY')
    return [first, 'a line is one `key: value`; put a text that holds `: ` in quotes'];
  return [first];
}

function checkNodes(document: Document.Parsed, report: Report): void {
  try {
    visit(document, {
      Alias: (_, node) =>
        report(
          node.range?.[0] ?? 0,
          `unquoted, *${node.source} is an alias, which is not taken`,
          `put a pattern in quotes: "*${node.source}"`,
        ),
      Node: (_, node) => {
        const offset = node.range?.[0] ?? 0;
        if (!isAlias(node) && node.anchor)
          report(
            offset,
            `the anchor &${node.anchor} is not taken`,
            'remove it, and write values out where they are needed',
          );
        if (isScalar(node) && typeof node.value === 'number') checkNumber(node, report);
      },
      Pair: (_, pair) => checkKey(pair, report),
    });
    for (const token of document.errors.length === 0 ? taggedNodes(document) : [])
      report(token.offset, `the tag ${token.tag} is not taken`, 'remove it');
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    report(0, ...TOO_DEEP);
  }
}

function checkNumber(node: Scalar, report: Report): void {
  const value = node.value as number;
  if (Number.isFinite(value) && (Math.abs(value) <= Number.MAX_SAFE_INTEGER || !Number.isInteger(value))) return;
  report(
    node.range?.[0] ?? 0,
    `the number ${shown(node.source ?? String(value))} is too large to be exact`,
    'write a smaller one, with a unit where one is taken',
  );
}

function checkKey(pair: Pair, report: Report): void {
  const key = pair.key;
  const offset = isNode(key) ? (key.range?.[0] ?? 0) : 0;
  if (!isScalar(key) || typeof key.value !== 'string')
    report(offset, 'a key that is not text', 'put the key in quotes');
  else if (key.value === '<<') report(offset, 'merge keys (<<) are not taken', 'write the keys out');
  else if (key.value === '__proto__') report(offset, 'unknown key `__proto__`', 'remove it');
}

function taggedNodes(document: Document.Parsed): { offset: number; tag: string }[] {
  const found: { offset: number; tag: string }[] = [];
  visit(document, {
    Node: (_, node) => {
      if (
        !isAlias(node) &&
        node.tag !== undefined &&
        !(
          isScalar(node) &&
          node.type === Scalar.BLOCK_LITERAL &&
          node.tag === 'tag:yaml.org,2002:str' &&
          node.source === undefined
        )
      ) {
        found.push({ offset: node.range?.[0] ?? 0, tag: node.tag });
      }
    },
  });
  return found;
}

function offsetOf(document: Document.Parsed, path: Path, of: 'key' | 'value'): number {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? 0;
  for (const [i, step] of path.entries()) {
    const pair = isMap(node)
      ? node.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === step)
      : undefined;
    const next: unknown = pair !== undefined ? pair.value : isSeq(node) ? node.items[Number(step)] : undefined;
    const last = i === path.length - 1;
    if (pair !== undefined && isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
    if (isNode(next) && next.range && !(last && of === 'key' && pair !== undefined)) offset = next.range[0];
    if (pair === undefined && next === undefined) return offset;
    node = next;
  }
  return offset;
}

function blockOf(
  document: Document.Parsed,
  path: Path,
  text: string,
  lines: LineCounter,
): { line: number; indent: number } {
  const node = document.getIn([...path], true);
  const start = isScalar(node) ? (node.range?.[0] ?? 0) : 0;
  if (!isScalar(node) || node.type !== Scalar.BLOCK_LITERAL)
    return { line: lines.linePos(start).line, indent: lines.linePos(start).col - 1 };
  const content = text.indexOf('\n', start) + 1;
  const first = /\S/.exec(text.slice(content));
  const column = first === null ? 1 : lines.linePos(content + first.index).col;
  return { line: lines.linePos(start).line + 1, indent: column - 1 };
}
