import { type Glob, parseGlob } from './globs.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';

const BRANCHES = 'refs/heads/';

/**
 * Full ref names: the rules of git-check-ref-format(1), and stricter where a name reads as something else elsewhere:
 * an option (`--upload-pack=x`), a shell word (`$(id)`), a commit id, `HEAD`. A name has one spelling, so it is returned as is.
 */
export function canonicalRef(text: string): Parsed<string> {
  const odd = (why: string) => refused(`the ref ${shown(text)} ${why}`);
  if (text.length > 255) return odd('is longer than 255 characters');
  if (!text.startsWith('refs/'))
    return refused(
      `the ref ${shown(text)} is not a full name`,
      `write ${BRANCHES}${/^[\w./-]+$/.test(text) ? text : 'NAME'}`,
    );
  if (!text.isWellFormed() || text !== text.normalize('NFC')) return odd('is not in composed Unicode form');
  if (!/^[\p{L}\p{N}\p{M}._/@+#=,-]+$/u.test(text)) return odd('holds a character that Cordon takes in no ref name');
  const names = text.split('/');
  if (names.length < 3) return odd('has no name after its namespace');
  for (const name of names) {
    if (name === '') return odd('has an empty part');
    if (name.startsWith('.') || name.endsWith('.') || name.includes('..'))
      return odd('has a part that starts or ends with a dot, or has two in a row');
    if (name.startsWith('-')) return odd('has a part that starts with -, which programs read as an option');
    if (name.toLowerCase().endsWith('.lock')) return odd('has a part that ends in .lock');
    if (name === '@') return odd('has a part @, which means HEAD');
  }
  const last = names.slice(2).join('/');
  if (last.toUpperCase() === 'HEAD') return odd('is read as HEAD');
  if (/^([0-9a-f]{40}|[0-9a-f]{64})$/i.test(last)) return odd('is read as a commit id');
  return parsed(text);
}

const TAGS = 'refs/tags/';

/** A pattern of `git.fetch.refs`: a branch, `release/**`, or in full, `refs/tags/v*`; the glob is over full names. */
export function parseShownGlob(text: string): Parsed<Glob> {
  if (!text.startsWith(TAGS)) {
    const branch = parseBranchGlob(text);
    if (branch.ok || !text.startsWith('refs/') || text.startsWith(BRANCHES)) return branch;
    return refused(`${shown(text)} is neither of branches nor of tags`, 'nothing else is ever shown');
  }
  const glob = parseGlob(text);
  if (!glob.ok) return glob;
  const probe = canonicalRef(glob.value.text.replaceAll('**', 'x').replaceAll('*', 'x').replaceAll('?', 'x'));
  return probe.ok ? glob : refused(`${shown(text)} can match no tag: ${probe.message}`);
}

/** A pattern of `git.push.branches`, `cordon/**`; the glob is over full names. */
export function parseBranchGlob(text: string): Parsed<Glob> {
  const name = text.startsWith(BRANCHES) ? text.slice(BRANCHES.length) : text;
  if (name.startsWith('refs/'))
    return refused(
      `${shown(text)} is outside of branches`,
      'branches only; tags have git.push.tags, other namespaces are never pushed',
    );
  if (/^[*?/]+$/.test(name))
    return refused(`${shown(text)} would open every branch, the protected ones too`, 'write a prefix: cordon/**');
  const glob = parseGlob(BRANCHES + name);
  if (!glob.ok) return glob;
  const probe = canonicalRef(glob.value.text.replaceAll('**', 'x').replaceAll('*', 'x').replaceAll('?', 'x'));
  return probe.ok ? glob : refused(`${shown(text)} can match no branch: ${probe.message}`);
}
