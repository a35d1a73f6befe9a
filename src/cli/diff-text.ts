/** A diff for a terminal. Its colours are Cordon's own: those that a file holds could hide a line, as black on black or as hidden text. */
import { type Palette, safeLines } from '../base/term.ts';

/** `diff` as git writes it without colours, whole or as `--stat`. */
export function diffText(diff: string, style: Palette): string {
  let hunk = false;
  return diff
    .split('\n')
    .map((line) => {
      if (line.startsWith('diff ')) hunk = false;
      const shown = safeLines(line);
      if (line.startsWith('@@ ')) {
        hunk = true;
        return style.yellow(shown);
      }
      if (!hunk) return headLine(shown, style);
      return line.startsWith('+') ? style.green(shown) : line.startsWith('-') ? style.red(shown) : shown;
    })
    .join('\n');
}

function headLine(line: string, { bold, green, red }: Palette): string {
  const [, before, plus = '', minus = ''] = /^( .*\| +\d+ )(\+*)(-*)$/.exec(line) ?? [];
  if (before !== undefined) return before + (plus && green(plus)) + (minus && red(minus));
  return line === '' || line.startsWith(' ') ? line : bold(line);
}
