import { LockError } from './node.ts';
import type { Reading } from './reading.ts';

/**
 * `requirements*.txt` as pip reads it with `--require-hashes`:
 *
 *   --index-url https://…                        also -i, --extra-index-url, -f, --find-links
 *   name[extra]==1.2.3 ; marker \
 *       --hash=sha256:<hex> --hash=sha256:<hex>
 *   name @ https://…/name-1.2.3-py3-none-any.whl --hash=…
 *   -r requirements-other.txt                    and -c; -e ./folder
 */
export function readRequirements(text: string, reading: Reading): undefined {
  const lines = text.split('\n');
  // PEP 263: pip would read the file in that encoding, and something else in it.
  const coding = lines.slice(0, 2).findIndex((line) => /^[ \t\f]*#.*?coding[:=][ \t]*(?!utf-?8\b)[-\w.]+/i.test(line));
  if (coding !== -1) throw new LockError(coding + 1, 'it asks for another encoding than UTF-8');
  for (const { words, line } of logicalLines(lines)) readLine(words, line, reading);
}

/** Continued lines as one, without comments. */
function* logicalLines(lines: readonly string[]): Generator<{ words: string; line: number }> {
  let start = 0;
  let pending = '';
  for (const [i, raw] of lines.entries()) {
    const comment = /^\s*#/.test(raw);
    if (pending !== '' && comment) throw new LockError(i + 1, 'a comment stands in the middle of an entry');
    const continued = !comment && raw.endsWith('\\');
    if (pending === '') start = i + 1;
    pending += `${continued ? raw.slice(0, -1) : raw} `;
    if (continued && i < lines.length - 1) continue;
    const words = pending.replace(/(?:^|\s)#.*$/, '').trim();
    pending = '';
    if (words !== '') yield { words, line: start };
  }
}

const INDEX = /^(?:-i|--index-url|--extra-index-url|-f|--find-links|--pypi-url)(?:[ =]\s*|(?=https?:))(\S+)$/;
const INCLUDE = /^(?:-r|--requirement|-c|--constraint)(?:[ =]\s*)?(\S+)$/;
const EDITABLE = /^(?:(?:-e|--editable)[ =]\s*)?((?:\.{0,2}\/|\.$|\.\[)\S*|\.)$/;
const HARMLESS =
  /^(?:--no-index|--require-hashes|--pre|--prefer-binary|--(?:only|no)-binary[ =]\s*\S+|--use-feature[ =]\s*[\w-]+)$/;
const HASH = /\s--hash[= ]\s*(\S+)/g;
const PINNED = /^([A-Za-z0-9][\w.-]*)\s*(?:\[[\w\s,.-]*\])?\s*\(?===?\s*([^\s;,*()]+)\)?\s*(?:;.*)?$/;
const DIRECT = /^([A-Za-z0-9][\w.-]*)\s*(?:\[[\w\s,.-]*\])?\s*@\s*(\S+)\s*(?:\s;.*)?$/;

function readLine(words: string, line: number, reading: Reading): undefined {
  if (HARMLESS.test(words)) return;
  const index = INDEX.exec(words)?.[1];
  if (index !== undefined) return reading.place(line, 'index', index);
  const include = INCLUDE.exec(words)?.[1];
  if (include !== undefined) {
    if (!isRequirements(include)) reading.problem(line, null, 'includes a file whose name is not that of requirements');
    else reading.local(line, include, include);
    return;
  }
  const local = EDITABLE.exec(words)?.[1];
  if (local !== undefined) return reading.local(line, local, local.replace(/\[.*\]$/, ''));
  if (words.startsWith('-'))
    return reading.problem(line, words.split(/[\s=]/)[0] ?? '', 'is an option that is not known here');
  const hashes = [...words.matchAll(HASH)].map((match) => match[1] ?? '');
  const bare = words.replace(HASH, '').trim();
  const direct = DIRECT.exec(bare);
  const pinned = PINNED.exec(bare);
  if (direct !== null) {
    const url = direct[2] ?? '';
    const inside = /#(sha(?:256|384|512))=([0-9a-f]+)$/.exec(url);
    if (inside !== null) hashes.push(`${inside[1]}:${inside[2]}`);
    const version = /\/[^/]*?-(\d[^/-]*?)(?:-[^/]*\.whl|\.tar\.gz|\.zip)(?:#|$)/.exec(url)?.[1] ?? '';
    reading.add({ name: direct[1] ?? '', version, line, urls: [url], hashes });
  } else if (pinned !== null) reading.add({ name: pinned[1] ?? '', version: pinned[2] ?? '', line, hashes });
  else {
    const name = /^[\w.-]{1,80}/.exec(bare)?.[0] ?? null;
    reading.problem(line, name, 'is not pinned: write NAME==VERSION and its hashes, or keep it in requirements.in');
  }
}

/** `requirements.txt`, `requirements-dev.txt`, `dev-requirements.txt`, `constraints.txt`. */
export function isRequirements(path: string): boolean {
  return /(?:^|\/)(?:[^/]*[-_.])?(?:requirements|constraints)(?:[-_.][^/]*)?\.txt$/i.test(path);
}
