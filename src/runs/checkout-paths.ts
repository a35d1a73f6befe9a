import { UsageError } from '../base/errors.ts';
import { safeText } from '../base/term.ts';

/**
 * A `--path` glob as a pattern of git's sparse checkout, anchored at the top: `*` and `?` stay within one folder, `**`
 * crosses them, a folder means all below it, everything else is literal.
 * Throws `UsageError` for what has no single meaning: absolute, `..`, empty parts, control characters, backslashes.
 */
export function sparsePattern(glob: string): string {
  const refuse = (why: string): never => {
    throw new UsageError(`--path ${safeText(glob)} ${why}`, {
      remedy: "write a path from the repository's top: services/billing/**",
    });
  };
  if (glob === '') refuse('is empty');
  if (glob.startsWith('/')) refuse('starts with a slash');
  if (/[\p{Cc}\\]/u.test(glob) || !glob.isWellFormed()) refuse('has a control character or a backslash');
  const parts = glob.replace(/\/$/, '').split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..')) refuse('has an empty part, "." or ".."');
  return `/${glob.replace(/[[\]!#]/g, '\\$&').replace(/ +$/, (spaces) => '\\ '.repeat(spaces.length))}`;
}

/** The `info/sparse-checkout` file of a set of globs. */
export function sparseFile(globs: readonly string[]): string {
  return globs.map((glob) => `${sparsePattern(glob)}\n`).join('');
}
