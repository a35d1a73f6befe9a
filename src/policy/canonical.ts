import type { GitPushAction, PolicyAction } from './action.ts';
import { canonicalCommandPath } from './commands.ts';
import { canonicalRef } from './git-refs.ts';
import { canonicalHost, isNoHost } from './hosts.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';
import { canonicalPath } from './paths.ts';
import { canonicalRequestPath } from './request-paths.ts';

/** Callers hand over canonical values; what is not is denied here, so that no caller's mistake is a way through. */
export function checkCanonical(action: PolicyAction): Parsed<unknown> {
  switch (action.action) {
    case 'net.connect':
    case 'net.request':
      return checkTarget(action);
    case 'git.push':
      return checkPush(action);
    case 'git.fetch':
      return canonicalRef(action.ref);
    case 'secret.use':
      return sameHost(action.host);
    case 'file.read':
    case 'file.write':
      return canonicalPath(action.path);
    case 'command.execute':
      return canonicalCommandPath(action.path);
    default:
      return parsed(undefined);
  }
}

const PLAIN_HOST = /^(?=.{1,253}$)(?:[a-z_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;

function checkTarget(action: PolicyAction & { host: string; port: number }): Parsed<unknown> {
  // Parsing a URL costs microseconds: plain names are known at sight (no xn--, no digits that could be an address).
  if (!PLAIN_HOST.test(action.host) || action.host.includes('xn--')) {
    const host = sameHost(action.host);
    if (!host.ok) return host;
  }
  if (!Number.isInteger(action.port) || action.port < 1 || action.port > 65_535)
    return refused(`${action.port} is no port`);
  if (action.action !== 'net.request') return parsed(undefined);
  if (!/^[A-Z]{1,20}$/.test(action.method))
    return refused(`the method ${shown(action.method)} is not in canonical form`);
  const path = canonicalRequestPath(action.path);
  return path.ok && path.value !== action.path
    ? refused(`the request path ${shown(action.path)} is not in canonical form`)
    : path;
}

function sameHost(text: string): Parsed<unknown> {
  const host = canonicalHost(text);
  if (!host.ok || host.value !== text) return refused(`the host ${shown(text)} is not in canonical form`);
  return isNoHost(host.value) ? refused(`${text} is no address of a host`) : host;
}

function checkPush(action: GitPushAction): Parsed<unknown> {
  const ref = canonicalRef(action.ref);
  if (!ref.ok) return ref;
  if (action.tag !== action.ref.startsWith('refs/tags/'))
    return refused(`the push to ${action.ref} is marked wrongly as ${action.tag ? 'a tag' : 'a branch'}`);
  for (const number of [action.changedLines, action.largestFile, action.commits]) {
    if (!Number.isSafeInteger(number) || number < 0) return refused(`${number} is no count`);
  }
  for (const path of [...action.changedPaths, ...(action.binaries ?? [])]) {
    const result = canonicalPath(path);
    if (!result.ok) return result;
  }
  return parsed(undefined);
}
