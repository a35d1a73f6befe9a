import { resolve } from 'node:path';
import { openClone } from '../attest/clone.ts';
import type { Context } from './context.ts';
import type { VerifyOptions } from './verify.ts';

/** Options that take a value, and those that are there or not; as `verify.ts` declares them (verify-direct.test.ts). */
const VALUES: Readonly<Record<string, keyof VerifyOptions>> = {
  '-w': 'workspace',
  '--workspace': 'workspace',
  '--key': 'key',
  '--range': 'range',
  '--bundle': 'bundle',
  '--ref': 'ref',
  '--repo': 'repo',
};
const LISTS: Readonly<Record<string, keyof VerifyOptions>> = {
  '--policy-digest': 'policyDigest',
  '--agents': 'agents',
};
const FLAGS: Readonly<Record<string, keyof VerifyOptions>> = {
  '--require-signature': 'requireSignature',
  '--content': 'content',
  '--pre-receive': 'preReceive',
  '--json': 'json',
  '-q': 'quiet',
  '--quiet': 'quiet',
};

export interface Plain {
  readonly commit: string | undefined;
  readonly options: VerifyOptions;
}

/** The words behind `verify`, where they can be meant in one way only; null for all else, and whatever is wrong. */
export function readPlainly(words: readonly string[]): Plain | null {
  const options: Record<string, unknown> = {};
  let commit: string | undefined;
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string;
    const flag = Object.hasOwn(FLAGS, word) ? FLAGS[word] : undefined;
    const single = Object.hasOwn(VALUES, word) ? VALUES[word] : undefined;
    const list = Object.hasOwn(LISTS, word) ? LISTS[word] : undefined;
    if (flag !== undefined) options[flag] = true;
    else if (single !== undefined || list !== undefined) {
      const value = words[++at];
      if (value === undefined || value === '' || value.startsWith('-')) return null;
      if (single !== undefined) options[single] = value;
      else options[list as string] = [...((options[list as string] as string[] | undefined) ?? []), value];
    } else if (word === '' || word.startsWith('-') || commit !== undefined) return null;
    else commit = word;
  }
  return { commit, options };
}

/**
 * `cordon verify` as hooks and pipelines call it, for each push: without the command line's whole machinery, and with git started
 * before the rest is loaded. False, and nothing done, for words that `readPlainly` leaves to that machinery.
 */
export async function direct(words: readonly string[], context: Context): Promise<boolean> {
  const plain = readPlainly(words);
  if (plain === null) return false;
  const { commit, options } = plain;
  const alone = options.bundle !== undefined && commit === undefined && options.range === undefined;
  const clone = alone ? undefined : openClone(resolve(context.cwd, options.workspace ?? '.'), context.env);
  clone?.catch(() => {}); // told where it is waited for
  const { verify } = await import('./verify-commits.ts');
  try {
    await verify(context, commit, options, clone);
  } finally {
    (await clone?.catch(() => undefined))?.close();
  }
  return true;
}
