import { type Parsed, parsed, refused, shown } from '../../policy/parsed.ts';

/**
 * Heads of HTTP/1.1 messages (RFC 9112 §2–6), read strictly. Two parsers that differ on one byte are how a second
 * request is hidden behind the first, so whatever the standard lets a recipient be lenient about is refused here: line
 * ends other than CRLF, folded lines, space before a colon, two lengths, and names that some servers read as another's.
 */
export interface Header {
  /** As sent. */
  readonly name: string;
  readonly lower: string;
  readonly value: string;
}

export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  /** Until the connection ends; responses only. */
  | { readonly kind: 'close' };

export interface RequestHead {
  readonly method: string;
  readonly target: string;
  readonly minor: 0 | 1;
  readonly headers: readonly Header[];
  readonly framing: Framing;
  /** Null only for a CONNECT of HTTP/1.0, which has none. */
  readonly host: string | null;
  readonly keepAlive: boolean;
  readonly upgrade: 'websocket' | null;
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly headers: readonly Header[];
  readonly framing: Framing;
  readonly keepAlive: boolean;
}

/** Bytes of a head, its end included. */
export const HEAD_LIMIT = 32 * 1024;
const MAX_HEADERS = 128;
const REQUEST_LINE = /^([A-Z]{1,20}) ([\x21-\x7e]{1,16384}) HTTP\/1\.([01])$/;
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
const NO_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
/** Names on which a message's end or its addressee hangs: once at most, and in no spelling a gateway script may fold (`_` for `-`). */
const SINGLE = new Set(['host', 'content-length', 'transfer-encoding', 'upgrade', 'expect']);
const CONNECTION_OPTIONS = new Set(['close', 'keep-alive', 'upgrade', 'te']);

/** A head as it stood before its empty line, CRLFCRLF included. */
export function parseRequestHead(bytes: Buffer): Parsed<RequestHead> {
  const lines = readLines(bytes);
  if (!lines.ok) return lines;
  const match = REQUEST_LINE.exec(lines.value[0] ?? '');
  if (match === null) return refused(`${shown(lines.value[0] ?? '')} is no request line of HTTP/1.1`);
  const [, method = '', target = '', minorText] = match;
  const minor = minorText === '1' ? 1 : 0;
  if (minor === 0 && method !== 'CONNECT') return refused('HTTP/1.0 is not spoken here', 'use HTTP/1.1');
  const fields = readHeaders(lines.value);
  if (!fields.ok) return fields;
  const headers = fields.value;
  const host = headerValue(headers, 'host');
  if (host === null && minor === 1) return refused('a request of HTTP/1.1 without Host');
  const framing = requestFraming(headers, minor);
  if (!framing.ok) return framing;
  if (method === 'CONNECT' && framing.value.kind !== 'none') return refused('a CONNECT with a body');
  if (method === 'TRACE' && framing.value.kind !== 'none') return refused('a TRACE with a body');
  const expect = headerValue(headers, 'expect');
  if (expect !== null && expect.toLowerCase() !== '100-continue') return refused(`expectation ${shown(expect)}`);
  const options = connectionOptions(headers);
  if (!options.ok) return options;
  const upgrade = upgradeOf(headers, options.value);
  if (!upgrade.ok) return upgrade;
  const keepAlive = minor === 1 && !options.value.includes('close');
  return parsed({ method, target, minor, headers, framing: framing.value, host, keepAlive, upgrade: upgrade.value });
}

export function parseResponseHead(bytes: Buffer, method: string): Parsed<ResponseHead> {
  const lines = readLines(bytes);
  if (!lines.ok) return lines;
  const match = STATUS_LINE.exec(lines.value[0] ?? '');
  if (match === null) return refused(`${shown(lines.value[0] ?? '')} is no status line of HTTP/1.1`);
  const minor = match[1] === '1' ? 1 : 0;
  const status = Number(match[2]);
  const fields = readHeaders(lines.value);
  if (!fields.ok) return fields;
  const framing = responseFraming(fields.value, status, method, minor);
  if (!framing.ok) return framing;
  const options = (headerValue(fields.value, 'connection') ?? '').toLowerCase();
  const keepAlive = minor === 1 && !/(^|[\s,])close($|[\s,])/.test(options) && framing.value.kind !== 'close';
  return parsed({ status, reason: match[3] ?? '', headers: fields.value, framing: framing.value, keepAlive });
}

