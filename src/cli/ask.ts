import { createInterface } from 'node:readline/promises';
import { safeText } from '../base/term.ts';
import type { RunIo } from '../runs/system.ts';
import type { Context } from './context.ts';

/**
 * Puts a question of the policy's to the person at the terminal. Only the whole word counts as a yes: a question that is
 * answered by leaning on the return key protects nobody.
 */
export function asker(context: Context): NonNullable<RunIo['ask']> {
  return async ({ action, reason, rules }) => {
    const lines = [
      `? ${safeText(action)}`,
      `  ${safeText(reason)}`,
      ...rules.map((rule) => `  rule ${safeText(rule)}`),
    ];
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    try {
      const answer = await terminal.question(`${lines.join('\n')}\n  type yes to allow it: `, {
        signal: context.signal,
      });
      return answer.trim().toLowerCase() === 'yes';
    } catch {
      return false; // end of input, or Ctrl-C
    } finally {
      terminal.close();
    }
  };
}
