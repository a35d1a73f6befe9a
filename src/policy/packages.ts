import { matchSegment } from './globs.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';

/**
 * Packages: one canonical name and version for each ecosystem, and the patterns of `dependencies.allow` and `deny`.
 * npm: names keep their case, because old ones that differ in it are different packages; versions are SemVer 2.
 * PyPI: names by PEP 503 (lower case, runs of `-_.` are one `-`), versions by PEP 440.
 */
export type Ecosystem = 'npm' | 'pypi';

export interface PackageName {
  readonly ecosystem: Ecosystem;
  /** Canonical. */
  readonly name: string;
}

const NPM_NAME = /^(?:@[a-z0-9~_-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/i;
const PYPI_NAME = /^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$/i;

export function canonicalPackage(ecosystem: Ecosystem, text: string): Parsed<string> {
  const fits = text.length <= 214 && (ecosystem === 'npm' ? NPM_NAME : PYPI_NAME).test(text);
  if (!fits) return refused(`${shown(text)} is no name of a package of ${ecosystem}`);
  return parsed(ecosystem === 'npm' ? text : folded(text));
}

function folded(text: string): string {
  return text.toLowerCase().replace(/[-_.]+/g, '-');
}

export function canonicalVersion(ecosystem: Ecosystem, text: string): Parsed<string> {
  const version = text.length > 256 ? null : ecosystem === 'npm' ? semver(text) : pep440(text);
  return version === null
    ? refused(`${shown(text)} is no version of a package of ${ecosystem}`, 'write a whole version, such as 1.4.2')
    : parsed(version);
}

const SEMVER =
  /^(?:0|[1-9]\d{0,15})\.(?:0|[1-9]\d{0,15})\.(?:0|[1-9]\d{0,15})(?:-[0-9a-z-]+(?:\.[0-9a-z-]+)*)?(?:\+[0-9a-z-]+(?:\.[0-9a-z-]+)*)?$/i;

function semver(text: string): string | null {
  return SEMVER.test(text) ? text : null;
}

const PEP440 =
  /^v?(?:(\d{1,16})!)?(\d{1,16}(?:\.\d{1,16})*)(?:[-_.]?(alpha|a|beta|b|preview|pre|c|rc)[-_.]?(\d{1,16})?)?(?:-(\d{1,16})|[-_.]?(post|rev|r)[-_.]?(\d{1,16})?)?(?:[-_.]?(dev)[-_.]?(\d{1,16})?)?(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?$/;
const PRE: Readonly<Record<string, string>> = { alpha: 'a', beta: 'b', preview: 'rc', pre: 'rc', c: 'rc' };

/** The normal form of PEP 440, "Normalization". */
function pep440(text: string): string | null {
  const match = PEP440.exec(text.toLowerCase());
  if (match === null) return null;
  const [, epoch, release = '', pre, preNumber, implicitPost, post, postNumber, dev, devNumber, local] = match;
  let version = release.split('.').map(whole).join('.');
  if (epoch !== undefined && whole(epoch) !== '0') version = `${whole(epoch)}!${version}`;
  if (pre !== undefined) version += `${PRE[pre] ?? pre}${whole(preNumber)}`;
  if (implicitPost !== undefined || post !== undefined) version += `.post${whole(implicitPost ?? postNumber)}`;
  if (dev !== undefined) version += `.dev${whole(devNumber)}`;
  if (local === undefined) return version;
  const parts = local.split(/[-_.]/).map((part) => (/^\d+$/.test(part) ? whole(part) : part));
  return `${version}+${parts.join('.')}`;
}

function whole(digits: string | undefined): string {
  return (digits ?? '0').replace(/^0+(?=\d)/, '');
}

/** True for two canonical versions that are one release: `1.0` and `1.0.0` of PyPI. */
export function sameVersion(ecosystem: Ecosystem, a: string, b: string): boolean {
  if (ecosystem === 'npm') return a.replace(/\+.*$/, '') === b.replace(/\+.*$/, '');
  return trimmed(a) === trimmed(b);
}

function trimmed(version: string): string {
  const match = /^((?:\d+!)?\d+(?:\.\d+)*)(.*)$/.exec(version);
  return match === null ? version : `${(match[1] ?? '').replace(/(?:\.0)+$/, '')}${match[2]}`;
}

/** An entry of `dependencies.allow` or `deny`. */
export interface PackagePattern {
  /** As written. */
  readonly text: string;
  /** Null: of every ecosystem that has such names. */
  readonly ecosystem: Ecosystem | null;
  /** A name, or one with `*` and `?` within its parts. `*` alone stands for all of the ecosystem. */
  readonly name: string;
  /** Null: every version. */
  readonly version: string | null;
}

/** `lodash`, `@acme/*`, `left-pad@1.3.0`, `npm:lodash`, `pypi:acme-*`, `pypi:*`. */
export function parsePackagePattern(text: string): Parsed<PackagePattern> {
  const match = /^(?:(npm|pypi):)?(@?[^@\s]+)(?:@(\S+))?$/.exec(text);
  if (match === null)
    return refused(
      `${shown(text)} is no package`,
      'write a name such as lodash, @acme/*, pypi:requests, left-pad@1.3.0',
    );
  const [, prefix, name = '', version] = match;
  const ecosystem = (prefix as Ecosystem | undefined) ?? (name.startsWith('@') ? 'npm' : null);
  if (/^[*?]+$/.test(name) && prefix === undefined)
    return refused(`${shown(text)} would take every package`, 'write npm:* or pypi:*, or leave the list out');
  const sample = name.replace(/[*?]/g, 'x');
  const fits = (['npm', 'pypi'] as const).some(
    (each) => (ecosystem ?? each) === each && canonicalPackage(each, sample).ok,
  );
  if (!fits) return refused(`${shown(name)} is no name of a package`, 'write a name such as lodash or @acme/*');
  if (version === undefined) return parsed({ text, ecosystem, name, version: null });
  const known = (['npm', 'pypi'] as const).find(
    (each) => (ecosystem ?? each) === each && canonicalVersion(each, version).ok,
  );
  if (known === undefined)
    return refused(
      `${shown(version)} is no version`,
      'write one version whole, such as 1.3.0; there are no ranges here',
    );
  return parsed({ text, ecosystem, name, version });
}

/**
 * `version` null asks about the package as a whole, which a pattern with a version does not speak of. `loose` looks past
 * letter case, so that a denial does not hang on it.
 */
export function matchPackage(
  pattern: PackagePattern,
  { ecosystem, name }: PackageName,
  version: string | null,
  loose = false,
): boolean {
  if (pattern.ecosystem !== null && pattern.ecosystem !== ecosystem) return false;
  if (pattern.version !== null) {
    const stated = version === null ? null : canonicalVersion(ecosystem, pattern.version);
    if (version === null || stated === null || !stated.ok || !sameVersion(ecosystem, stated.value, version))
      return false;
  }
  if (pattern.name === '*') return true;
  const form = (text: string) => (ecosystem === 'pypi' ? folded(text) : loose ? text.toLowerCase() : text);
  const [wanted, given] = [form(pattern.name).split('/'), form(name).split('/')];
  return wanted.length === given.length && wanted.every((part, i) => matchSegment(part, given[i] ?? ''));
}
