import { canonicalPackage, canonicalVersion } from '../../../policy/index.ts';
import type { Asked } from './recognise.ts';

/**
 * npm's registry, below any path:
 *
 *   /[base/]name                             the index ("packument"), full or abbreviated by `Accept`
 *   /[base/]@scope/name
 *   /[base/]name/1.2.3, /[base/]name/tag     one version's manifest
 *   /[base/]name/-/name-1.2.3.tgz            the files
 *   /[base/]@scope/name/-/name-1.2.3.tgz     (some registries: /-/@scope/name-1.2.3.tgz)
 *   /[base/]-/…                              services: search, audit, ping
 */
export function npmFile(segments: readonly string[]): Asked | null {
  const file = segments.at(-1) ?? '';
  const dash = segments.lastIndexOf('-');
  if (!file.endsWith('.tgz') || dash < 1) return null;
  const scope = segments[dash - 2]?.startsWith('@') ? segments[dash - 2] : undefined;
  const bare = segments[dash - 1] ?? '';
  const name = canonicalPackage('npm', scope === undefined ? bare : `${scope}/${bare}`);
  const between = segments.slice(dash + 1, -1);
  const sameScope = between.length === 0 || (between.length === 1 && between[0] === scope);
  if (!name.ok || !sameScope || !file.startsWith(`${bare}-`)) return null;
  const version = canonicalVersion('npm', file.slice(bare.length + 1, -'.tgz'.length));
  if (!version.ok) return null;
  const base = pathOf(segments.slice(0, dash - (scope === undefined ? 1 : 2)));
  return { kind: 'file', ecosystem: 'npm', name: name.value, version: version.value, base, key: version.value };
}

/** `speaks`: the request is one of an npm client, and so its last names are a package's. Scoped names speak for themselves. */
export function npmIndex(segments: readonly string[], speaks: boolean): Asked | null {
  if (segments.includes('-')) return null;
  const at = segments.findLastIndex((segment) => segment.startsWith('@'));
  if (at !== -1) return at >= segments.length - 3 ? indexOf(segments, at, 2) : null;
  if (!speaks) return null;
  const last = segments.at(-1) ?? '';
  const ofVersion = segments.length > 1 && (last === 'latest' || canonicalVersion('npm', last).ok);
  return indexOf(segments, segments.length - (ofVersion ? 2 : 1), 1);
}

function indexOf(segments: readonly string[], at: number, parts: number): Asked | null {
  const name = canonicalPackage('npm', segments.slice(at, at + parts).join('/'));
  if (!name.ok) return null;
  return { kind: 'index', ecosystem: 'npm', name: name.value, base: pathOf(segments.slice(0, at)) };
}

/** A path of decoded segments; what RFC 3986 §3.3 lets stand in one stands. */
export function pathOf(segments: readonly string[]): string {
  const escaped = (text: string) => text.replace(/[^\w.~!$&'()*+,;=:@-]+/g, encodeURIComponent);
  return segments.map((segment) => `/${escaped(segment)}`).join('');
}
