/**
 * Parses JSON the way evidence must be read: refuses what `JSON.parse` quietly changes. A duplicate key (where the last
 * one wins here and the first one elsewhere), and an integer that a double cannot hold (2^53+1 becomes 2^53), would let
 * one text mean two things to two readers. Also bounds the depth, so that `[[[[…` cannot exhaust the stack of a caller.
 *
 * Throws `SyntaxError` with the offset (UTF-16 units) of the first thing refused.
 */
export function strictJsonParse(text: string, maxDepth = 64): unknown {
  // The scan comes first: it bounds the depth before the recursive parser sees the text.
  scan(text, maxDepth);
  return JSON.parse(text);
}

interface Level {
  /** Keys seen in this object; null in an array. */
  keys: Set<string> | null;
  expectKey: boolean;
}

/** Only nesting, keys and numbers are looked at: everything else about the grammar is `JSON.parse`'s to refuse. */
function scan(text: string, maxDepth: number): void {
  const stack: Level[] = [];
  for (let i = 0; i < text.length; ) {
    const char = text.charCodeAt(i);
    const level = stack.at(-1);
    if (char === 0x22) {
      const end = stringEnd(text, i);
      if (level?.keys && level.expectKey) {
        const key = JSON.parse(text.slice(i, end)) as string;
        if (level.keys.has(key)) throw new SyntaxError(`duplicate key ${JSON.stringify(key)} at offset ${i}`);
        level.keys.add(key);
        level.expectKey = false;
      }
      i = end;
    } else if (char === 0x7b || char === 0x5b) {
      if (stack.length >= maxDepth) throw new SyntaxError(`nested deeper than ${maxDepth} at offset ${i}`);
      stack.push({ keys: char === 0x7b ? new Set() : null, expectKey: char === 0x7b });
      i++;
    } else if (char === 0x7d || char === 0x5d) {
      stack.pop();
      i++;
    } else if (char === 0x2c) {
      if (level) level.expectKey = level.keys !== null;
      i++;
    } else if (char === 0x2d || (char >= 0x30 && char <= 0x39)) {
      i = numberEnd(text, i);
    } else {
      i++;
    }
  }
}

function stringEnd(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (char === 0x5c) i++;
    else if (char === 0x22) return i + 1;
  }
  throw new SyntaxError(`string at offset ${start} does not end`);
}

const NUMBER = /-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

function numberEnd(text: string, start: number): number {
  NUMBER.lastIndex = start;
  const literal = NUMBER.exec(text)?.[0];
  if (literal === undefined) throw new SyntaxError(`no number at offset ${start}`);
  const value = Number(literal);
  if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))) {
    throw new SyntaxError(`number ${literal.slice(0, 40)} at offset ${start} has no exact value here`);
  }
  return start + literal.length;
}
