import { domainToUnicode } from 'node:url';
import { type Parsed, parsed, refused, shown } from './parsed.ts';

/**
 * Hosts: one canonical form for a name or address, and the patterns of `allowed_network_hosts`.
 * Form: lower-case ASCII (IDNA by the WHATWG URL standard, as every client that follows it does), no trailing dot;
 * IPv4 as dotted decimal whatever its spelling (`0x7f.1`, `2130706433`); IPv6 compressed and in brackets,
 * except mapped IPv4 (RFC 4291 §2.5.5.2), which is the IPv4 address it reaches.
 */
export function canonicalHost(text: string): Parsed<string> {
  const bare = text.includes(':') && !text.startsWith('[') ? `[${text}]` : text;
  if (bare === '' || bare.length > 512) return refused(`${shown(text)} is no host name`);
  // Whatever ends a host in some URL parser (`evil.com#.acme.example`, `a@b`, `a\b`, `%2e`) has no canonical form.
  if (/[\s/\\?#@%<>^|"'`{}\p{Cc}]/u.test(bare))
    return refused(`${shown(text)} holds a character that no host name has`);
  let host: string;
  try {
    host = new URL(`https://${bare}/`).hostname;
  } catch {
    return refused(`${shown(text)} is no host name`);
  }
  if (host.startsWith('[')) return parsed(mappedToV4(host));
  host = host.endsWith('.') ? host.slice(0, -1) : host;
  if (host === '' || host.length > 253) return refused(`${shown(text)} is no host name`);
  const bad = host.split('.').find((label) => !/^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
  if (bad !== undefined) return refused(`${shown(text)} is no host name: ${shown(bad)} is not a label of one`);
  // A label that says it is IDNA and does not decode reads as one thing here and as another there.
  if (host.includes('xn--') && domainToUnicode(host).includes('xn--')) {
    return refused(`${shown(text)} has a label that is no IDNA`);
  }
  // `1.2.3.4..` and alike: after the dot is gone it must still read as the same host.
  return isSettled(host) ? parsed(host) : refused(`${shown(text)} is no host name`);
}

function isSettled(host: string): boolean {
  try {
    return new URL(`https://${host}/`).hostname === host;
  } catch {
    return false;
  }
}

function mappedToV4(host: string): string {
  const match = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(host);
  if (match === null) return host;
  const high = Number.parseInt(match[1] ?? '', 16);
  const low = Number.parseInt(match[2] ?? '', 16);
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

export function isAddress(host: string): boolean {
  return host.startsWith('[') || /^\d+\.\d+\.\d+\.\d+$/.test(host);
}

/** The unspecified addresses (RFC 1122 §3.2.1.3, RFC 4291 §2.5.2): dialled, they are this machine. */
export function isNoHost(host: string): boolean {
  return host === '0.0.0.0' || host === '[::]';
}

/** A port from 1 to 65535 as written in decimal; nothing is cut to 16 bits. */
export function parsePort(text: string): Parsed<number> {
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535)
    return refused(`${shown(text)} is no port`, 'write one number from 1 to 65535; for two ports write two lines');
  return parsed(port);
}

export interface HostPattern {
  /** Canonical; with `wildcard`, every name that ends in `.` + this. */
  readonly host: string;
  readonly wildcard: boolean;
  readonly port: number;
}

export function hostPatternText(pattern: HostPattern): string {
  return `${pattern.wildcard ? '*.' : ''}${pattern.host}:${pattern.port}`;
}

export function matchHost(pattern: HostPattern, host: string, port: number): boolean {
  if (pattern.port !== port) return false;
  return pattern.wildcard ? host.endsWith(`.${pattern.host}`) && !isAddress(host) : host === pattern.host;
}

/** True when everything that `inner` matches is matched by `outer`. */
export function coversHost(outer: HostPattern, inner: HostPattern): boolean {
  if (outer.port !== inner.port) return false;
  if (!inner.wildcard) return matchHost(outer, inner.host, inner.port);
  return outer.wildcard && (outer.host === inner.host || inner.host.endsWith(`.${outer.host}`));
}

/** `host`, `host:port`, `*.host:port` as written in a policy; port 443 when none is given. */
export function parseHostPattern(text: string): Parsed<HostPattern> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)/i.exec(text);
  if (scheme !== null) {
    const port = scheme[1]?.toLowerCase() === 'http' ? 80 : 443;
    const host = scheme[2] ?? '';
    return refused(
      `${shown(text)} is a URL; a host is expected`,
      `write ${/:\d+$/.test(host) ? host : `${host}:${port}`}`,
    );
  }
  if (text.includes('/')) {
    return refused(
      `${shown(text)} has a path`,
      `write {host: ${text.split('/')[0]}, port: 443, paths: ["/${text.split('/').slice(1).join('/')}"]}`,
    );
  }
  if (/^\*+(:.*)?$/.test(text))
    return refused(
      `${shown(text)} would open every host`,
      'list the hosts that are needed, such as packages.acme.example:443',
    );
  const split = splitPort(text);
  if (!split.ok) return split;
  const { name, port } = split.value;
  const wildcard = name.startsWith('*.');
  const rest = wildcard ? name.slice(2) : name;
  if (rest.includes('*'))
    return refused(
      `${shown(text)} has a * that is not a leading \`*.\``,
      'write each host, or *.acme.example for all names below acme.example',
    );
  const host = canonicalHost(rest);
  if (!host.ok) return refused(host.message, 'write a host name such as packages.acme.example, optionally with :port');
  if (/[^\p{ASCII}]/u.test(rest))
    return refused(
      `${shown(text)} has letters outside ASCII, which look like others`,
      `write its ASCII form: ${wildcard ? '*.' : ''}${host.value}:${port}`,
    );
  if (isNoHost(host.value))
    return refused(
      `${shown(text)} means every address of a machine, not a host`,
      'write the one address or name that is needed',
    );
  const broad = wildcard ? tooBroad(host.value) : undefined;
  if (broad !== undefined)
    return refused(
      `${shown(text)} is too broad: ${broad}`,
      'write the names that are needed, or a * below a domain that one organisation holds',
    );
  return parsed({ host: host.value, wildcard, port });
}

function splitPort(text: string): Parsed<{ name: string; port: number }> {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(text);
  if (match === null)
    return refused(`${shown(text)} is no host`, 'write an IPv6 address in brackets: [2001:db8::1]:443');
  if (match[2] === undefined) return parsed({ name: match[1] ?? '', port: 443 });
  const port = parsePort(match[2]);
  return port.ok ? parsed({ name: match[1] ?? '', port: port.value }) : port;
}

/** Domains below which anybody can have a name. Not the whole public suffix list: what people would write by mistake. */
const SHARED = new Set(
  (
    'github.io githubusercontent.com gitlab.io herokuapp.com amazonaws.com s3.amazonaws.com cloudfront.net azurewebsites.net ' +
    'azureedge.net windows.net blob.core.windows.net cloudapp.net pages.dev workers.dev r2.dev trycloudflare.com vercel.app now.sh netlify.app web.app ' +
    'firebaseapp.com appspot.com run.app googleusercontent.com storage.googleapis.com blogspot.com ngrok.io ngrok-free.app ngrok.app ' +
    'onrender.com fly.dev deno.dev glitch.me repl.co replit.app surge.sh duckdns.org no-ip.org nip.io sslip.io readthedocs.io'
  ).split(' '),
);

function tooBroad(suffix: string): string | undefined {
  if (isAddress(suffix)) return 'an address has no names below it';
  const labels = suffix.split('.');
  if (labels.length < 2) return `everybody can have a name below ${suffix}`;
  if (SHARED.has(suffix)) return `everybody can have a name below ${suffix}`;
  const registry =
    labels.length === 2 &&
    labels[1]?.length === 2 &&
    /^(ac|co|com|edu|go|gob|gov|gv|mil|ne|net|or|org|nom|ltd|plc)$/.test(labels[0] ?? '');
  return registry ? `everybody can have a name below ${suffix}` : undefined;
}
