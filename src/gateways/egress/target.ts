import { canonicalHost, parsePort } from '../../policy/hosts.ts';
import { type Parsed, parsed, refused, shown } from '../../policy/parsed.ts';
import { canonicalRequestPath } from '../../policy/request-paths.ts';

/** Where a request goes, in the one form that is decided upon, dialled, sent and logged. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

export interface RequestTarget extends Target {
  /** As sent, the query without its `?` apart; `query` is null where there was none. */
  readonly path: string;
  readonly query: string | null;
}

/** `host`, `host:port`, `[v6]:port`; no user, no empty port, nothing after it. Without `defaultPort` the port is needed. */
export function parseAuthority(text: string, defaultPort?: number): Parsed<Target> {
  const match = /^(\[[^\]]*\]|[^:[\]]+)(?::(.*))?$/.exec(text);
  if (match === null) return refused(`${shown(text)} is no host with a port`);
  if (match[2] === undefined && defaultPort === undefined)
    return refused(`${shown(text)} has no port`, `write ${text}:443`);
  const host = canonicalHost(match[1] ?? '');
  if (!host.ok) return host;
  const port = match[2] === undefined ? parsed(defaultPort ?? 0) : parsePort(match[2]);
  return port.ok ? parsed({ host: host.value, port: port.value }) : port;
}

/** RFC 9112 §3.2.2, for a proxy. `https` inside of it would mean that the proxy holds the plain text. */
export function parseAbsoluteForm(text: string): Parsed<RequestTarget> {
  const match = /^http:\/\/([^/?#]*)([^#]*)$/i.exec(text);
  if (match === null)
    return refused(
      `${shown(text)} is not what a proxy is asked for`,
      'ask for http://HOST/PATH, or CONNECT HOST:443 for https',
    );
  const authority = parseAuthority(match[1] ?? '', 80);
  if (!authority.ok) return authority;
  const rest = match[2] ?? '';
  return parsed({ ...authority.value, ...splitQuery(rest.startsWith('/') ? rest : `/${rest}`) });
}

/** RFC 9112 §3.2.1. */
export function parseOriginForm(text: string): Parsed<{ path: string; query: string | null }> {
  if (!text.startsWith('/') || text.includes('#')) return refused(`${shown(text)} is not a path of this host`);
  return parsed(splitQuery(text));
}

function splitQuery(text: string): { path: string; query: string | null } {
  const at = text.indexOf('?');
  return at === -1 ? { path: text, query: null } : { path: text.slice(0, at), query: text.slice(at + 1) };
}

/**
 * The path of a request that is judged. npm asks for `/@scope%2fname`, or for it below the registry's own path, which
 * registries read as `/@scope/name`: judged,
 * sent and logged as the latter. Any other escaped separator stays refused.
 */
export function judgedPath(path: string): Parsed<string> {
  const scoped = /^((?:\/[^/%]+)*)\/(?:@|%40)([a-z0-9-_~][a-z0-9-._~]*)%2f([a-z0-9-_~][a-z0-9-._~]*)((?:\/.*)?)$/i.exec(
    path,
  );
  return canonicalRequestPath(scoped === null ? path : `${scoped[1]}/@${scoped[2]}/${scoped[3]}${scoped[4]}`);
}

export function hostHeader(target: Target, defaultPort: number): string {
  return target.port === defaultPort ? target.host : `${target.host}:${target.port}`;
}
