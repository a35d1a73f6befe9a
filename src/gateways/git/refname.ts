/**
 * The rules of git-check-ref-format(1) for a full name, and stricter: it starts with `refs/`, is plain UTF-8 in NFC,
 * and no part starts with a dash. `like` patterns of a policy are matched against raw text: what is not canonical here
 * never gets that far.
 */
export function isRefName(name: string): boolean {
  if (name.length > 512 || !name.startsWith('refs/') || name !== name.normalize('NFC') || !name.isWellFormed())
    return false;
  if (/[\p{C}\p{Z}~^:?*[\\\ufffd]|\.\.|@\{|\/\/|[/.]$/u.test(name)) return false;
  return name.split('/').every((part) => part !== '' && part !== '@' && !/^[.-]/.test(part) && !part.endsWith('.lock'));
}
