import { WorkspaceError } from '../base/errors.ts';
import { type GitPlace, git, gitFailure } from '../base/git.ts';
import { ObjectReader } from '../base/git-objects.ts';
import { formatSize } from '../base/size.ts';
import { safeText } from '../base/term.ts';
import type { Notice } from './workspace.ts';

export interface TreeFacts {
  readonly files: number;
  /** Bytes of all files. */
  readonly bytes: number;
  readonly notices: readonly Notice[];
}

export interface TreeLimits {
  readonly files: number;
  readonly bytes: number;
}

export const defaultTreeLimits: TreeLimits = { files: 1_000_000, bytes: 20 * 1024 ** 3 };

const LISTING_BYTES = 512 * 1024 * 1024;

/**
 * What is in the tree of a commit before it is written to disk: how much, and what the user may not expect.
 * Throws `WorkspaceError` when it is over a limit or an object of it is missing (a partial clone).
 */
export async function surveyTree(place: GitPlace, commit: string, limits: TreeLimits): Promise<TreeFacts> {
  const args = ['ls-tree', '-r', '-z', '--long', commit];
  const listing = await git(place, args, { timeout: 300_000, maxOutput: LISTING_BYTES }).catch((cause: unknown) => {
    throw new WorkspaceError(`the tree of ${commit} is too large to list`, {
      cause,
      remedy: 'start from another commit with --base',
    });
  });
  if (listing.exitCode !== 0) throw incomplete(commit, gitFailure(place, args, listing));
  const found = { files: 0, bytes: 0, links: [] as string[], odd: 0, attributes: [] as string[] };
  for (const line of lines(listing.stdout)) {
    if (!note(line, found)) throw incomplete(commit);
  }
  if (found.files > limits.files || found.bytes > limits.bytes) {
    throw new WorkspaceError(
      `commit ${commit} has ${found.files} files of ${formatSize(found.bytes)}; at most ${limits.files} files of ${formatSize(limits.bytes)} are checked out`,
      { remedy: 'start from a commit without them: --base REF' },
    );
  }
  return { files: found.files, bytes: found.bytes, notices: await noticesOf(place, found) };
}

function incomplete(commit: string, cause?: unknown): WorkspaceError {
  return new WorkspaceError(`not all files of commit ${commit} are in this repository`, {
    cause,
    remedy: 'if it is a partial clone, fetch them: git fetch --refetch --no-filter; otherwise see git fsck',
  });
}

interface Found {
  files: number;
  bytes: number;
  links: string[];
  odd: number;
  attributes: string[];
}

function* lines(listing: Buffer): Generator<Buffer> {
  for (let at = 0; at < listing.length; ) {
    const end = listing.indexOf(0, at);
    yield listing.subarray(at, end);
    at = end + 1;
  }
}

/** `<mode> SP <type> SP <oid> SP <size, padded> TAB <path>`; false when the file's size, so the file, is unknown. */
function note(line: Buffer, found: Found): boolean {
  const tab = line.indexOf(9);
  const [mode = '', , oid = '', size = ''] = line.toString('latin1', 0, tab).split(/ +/);
  const path = line.subarray(tab + 1);
  if (mode === '160000') {
    found.links.push(safeText(path.toString()));
    return true;
  }
  if (!/^[0-9]+$/.test(size)) return false;
  found.files += 1;
  found.bytes += Number(size);
  const name = path.toString('latin1');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (/[\x00-\x1f\x7f]/.test(name) || !isUtf8(path)) found.odd += 1;
  if ((name === '.gitattributes' || name.endsWith('/.gitattributes')) && found.attributes.length < 100)
    found.attributes.push(oid);
  return true;
}

function isUtf8(bytes: Buffer): boolean {
  return Buffer.from(bytes.toString('utf8')).equals(bytes);
}

async function noticesOf(place: GitPlace, found: Found): Promise<readonly Notice[]> {
  const notices: Notice[] = [];
  if (found.links.length > 0) {
    const names = `${found.links.slice(0, 3).join(', ')}${found.links.length > 3 ? ', …' : ''}`;
    notices.push({ code: 'submodules', message: `submodules are empty folders in the run: ${names}` });
  }
  if (found.odd > 0) {
    notices.push({
      code: 'odd_names',
      message: `${found.odd} file ${found.odd === 1 ? 'name has' : 'names have'} control characters or bytes that are not UTF-8; a change to them cannot be delivered`,
    });
  }
  if (await namesFilter(place, found.attributes)) {
    notices.push({
      code: 'filtered_files',
      message:
        'files under a filter of .gitattributes (such as Git LFS) are as git stores them: pointers, not contents',
    });
  }
  return notices;
}

async function namesFilter(place: GitPlace, attributes: readonly string[]): Promise<boolean> {
  const reader = new ObjectReader(place);
  try {
    const texts = await Promise.all(attributes.map((oid) => reader.read(oid, 'blob', 1024 * 1024)));
    return texts.some((text) => /(?:^|[ \t])filter=/m.test(text?.toString('latin1') ?? ''));
  } finally {
    reader.close();
  }
}
