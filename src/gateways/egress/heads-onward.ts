/** Heads as they are sent on: written anew from what was parsed and judged, and never copied. */
import type { Framing, Header, RequestHead, ResponseHead } from './head.ts';
import { hostHeader, type RequestTarget } from './target.ts';

/** Headers that speak of one connection (RFC 9110 §7.6.1), and those that are written anew from what was parsed. */
const HOP = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'content-length',
  'upgrade',
  'host',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'proxy-authentication-info',
]);
/** What goes on from host to host; the rest is of this connection. */
export function endToEnd(headers: readonly Header[]): Header[] {
  return headers.filter(({ lower }) => !HOP.has(lower));
}

/** As it is asked for again in a replay. */
export function urlOf(scheme: 'http' | 'https', target: RequestTarget, path: string): string {
  const query = target.query === null ? '' : `?${target.query}`;
  return `${scheme}://${hostHeader(target, scheme === 'http' ? 80 : 443)}${path}${query}`;
}

export function requestBytes(
  scheme: 'http' | 'https',
  head: RequestHead,
  headers: readonly Header[],
  target: RequestTarget,
  path: string,
): Buffer {
  const query = target.query === null ? '' : `?${target.query}`;
  let text = `${head.method} ${path}${query} HTTP/1.1\r\nHost: ${hostHeader(target, scheme === 'http' ? 80 : 443)}\r\n`;
  for (const header of headers) text += `${header.name}: ${header.value}\r\n`;
  text += framingLine(head.framing);
  if (head.upgrade !== null) text += 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
  return Buffer.from(`${text}\r\n`, 'latin1');
}

/** `keepAlive`: whether the guest may ask again on this connection. */
export function responseBytes(response: ResponseHead, keepAlive: boolean): Buffer {
  let text = `HTTP/1.1 ${response.status} ${response.reason}\r\n`;
  for (const header of response.headers) {
    // A response without a body still says how long the one of a GET would be.
    const stated =
      header.lower === 'content-length' &&
      response.framing.kind === 'none' &&
      response.status >= 200 &&
      response.status !== 204;
    if (!HOP.has(header.lower) || stated) text += `${header.name}: ${header.value}\r\n`;
  }
  text += framingLine(response.framing);
  if (response.status === 101) text += 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
  else if (response.status >= 200 && !keepAlive) text += 'Connection: close\r\n';
  return Buffer.from(`${text}\r\n`, 'latin1');
}

function framingLine(framing: Framing): string {
  if (framing.kind === 'length') return `Content-Length: ${framing.length}\r\n`;
  return framing.kind === 'chunked' ? 'Transfer-Encoding: chunked\r\n' : '';
}
