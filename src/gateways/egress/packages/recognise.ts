import type { Ecosystem } from '../../../policy/index.ts';
import { type Header, headerValue } from '../head.ts';
import { npmFile, npmIndex } from './npm.ts';
import { pypiFile, pypiIndex } from './pypi.ts';

/** What a request to a registry asks for, as its path says. */
export type Asked =
  | {
      /** `metadata`: of a file, beside it. */
      readonly kind: 'file' | 'metadata';
      readonly ecosystem: Ecosystem;
      readonly name: string;
      readonly version: string;
      /** Path of the registry (npm), or of the file's folder (PyPI). No slash at its end. */
      readonly base: string;
      /** What the index knows it by: its version (npm), its file's name (PyPI). */
      readonly key: string;
    }
  | {
      readonly kind: 'index';
      readonly ecosystem: Ecosystem;
      readonly name: string;
      readonly base: string;
    }
  /** An archive that no registry's rules name. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'other' };

export type AskedFile = Extract<Asked, { kind: 'file' | 'metadata' }>;

const ARCHIVE = /\.(?:tgz|whl|egg|zip|rpm|exe|msi|t?xz|tbz2?|tar(?:\.[a-z0-9]+)?|metadata)$/i;
const READING = new Set(['GET', 'HEAD']);

/** `path`: canonical, so it has no escaped separators, no empty and no dot segments. */
export function recognise(method: string, path: string, headers: readonly Header[]): Asked {
  if (!READING.has(method)) return { kind: 'other' };
  let segments: string[];
  try {
    segments = path.slice(1).split('/').map(decodeURIComponent);
  } catch {
    return { kind: 'unknown' }; // escapes that are no UTF-8
  }
  const file = npmFile(segments) ?? pypiFile(segments);
  if (file !== null) return file;
  if (ARCHIVE.test(plainName(segments))) return { kind: 'unknown' };
  return pypiIndex(segments) ?? npmIndex(segments, speaksNpm(headers)) ?? { kind: 'other' };
}

/** The last name as servers may read it: without parameters (`x.tgz;a=b`), a slash, or blanks behind it. */
function plainName(segments: readonly string[]): string {
  const last = segments.findLast((segment) => segment !== '') ?? '';
  return (last.split(';')[0] ?? '').trim().replace(/\.+$/, '');
}

function speaksNpm(headers: readonly Header[]): boolean {
  return (
    (headerValue(headers, 'accept') ?? '').includes('application/vnd.npm.install') ||
    /^(?:npm|pnpm|yarn|bun)\b/i.test(headerValue(headers, 'user-agent') ?? '')
  );
}
