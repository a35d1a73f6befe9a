import { canonicalPath, isGitFolder } from '../../policy/paths.ts';

/** A path of a tree (bytes as latin1) as text, or the reason why it has no form that can be decided upon. */
export function pathText(
  path: readonly string[],
): { readonly ok: true; readonly path: string } | { readonly ok: false; readonly why: string } {
  const bytes = Buffer.from(path.join('/'), 'latin1');
  const text = bytes.toString('utf8');
  if (!Buffer.from(text).equals(bytes)) return { ok: false, why: 'its name is not UTF-8' };
  if (/\p{Cc}/u.test(text)) return { ok: false, why: 'its name has a control character' };
  if (/[\p{Zl}\p{Zp}\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/u.test(text))
    return { ok: false, why: 'its name has an invisible character' };
  const canonical = canonicalPath(text);
  if (!canonical.ok) return { ok: false, why: canonical.message };
  return { ok: true, path: text };
}

/**
 * What is wrong with a symbolic link at `path`, or null. Only a target that stays within the repository, and out of `.git`,
 * means the same on the reviewer's machine as in the sandbox.
 */
export function linkProblem(path: readonly string[], target: Buffer): string | null {
  const text = target.toString('latin1');
  if (text === '' || text.includes('\0')) return 'a symbolic link with a malformed target';
  if (text.startsWith('/') || text.startsWith('\\') || /^[A-Za-z]:/.test(text))
    return 'a symbolic link with an absolute target';
  const place = path.slice(0, -1);
  let down = false;
  for (const part of text.split(/[/\\]/)) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (place.length === 0) return 'a symbolic link that leaves the repository';
      // `a/x` → `..` and `y` → `a/x/../secret`: each stays inside by the letter, and the second leaves.
      if (down) return 'a symbolic link that goes down and up again';
      place.pop();
    } else {
      place.push(part);
      down = true;
    }
    if (isGitFolder(Buffer.from(part, 'latin1').toString('utf8'))) return "a symbolic link into git's own folder";
  }
  return null;
}

/** Files that programs on the reviewer's machine act upon without being asked. */
const ACTED_UPON =
  /(?:^|\/)(?:\.envrc|\.mcp\.json|\.npmrc|\.yarnrc(?:\.yml)?|\.pre-commit-config\.yaml|\.gitattributes|\.lfsconfig|\.vscode\/(?:tasks|settings|launch)\.json|\.idea\/.*|\.husky\/.*|\.devcontainer(?:\.json|\/.*)|\.github\/workflows\/.*|\.gitlab-ci\.yml|\.cordon\/.*|\.claude\/.*|AGENTS\.md|CLAUDE\.md)$/i;

export function isActedUpon(path: string): boolean {
  return ACTED_UPON.test(path);
}
