import { safeText } from '../base/term.ts';
import type { Context } from './context.ts';
import type { Output } from './output.ts';

export interface Question {
  readonly action: string;
  readonly reason: string;
  readonly rules: readonly string[];
  /** Aborted when an answer would come too late. */
  readonly signal?: AbortSignal;
}

/** Asks the person at the terminal; only a plain yes is one. `undefined` where nobody can be asked. */
export function approvalPrompt(context: Context, out: Output): ((question: Question) => Promise<boolean>) | undefined {
  if (!context.interactive) return undefined;
  let last: Promise<unknown> = Promise.resolve();
  // Two readers of one terminal would both take the one answer: a yes is for the question that stands there.
  return (question) => {
    const mine = last.then(() => put(context, out, question));
    last = mine.catch(() => {});
    return mine;
  };
}

async function put(context: Context, out: Output, { action, reason, rules, signal }: Question): Promise<boolean> {
  signal?.throwIfAborted();
  const { bold, dim, yellow } = out.progressStyle;
  const lines = [`${bold(yellow('?'))} ${bold(safeText(action))}`, `  ${safeText(reason)}`];
  for (const rule of rules) lines.push(dim(`  rule ${safeText(rule)}`));
  const { createInterface } = await import('node:readline/promises'); // most runs ask nobody
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await reader.question(`${lines.join('\n')}\n  allow it? [y/N] `, {
      signal: signal === undefined ? context.signal : AbortSignal.any([context.signal, signal]),
    });
    return /^y(es)?$/i.test(answer.trim());
  } catch (error) {
    if (signal?.aborted) process.stderr.write(`\n  ${dim('taken back: an answer would come too late now')}\n`);
    throw error;
  } finally {
    reader.close();
  }
}