/** True when bytes that are no whole head yet can never become one: seen at once, not at the time limit. */
export function hasBareLineEnd(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) if (bytes[at - 1] !== 13) return true;
  return false;
}

function readLines(bytes: Buffer): Parsed<string[]> {
  const lines = bytes.toString('latin1', 0, bytes.length - 4).split('\r\n');
  if (lines.some((line) => /[\r\n\0]/.test(line))) return refused('a line that does not end in CRLF');
  return lines.length > MAX_HEADERS + 1 ? refused(`more than ${MAX_HEADERS} header lines`) : parsed(lines);
}

function readHeaders(lines: readonly string[]): Parsed<Header[]> {
  const headers: Header[] = [];
  const seen = new Set<string>();
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i] ?? '';
    if (line.startsWith(' ') || line.startsWith('\t')) return refused('a folded header line');
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon));
    if (!TOKEN.test(name)) return refused(`${shown(line)} is no header line`);
    const value = trim(line.slice(colon + 1));
    const lower = name.toLowerCase();
    if (NO_VALUE.test(value)) return refused(`the header ${shown(name)} holds a control character`);
    const meant = lower.replaceAll('_', '-');
    if (SINGLE.has(meant)) {
      if (meant !== lower) return refused(`the header ${shown(name)} reads as ${meant} in places`);
      if (seen.has(lower)) return refused(`two ${lower} headers`);
      seen.add(lower);
    }
    headers.push({ name, lower, value });
  }
  return parsed(headers);
}

/** By hand: `[ \t]*$` in a pattern takes quadratic time on a line of blanks. */
function trim(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

const isBlank = (code: number) => code === 32 || code === 9;

export function headerValue(headers: readonly Header[], lower: string): string | null {
  const values = headers.filter((header) => header.lower === lower);
  return values.length === 0 ? null : values.map((header) => header.value).join(', ');
}

function requestFraming(headers: readonly Header[], minor: 0 | 1): Parsed<Framing> {
  const framing = statedFraming(headers, minor);
  return framing.ok ? parsed(framing.value ?? { kind: 'none' }) : framing;
}

/** RFC 9112 §6.3: the order in which a response's length is found. */
function responseFraming(headers: readonly Header[], status: number, method: string, minor: 0 | 1): Parsed<Framing> {
  const stated = statedFraming(headers, minor);
  if (!stated.ok) return stated;
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return parsed({ kind: 'none' });
  return parsed(stated.value ?? { kind: 'close' });
}

function statedFraming(headers: readonly Header[], minor: 0 | 1): Parsed<Framing | null> {
  const coding = headerValue(headers, 'transfer-encoding');
  const length = headerValue(headers, 'content-length');
  if (coding !== null && length !== null) return refused('both Content-Length and Transfer-Encoding');
  if (coding !== null) {
    if (minor === 0) return refused('Transfer-Encoding in HTTP/1.0');
    return coding.toLowerCase() === 'chunked'
      ? parsed({ kind: 'chunked' })
      : refused(`the transfer coding ${shown(coding)}`, 'use chunked');
  }
  if (length === null) return parsed(null);
  if (!/^(0|[1-9]\d{0,14})$/.test(length)) return refused(`the Content-Length ${shown(length)}`);
  return parsed({ kind: 'length', length: Number(length) });
}

/** `Connection: host` would have the next server drop what this one judged by: only names without that power. */
function connectionOptions(headers: readonly Header[]): Parsed<readonly string[]> {
  const text = headerValue(headers, 'connection');
  if (text === null) return parsed([]);
  const options = text.split(',').map((option) => trim(option).toLowerCase());
  const odd = options.find((option) => !CONNECTION_OPTIONS.has(option));
  return odd === undefined ? parsed(options) : refused(`the connection option ${shown(odd)}`);
}

/** An upgrade ends the judging of requests: only WebSocket (RFC 6455 §4.1) is known, and h2c is how path rules are escaped. */
function upgradeOf(headers: readonly Header[], options: readonly string[]): Parsed<'websocket' | null> {
  const upgrade = headerValue(headers, 'upgrade');
  if (headerValue(headers, 'http2-settings') !== null) return refused('an upgrade to HTTP/2');
  if (upgrade === null && !options.includes('upgrade')) return parsed(null);
  if (upgrade?.toLowerCase() !== 'websocket' || !options.includes('upgrade'))
    return refused(`an upgrade to ${shown(upgrade ?? 'nothing')}`);
  return parsed('websocket');
}
