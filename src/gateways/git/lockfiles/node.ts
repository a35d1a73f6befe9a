/** One shape for JSON, YAML and TOML: a value and the line that it starts on. Tables are maps, so that no key means anything to JavaScript. */
export interface Node {
  readonly value: Value;
  /** From 1; null where the reader does not know. */
  readonly line: number | null;
}

export type Value = string | number | bigint | boolean | null | readonly Node[] | Table;
export type Table = ReadonlyMap<string, Node>;

/** A lock file that cannot be read: what stands in it is not known. */
export class LockError extends Error {
  readonly line: number | null;

  constructor(line: number | null, message: string) {
    super(message);
    this.line = line;
  }
}

/** Folders of tables; honest files have ten. */
export const MOST_DEEP = 64;
/** Values in one file. */
export const MOST_NODES = 4_000_000;

/** Line ends and marks of the language in one file of YAML or TOML, whose readers take up to 15 µs for each. */
const MOST_MARKS = 500_000;

/** Throws `LockError`. */
export function boundMarks(text: string): void {
  let count = 0;
  for (let at = 0; at < text.length; at++) if (isMark(text.charCodeAt(at))) count += 1;
  if (count > MOST_MARKS) throw new LockError(null, `it has more than ${MOST_MARKS} values`);
}

/** `\n`, `,`, `-`, `:`, `=`, `[`, `{` */
function isMark(code: number): boolean {
  return code === 10 || code === 44 || code === 45 || code === 58 || code === 61 || code === 91 || code === 123;
}

function isTable(value: Value | undefined): value is Table {
  return value instanceof Map;
}

/** A table that must be one. Throws `LockError`. */
export function tableOf(node: Node, what: string): Table {
  if (isTable(node.value)) return node.value;
  throw new LockError(node.line, `${what} is no table`);
}

/** The table at a key; none where there is no such key, or null. Throws `LockError`. */
export function tableAt(table: Table, key: string): Table {
  const node = table.get(key);
  return node === undefined || node.value === null ? new Map() : tableOf(node, key);
}

/** The list at a key; none where there is no such key. Throws `LockError`. */
export function listAt(table: Table, key: string): readonly Node[] {
  const node = table.get(key);
  if (node === undefined || node.value === null) return [];
  if (Array.isArray(node.value)) return node.value as readonly Node[];
  throw new LockError(node.line, `${key} is no list`);
}

/** The text at a key; null where there is no such key. Throws `LockError`. */
export function textAt(table: Table, key: string): string | null {
  const node = table.get(key);
  if (node === undefined || node.value === null) return null;
  if (typeof node.value === 'string') return node.value;
  throw new LockError(node.line, `${key} is no text`);
}

/** True, or not there. Throws `LockError`. */
export function flagAt(table: Table, key: string): boolean {
  const node = table.get(key);
  if (node === undefined || node.value === null) return false;
  if (typeof node.value === 'boolean') return node.value;
  throw new LockError(node.line, `${key} is neither true nor false`);
}
