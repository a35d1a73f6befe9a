/**
 * Text for a terminal. What comes from a guest, a repository or a document may hold escape sequences that rewrite what is
 * already on the screen, set the window's title, or type into the shell (CVE-2003-0063 and its many relatives), and
 * bidirectional or invisible characters that make one text look like another (CVE-2021-42574).
 */

/**
 * What no eye sees, or a terminal acts upon, and JSON leaves as it is: DEL and C1, separators of lines, marks for annotations, and all that
 * Unicode says is not to be shown: bidirectional and other format characters, fillers, tags, variation selectors (but one behind a picture).
 */
export const UNSEEN =
  /[\x7f-\x9f\u2028\u2029\ufff9-\ufffb]|(?!(?<=\p{Extended_Pictographic})\ufe0f)\p{Default_Ignorable_Code_Point}/gu;

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is for
const UNSAFE = new RegExp(`${/[\x00-\x1f\p{Cs}]/u.source}|${UNSEEN.source}`, 'gu');

/** One line: every character that is not plainly visible becomes `\xNN`, `\n`, `\t` or `\u{…}`. */
export function safeText(text: string): string {
  return text.replace(UNSAFE, escapeCharacter);
}

/** Several lines: as {@link safeText}, but line feeds and tabs stay. A carriage return before a line feed goes. */
export function safeLines(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(UNSAFE, (character) =>
      character === '\n' || character === '\t' ? character : escapeCharacter(character),
    );
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) as number;
  if (character === '\n') return '\\n';
  if (character === '\t') return '\\t';
  if (character === '\r') return '\\r';
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}

/** An argument as it would be typed in a shell, safe to show: quoted only when it has to be. */
export function shellWord(argument: string): string {
  if (/^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*$/.test(argument)) return argument;
  const safe = safeText(argument);
  if (safe !== argument) return `$'${safe.replaceAll("'", "\\'")}'`;
  return `'${argument.replaceAll("'", `'\\''`)}'`;
}

export function shellLine(argv: readonly string[]): string {
  return argv.map(shellWord).join(' ');
}

/** At most `width` characters; what is cut is marked. */
export function clip(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join('')}…`;
}

type Style = (text: string) => string;

export interface Palette {
  readonly bold: Style;
  readonly dim: Style;
  readonly red: Style;
  readonly green: Style;
  readonly yellow: Style;
}

/** Styles that write SGR sequences, or nothing at all. */
export function palette(colour: boolean): Palette {
  const style =
    (open: number, close: number): Style =>
    (text) =>
      colour ? `\x1b[${open}m${text}\x1b[${close}m` : text;
  return {
    bold: style(1, 22),
    dim: style(2, 22),
    red: style(31, 39),
    green: style(32, 39),
    yellow: style(33, 39),
  };
}

/** Columns padded to their widest cell, two spaces between; the last is not padded. Cells must be safe text already. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, visibleLength(cell));
    });
  }
  return rows.map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell + ' '.repeat((widths[i] ?? 0) - visibleLength(cell))))
      .join('  ')
      .trimEnd(),
  );
}

function visibleLength(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences that palette() writes
  return [...text.replace(/\x1b\[\d+m/g, '')].length;
}
