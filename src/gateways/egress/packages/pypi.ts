import { canonicalPackage, canonicalVersion } from '../../../policy/index.ts';
import { pathOf } from './npm.ts';
import type { Asked } from './recognise.ts';

/**
 * PyPI's registry, below any path:
 *
 *   /[base/]simple/name/           the index (PEP 503, 691), HTML or JSON by `Accept`; `+simple` in devpi
 *   /[base/]pypi/name/json         what Warehouse says of a project, or of one version (/pypi/name/1.0/json)
 *   …/name-1.0-py3-none-any.whl    files, anywhere, also on another host (PEP 427, 625; older names as they come)
 *   …/name-1.0.tar.gz              and with `.metadata` after a wheel's name its metadata (PEP 658)
 */
const SDIST = /\.(?:tar\.gz|zip)$/;

export function pypiFile(segments: readonly string[]): Asked | null {
  const last = segments.at(-1) ?? '';
  const metadata = last.endsWith('.whl.metadata') || /\.tar\.gz\.metadata$/.test(last);
  const file = metadata ? last.slice(0, -'.metadata'.length) : last;
  const parts = file.endsWith('.whl') ? wheelParts(file) : SDIST.test(file) ? sdistParts(file) : null;
  if (parts === null) return null;
  const base = pathOf(segments.slice(0, -1));
  return { kind: metadata ? 'metadata' : 'file', ecosystem: 'pypi', ...parts, base, key: file };
}

/** `{distribution}-{version}(-{build})?-{python}-{abi}-{platform}.whl` */
function wheelParts(file: string): { name: string; version: string } | null {
  const parts = file.slice(0, -'.whl'.length).split('-');
  if (parts.length !== 5 && parts.length !== 6) return null;
  if (parts.length === 6 && !/^\d/.test(parts[2] ?? '')) return null;
  // A wheel's name writes `-` as `_`; in a version only a local part or a post-release can hold one.
  return canonical(parts[0] ?? '', parts[1] ?? '');
}

/** `{name}-{version}.tar.gz`. Old names hold `-` themselves: where more than one reading has a version, there is none. */
function sdistParts(file: string): { name: string; version: string } | null {
  const stem = file.replace(SDIST, '');
  const readings: { name: string; version: string }[] = [];
  for (let at = stem.indexOf('-'); at !== -1; at = stem.indexOf('-', at + 1)) {
    const reading = canonical(stem.slice(0, at), stem.slice(at + 1));
    if (reading !== null) readings.push(reading);
    if (readings.length > 1) return null;
  }
  return readings[0] ?? null;
}

function canonical(name: string, version: string): { name: string; version: string } | null {
  const [project, release] = [canonicalPackage('pypi', name), canonicalVersion('pypi', version)];
  return project.ok && release.ok ? { name: project.value, version: release.value } : null;
}

export function pypiIndex(segments: readonly string[]): Asked | null {
  const path = segments.at(-1) === '' ? segments.slice(0, -1) : segments;
  const at = path.findLastIndex((segment) => segment === 'simple' || segment === '+simple');
  if (at !== -1 && at === path.length - 2) return index(path[at + 1] ?? '', pathOf(path.slice(0, at + 1)));
  const pypi = path.lastIndexOf('pypi');
  const rest = path.slice(pypi + 1);
  if (pypi === -1 || rest.at(-1) !== 'json' || rest.length < 2 || rest.length > 3) return null;
  return index(rest[0] ?? '', `${pathOf(path.slice(0, pypi))}/simple`);
}

/** `base` is that of the simple index. */
function index(text: string, base: string): Asked | null {
  const name = canonicalPackage('pypi', text);
  return name.ok ? { kind: 'index', ecosystem: 'pypi', name: name.value, base } : null;
}
