import { type Glob, matchGlob, parseGlob } from './globs.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';

/**
 * Paths in a repository: relative to its root, `/` between names. Git stores bytes and Linux allows almost all of them,
 * so a path keeps its spelling; what is refused are names that mean another place somewhere else
 * (`..`, `.git` in the spellings that Windows and macOS take for it: CVE-2014-9390, CVE-2019-1352).
 */
export function canonicalPath(text: string): Parsed<string> {
  if (text === '') return refused('an empty path names nothing');
  if (text.length > 4096) return refused(`a path of ${text.length} characters is too long`);
  if (!text.isWellFormed()) return refused(`the path ${shown(text)} is not Unicode text`);
  if (text.includes('\0')) return refused(`the path ${shown(text)} holds a NUL`);
  if (text.startsWith('/'))
    return refused(`the path ${shown(text)} is absolute`, 'write it relative to the root of the repository');
  if (text.split('/').includes('')) return refused(`the path ${shown(text)} has an empty name`);
  for (const name of text.split(/[/\\]/)) {
    if (name === '.' || name === '..') return refused(`the path ${shown(text)} has a . or .. in it`);
    if (isGitFolder(name)) return refused(`the path ${shown(text)} leads into git's own folder`);
  }
  return parsed(text);
}

/** Code points that HFS+ ignores in names: `.g\u200cit` is `.git` there. */
const HFS_IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;

/** True for every spelling that some file system opens as `.git`: letter case, NTFS's trailing dots, blanks, streams and short name. */
export function isGitFolder(name: string): boolean {
  const plain =
    name
      .replace(HFS_IGNORED, '')
      .toLowerCase()
      .split(':')[0]
      ?.replace(/[. ]+$/, '') ?? '';
  return plain === '.git' || plain === 'git~1';
}

/** A glob over paths of the repository. `docs` and `docs/` mean the file or folder `docs` and everything in it. */
export function parsePathGlob(text: string): Parsed<Glob> {
  if (text.startsWith('/'))
    return refused(
      `the pattern ${shown(text)} is absolute`,
      `patterns start at the repository's root: write ${shown(text.replace(/^\/+/, ''))}`,
    );
  if (text.startsWith('./'))
    return refused(`the pattern ${shown(text)} starts with ./`, `write ${shown(text.slice(2))}`);
  const result = parseGlob(text.endsWith('/') ? `${text.slice(0, -1)}` : text);
  if (!result.ok) return result;
  if (text.split('/').some(isGitFolder))
    return refused(`the pattern ${shown(text)} names git's own folder, which no rule opens`, 'remove it');
  return parsed({
    ...result.value,
    text: result.value.text.normalize('NFC'),
    segments: result.value.segments.map((s) => s.normalize('NFC')),
  });
}

/** Both sides in Unicode's composed form: macOS decomposes names, and a rule must not be missed for that. */
export function matchPath(glob: Glob, path: string): boolean {
  const name = path.normalize('NFC');
  if (!glob.literal) return matchGlob(glob, name);
  return name === glob.text || name.startsWith(`${glob.text}/`);
}

/**
 * A name as file systems compare it that know no letter case: by capitals and back, so that `ſ` is `s` and `ß` is `ss`, as macOS has it;
 * composed.
 */
export function foldName(name: string): string {
  return name.normalize('NFC').toUpperCase().toLowerCase().normalize('NFC');
}

/** For protection: letter case does not matter either, because on macOS and Windows it names the same file. */
export function matchPathFolded(glob: Glob, path: string): boolean {
  const folded = { ...glob, text: foldName(glob.text), segments: glob.segments.map(foldName) };
  // `ß` folds to two letters, and a `?` of the glob stands for one.
  return matchPath(folded, foldName(path)) || matchPath(folded, path.toLowerCase());
}

/** One list of globs per layer: a path is in when every layer's list has it. An empty list has nothing. */
export type GlobLists = readonly (readonly string[])[];

export function pathIn(lists: GlobLists, path: string): boolean {
  return lists.every((globs) => globs.some((text) => matchText(text, path)));
}

function matchText(text: string, path: string): boolean {
  const glob = parsePathGlob(text);
  return glob.ok && matchPath(glob.value, path);
}
