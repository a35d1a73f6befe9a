import { type Glob, parseGlob } from './globs.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';

// What is behind `;` is a parameter to servers of Java, and behind an escaped `?` or `#` nothing of the path when it is parsed again.
const DOTS = /^\.{1,2}(?:$|[;?#]|%3B|%3F|%23)/;
// Decoded by one server and passed on, they end the next one's request line: a second request that nobody judged.
const CONTROL = /%(?:[01][0-9a-f]|7f)/i;
// Overlong UTF-8, by which some decoders read `/` and `.`.
const OVERLONG = /%(?:c[01]|e0%[89][0-9a-f]|f0%8[0-9a-f])/i;

/**
 * The path of an HTTP request (RFC 3986 §3.3) in its one form: no query, no dot segments, unreserved characters decoded,
 * escapes in capitals. A path that servers read in two ways (`%2f`, `%2e%2e`, `\`, `//`, `..;`) has none and is refused.
 */
export function canonicalRequestPath(target: string): Parsed<string> {
  const path = target.split(/[?#]/)[0] ?? '';
  if (!path.startsWith('/')) return refused(`the request path ${shown(target)} does not start with /`);
  if (path.length > 8192) return refused(`a request path of ${path.length} characters is too long`);
  if (/[^\x21-\x7e]|\\/.test(path))
    return refused(`the request path ${shown(target)} holds characters that must be escaped`);
  if (/%(?![0-9a-f]{2})/i.test(path)) return refused(`the request path ${shown(target)} has a broken escape`);
  if (/%(2f|5c|25|00)/i.test(path)) return refused(`the request path ${shown(target)} hides a separator in an escape`);
  if (OVERLONG.test(path)) return refused(`the request path ${shown(target)} has escapes that are no UTF-8`);
  if (CONTROL.test(path)) return refused(`the request path ${shown(target)} has control characters in an escape`);
  const form = path.replace(/%[0-9a-f]{2}/gi, (triple) => {
    const character = String.fromCharCode(Number.parseInt(triple.slice(1), 16));
    return /[A-Za-z0-9._~-]/.test(character) ? character : triple.toUpperCase();
  });
  const segments = form.slice(1).split('/');
  const meant = segments.map(plainest);
  if (meant.some((segment) => /[/\\]/.test(segment)))
    return refused(`the request path ${shown(target)} hides a separator in a letter that stands for one`);
  if (meant.some((segment) => DOTS.test(segment))) return refused(`the request path ${shown(target)} has dot segments`);
  if (meant.some((segment, i) => /^;|^$/.test(segment) && segments[i] !== ''))
    return refused(`the request path ${shown(target)} has a segment that servers read as an empty one`);
  if (segments.slice(0, -1).includes('')) return refused(`the request path ${shown(target)} has an empty segment`);
  return parsed(form);
}

/**
 * A segment as the most forgiving server reads it: blanks are trimmed, and letters are the plain ones that they look like (`．` is a
 * dot, `／` a slash: compatibility forms of Unicode).
 */
function plainest(segment: string): string {
  let text = segment.replace(/%20|%A0/g, ' ');
  try {
    text = decodeURIComponent(segment).normalize('NFKC');
  } catch {
    // No UTF-8: what it may be in another encoding has no such letters.
  }
  return text.replace(/[\p{Z}\p{Cf}\p{Cc}]/gu, '');
}

/** `/repos/acme/**`: a glob over canonical request paths. */
export function parseRequestPathGlob(text: string): Parsed<Glob> {
  if (!text.startsWith('/'))
    return refused(`the path pattern ${shown(text)} does not start with /`, `write ${shown(`/${text}`)}`);
  if (/[^\x21-\x7e]/.test(text)) {
    return refused(
      `the path pattern ${shown(text)} holds characters that a request escapes`,
      'write them as %20, %C3%A9',
    );
  }
  if (text === '/') return parsed({ text: '', segments: [''], literal: true });
  // `/simple/` is another resource than `/simple`: the last, empty segment is part of the pattern.
  if (text.endsWith('/') && !text.endsWith('//')) {
    const folder = parseRequestPathGlob(text.slice(0, -1));
    if (!folder.ok) return folder;
    const { text: name, segments, literal } = folder.value;
    return parsed({ text: `${name}/`, segments: [...segments, ''], literal });
  }
  const glob = parseGlob(text.slice(1));
  return glob.ok ? glob : refused(glob.message.replace(shown(text.slice(1)), shown(text)), glob.remedy);
}

/** An HTTP method (RFC 9110 §9.1), in capitals. */
export function canonicalMethod(text: string): Parsed<string> {
  if (!/^[A-Za-z]{1,20}$/.test(text)) return refused(`${shown(text)} is no HTTP method`, 'write GET, HEAD, POST, …');
  return parsed(text.toUpperCase());
}
