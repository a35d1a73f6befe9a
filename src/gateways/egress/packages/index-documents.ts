import { canonicalPackage } from '../../../policy/index.ts';
import { type Parsed, parsed, refused, shown } from '../../../policy/parsed.ts';
import type { Hash } from './digests.ts';

/** What an index says of one file. */
export interface IndexEntry {
  /** Milliseconds since the epoch; null where it does not say. */
  readonly published: number | null;
  readonly hash: Hash | null;
  /** As it stands there: perhaps relative to the index. */
  readonly url: string | null;
}

/** By version (npm), by the file's name (PyPI). */
export type IndexEntries = ReadonlyMap<string, IndexEntry>;

type Fields = Readonly<Record<string, unknown>>;

/** npm's packument. Only the full one has `time`. */
export function readPackument(text: string, name: string): Parsed<IndexEntries> {
  const document = readObject(text);
  if (document === null) return refused('an index that is no JSON');
  if (document.name !== name) return refused(`an index of ${shown(String(document.name))}`);
  const times = fieldsOf(document.time);
  const entries = new Map<string, IndexEntry>();
  for (const [version, value] of Object.entries(fieldsOf(document.versions))) {
    const dist = fieldsOf(fieldsOf(value).dist);
    entries.set(version, {
      published: readTime(times[version]),
      hash: readIntegrity(dist.integrity) ?? readHex('sha1', dist.shasum),
      url: readText(dist.tarball),
    });
  }
  return parsed(entries);
}

/** PEP 691, with PEP 700's `upload-time`. */
export function readSimpleJson(text: string, name: string): Parsed<IndexEntries> {
  const document = readObject(text);
  if (document === null) return refused('an index that is no JSON');
  const named = canonicalPackage('pypi', String(document.name));
  if (!named.ok || named.value !== name) return refused(`an index of ${shown(String(document.name))}`);
  const entries = new Map<string, IndexEntry>();
  for (const value of Array.isArray(document.files) ? document.files : []) {
    const file = fieldsOf(value);
    if (typeof file.filename !== 'string') continue;
    entries.set(file.filename, {
      published: readTime(file['upload-time']),
      hash: readHex('sha256', fieldsOf(file.hashes).sha256),
      url: readText(file.url),
    });
  }
  return parsed(entries);
}

/** PEP 503: anchors, the hash in the fragment of each. It says no times. */
export function readSimpleHtml(text: string): Parsed<IndexEntries> {
  const entries = new Map<string, IndexEntry>();
  // Cut by hand: a pattern over the whole would take quadratic time on a page of `<a<a<a`.
  for (const piece of text.split(/<a\s/i).slice(1)) {
    const end = piece.indexOf('>');
    const href = /(?:^|\s)href\s*=\s*(?:"([^"]*)"|'([^']*)')/i.exec(piece.slice(0, Math.max(0, end)));
    const name = piece.slice(end + 1, piece.indexOf('<', end + 1)).trim();
    if (href === null || end === -1 || name === '') continue;
    const [url = '', fragment = ''] = unescaped(href[1] ?? href[2] ?? '').split('#');
    const sha256 = /(?:^|&)sha256=([0-9a-f]{64})/i.exec(fragment)?.[1];
    entries.set(unescaped(name), { published: null, hash: readHex('sha256', sha256), url });
  }
  return parsed(entries);
}

function unescaped(text: string): string {
  return text.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}

/** `/pypi/NAME/json`, as Warehouse has it: times for registries whose simple index has none. */
export function readWarehouse(text: string, name: string): Parsed<IndexEntries> {
  const document = readObject(text);
  if (document === null) return refused('an index that is no JSON');
  const named = canonicalPackage('pypi', String(fieldsOf(document.info).name));
  if (!named.ok || named.value !== name) return refused('an index of another project');
  const entries = new Map<string, IndexEntry>();
  for (const value of Object.values(fieldsOf(document.releases)).flat()) {
    const file = fieldsOf(value);
    if (typeof file.filename !== 'string') continue;
    entries.set(file.filename, {
      published: readTime(file.upload_time_iso_8601),
      hash: readHex('sha256', fieldsOf(file.digests).sha256),
      url: readText(file.url),
    });
  }
  return parsed(entries);
}

function readObject(text: string): Fields | null {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Fields) : null;
  } catch {
    return null;
  }
}

function fieldsOf(value: unknown): Fields {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Fields) : {};
}

function readText(value: unknown): string | null {
  return typeof value === 'string' && value.length <= 8192 ? value : null;
}

/** RFC 3339; what has no zone is UTC, as Warehouse's old times are. */
function readTime(value: unknown): number | null {
  if (typeof value !== 'string') return null;
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?)(Z|[+-]\d\d:\d\d)?$/.exec(value);
  const time = match === null ? Number.NaN : Date.parse(`${match[1]}${match[2] ?? 'Z'}`);
  return Number.isNaN(time) ? null : time;
}

/** The strongest of a subresource integrity that is known here. */
function readIntegrity(value: unknown): Hash | null {
  if (typeof value !== 'string' || value.length > 4096) return null;
  const hashes = value.split(/\s+/).flatMap((each): Hash[] => {
    const match = /^(sha512|sha256|sha1)-([A-Za-z0-9+/]+={0,2})(?:\?.*)?$/.exec(each);
    return match === null ? [] : [{ algorithm: match[1] as Hash['algorithm'], base64: match[2] ?? '' }];
  });
  return (
    hashes.find(({ algorithm }) => algorithm === 'sha512') ??
    hashes.find(({ algorithm }) => algorithm === 'sha256') ??
    hashes[0] ??
    null
  );
}

function readHex(algorithm: Hash['algorithm'], value: unknown): Hash | null {
  const fits =
    typeof value === 'string' && new RegExp(`^[0-9a-f]{${algorithm === 'sha1' ? 40 : 64}}$`, 'i').test(value);
  return fits ? { algorithm, base64: Buffer.from(value, 'hex').toString('base64') } : null;
}
