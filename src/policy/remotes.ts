import { canonicalHost, isNoHost, parsePort } from './hosts.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';

/**
 * Remote repositories: one canonical name, `host[:port]/path`, for decisions, events, scopes of secrets and mirrors. The host is as in
 * hosts.ts; the default port, a last `/` and a last `.git` are gone; letter case of the path stays, but for hosts that do
 * not tell it apart.
 */
export interface RemoteName {
  /** `git.acme.example/team/app`. */
  readonly name: string;
  readonly scheme: 'https' | 'http';
  readonly host: string;
  readonly port: number;
  /** As it was written, from the first slash, without a last one: where requests go. */
  readonly path: string;
}

/** Here `Acme/App` and `acme/app` are one repository: a rule for one must not miss the other. */
const ONE_CASE = new Set(['github.com', 'gitlab.com', 'bitbucket.org', 'codeberg.org']);

const MAX_LENGTH = 1024;
const INSTEAD = 'write its address on the web: https://git.acme.example/team/app';

/** `--repo`. No message repeats what stands before an `@`: it may be a password. */
export function parseRemote(text: string): Parsed<RemoteName> {
  if (text.length > MAX_LENGTH) return refused(`an address of ${text.length} characters is none`, INSTEAD);
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\\]*)(.*)$/is.exec(text);
  if (match === null) return refuseOther(text);
  const [, scheme = '', authority = '', rest = ''] = match;
  const protocol = scheme.toLowerCase();
  if (protocol === 'ssh' || protocol.includes('+')) {
    const host = authority.replace(/^.*@/, '').replace(/:\d*$/, '');
    return refused(
      'a repository is not reached through ssh, whose keys open more than one repository',
      /^[\w.-]+$/.test(host) ? `write https://${host}/… and name its token under forges: in config.yaml` : INSTEAD,
    );
  }
  if (protocol === 'file')
    return refused('this is a repository of this machine', 'name its folder with --workspace DIR');
  if (protocol !== 'https' && protocol !== 'http')
    return refused(`repositories are not reached through ${shown(`${protocol}://`)}`, INSTEAD);
  if (authority.includes('@')) {
    return refused(
      'an address with a user or a password in it ends up in records and on screens',
      'leave out what is before the @, and name the token under forges: in config.yaml',
    );
  }
  return withParts(protocol, authority, rest);
}

function refuseOther(text: string): Parsed<RemoteName> {
  const helper = /^([a-z][a-z0-9-]*)::/i.exec(text)?.[1];
  if (helper !== undefined)
    return refused(`${shown(`${helper}::`)} would run a program of git's on this side`, INSTEAD);
  if (/^[^/\s]*@[^/\s:]+:/.test(text)) {
    const [, host = '', path = ''] = /@([^/\s:]+):(.*)$/s.exec(text) ?? [];
    return refused(
      'a repository is not reached through ssh, whose keys open more than one repository',
      /^[\w.-]+$/.test(host) && /^[\w./~-]+$/.test(path)
        ? `write https://${host}/${path.replace(/^\/+/, '')}`
        : INSTEAD,
    );
  }
  return text.includes('@')
    ? refused('this is not the address of a repository', INSTEAD)
    : refused(
        `${shown(text)} is not the address of a remote repository`,
        `${INSTEAD}; for a folder use --workspace DIR`,
      );
}

function withParts(scheme: 'https' | 'http', authority: string, rest: string): Parsed<RemoteName> {
  const [, name = '', digits] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(authority) ?? [];
  const host = canonicalHost(name);
  if (!host.ok) return refused(host.message, INSTEAD);
  if (isNoHost(host.value)) return refused(`${shown(name)} means every address of a machine, not a host`, INSTEAD);
  const usual = scheme === 'https' ? 443 : 80;
  const port = digits === undefined || digits === '' ? parsed(usual) : parsePort(digits);
  if (!port.ok) return port;
  const path = rest.replace(/\/$/, '');
  if (/[?#]/.test(path)) return refused('the address of a repository has no ? and no #', INSTEAD);
  // `%2e`, `//` and `..` read as one path here and as another there.
  if (!/^(\/[A-Za-z0-9._~+@-]+)+$/.test(path) || path.split('/').some((part) => part === '.' || part === '..'))
    return refused(`${shown(path === '' ? '/' : path)} is no path of a repository`, INSTEAD);
  const short = path.replace(/\.git$/, '');
  if (short.endsWith('/')) return refused(`${shown(path)} is no path of a repository`, INSTEAD);
  const identity = ONE_CASE.has(host.value) ? short.toLowerCase() : short;
  const place = port.value === usual ? host.value : `${host.value}:${port.value}`;
  return parsed({ name: `${place}${identity}`, scheme, host: host.value, port: port.value, path });
}
