import type { Header } from './head.ts';

/**
 * Headers by which some servers and frameworks take a request for another than its line says, behind a rule that judged the line:
 * another method, another path, another host behind the same front (`Forwarded` and its like are believed by whoever expects a
 * proxy in front of it), or a second path that the request writes to (`Destination` of WebDAV's COPY and MOVE, RFC 4918 §10.3).
 */
const OVERRIDES = new Set([
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-original-method',
  'x-forwarded-method',
  'x-original-url',
  'x-original-uri',
  'x-rewrite-url',
  'x-forwarded-uri',
  'x-forwarded-path',
  'x-forwarded-prefix',
  'x-envoy-original-path',
  'forwarded',
  'x-forwarded-host',
  'x-forwarded-server',
  'x-forwarded-port',
  'x-original-host',
  'x-http-host-override',
  'x-host',
  'destination',
]);

/** The first of them; null when there is none. Where methods or paths are judged, what was judged is all that the host is told. */
export function overrideIn(headers: readonly Header[]): string | null {
  // `_` for `-`: gateway scripts read them as one.
  return headers.find(({ lower }) => OVERRIDES.has(lower.replaceAll('_', '-')))?.lower ?? null;
}
