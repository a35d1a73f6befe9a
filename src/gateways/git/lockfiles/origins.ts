import { canonicalHost, parsePort } from '../../../policy/hosts.ts';

export interface Origin {
  /** Canonical. */
  readonly host: string;
  readonly port: number;
  /** Decoded names of its path; null where an escape is no UTF-8. */
  readonly segments: readonly string[] | null;
}

/** `git+ssh://…`, `github:…`, `a/b`: where no registry is. */
const GIT = /^(?:git[+:@]|ssh:|git\+|(?:github|gitlab|bitbucket|gist):|(?:hg|bzr|svn)\+)|\.git(?:[#?]|$)/i;

/**
 * An https address as it must be written to mean one host to every reader: no user, no escapes or other letters in the host, no
 * trailing dot, no query. Otherwise what is wrong, to follow a package's name.
 */
export function readOrigin(url: string): Origin | { readonly problem: string } {
  if (url.length > 4096) return { problem: 'has an address longer than 4096 characters' };
  if (GIT.test(url)) return { problem: 'comes from git, not from a registry' };
  if (/^file:/i.test(url) || /^(?:\.{0,2}\/|~|[a-z]:[\\/]|\\)/i.test(url))
    return { problem: 'comes from a file, not from a registry' };
  if (/^http:/i.test(url)) return { problem: 'comes over http: nothing protects it on its way' };
  const match = /^https:\/\/([^/?#]*)(\/[^?#]*)?(\?[^#]*)?(?:#(.*))?$/s.exec(url);
  if (match === null) return { problem: 'has an address that is none of https' };
  const [, authority = '', path = '/', query, fragment] = match;
  if (/[\s\\\p{Cc}\p{Cf}]/u.test(url)) return { problem: 'has an address with a character that no address has' };
  if (authority.includes('@')) return { problem: 'has an address with a user in it' };
  const [, name = '', , portText] = /^(\[[^\]]*\]|[^:]*)(:(.*))?$/s.exec(authority) ?? [];
  const host = canonicalHost(name);
  if (!host.ok || host.value !== name) return { problem: 'has an address whose host is not in canonical form' };
  const port = portText === undefined ? 443 : parsePort(portText);
  if (typeof port !== 'number' && !port.ok) return { problem: 'has an address with no port' };
  if (query !== undefined) return { problem: 'has an address with a query' };
  if (fragment !== undefined && !/^(?:[0-9a-f]{40}|(?:sha256|sha384|sha512)=[0-9a-f]+)$/.test(fragment))
    return { problem: 'has an address with a fragment that is no hash' };
  return { host: host.value, port: typeof port === 'number' ? port : port.value, segments: decode(path) };
}

function decode(path: string): readonly string[] | null {
  try {
    return path.slice(1).split('/').map(decodeURIComponent);
  } catch {
    return null;
  }
}
