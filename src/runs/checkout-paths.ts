import { UsageError } from '../base/errors.ts';
import { safeText } from '../base/term.ts';
import { parsePathGlob } from '../policy/paths.ts';

/**
 * A `--path` glob as a pattern of git's sparse checkout (gitignore(5) syntax), anchored at the top. The policy's globs are
 * a subset of that language with one difference: a folder that the last part matches comes with all that is in it.
 * Throws `UsageError` for what is no glob of the policy's.
 */
export function sparsePattern(text: string): string {
  const glob = parsePathGlob(text);
  if (!glob.ok) {
    throw new UsageError(`--path ${safeText(text)}: ${glob.message}`, {
      remedy: glob.remedy ?? "write a path from the repository's top: services/billing/**",
    });
  }
  return `/${glob.value.text.replace(/ +$/, (spaces) => '\\ '.repeat(spaces.length))}`;
}

/** The `info/sparse-checkout` file of a set of globs. */
export function sparseFile(globs: readonly string[]): string {
  return globs.map((glob) => `${sparsePattern(glob)}\n`).join('');
}
