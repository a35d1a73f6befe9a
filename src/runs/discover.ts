/** What a run starts from, found by asking git alone: it needs nothing of the system, and is begun before that is loaded. */
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DocumentError, UsageError } from '../base/errors.ts';
import { gitBytes } from '../base/git.ts';
import { shellWord } from '../base/term.ts';
import type { Source } from '../policy/index.ts';
import { ObjectQuestions } from './object-questions.ts';
import type { Tape } from './recording/tape.ts';
import type { RunRequest } from './request.ts';
import type { Resumption } from './resumption.ts';
import { type Notice, openRepository, type Repository } from './workspace.ts';

const POLICY_FILE = '.cordon/policy.yaml';
const MAX_BYTES = 256 * 1024;

export interface Found {
  readonly repository: Repository;
  /** The repository's own policy, or the one named by `--policy`; null when there is none. */
  readonly document: Source | null;
  /** What lies in the working tree is another document than the run goes by: whoever edits one would not expect that. */
  readonly notice?: Notice;
  /** Answers in place of the world: the run is a replay. */
  readonly tape?: Tape;
  /** The lost run whose work goes on. */
  readonly resumption?: Resumption;
}

/**
 * The repository's document is read as an object of the base commit (of a remote repository, of its default branch's):
 * what lies in the working tree, or what an agent wrote, does not count. Null for a remote repository, which has to be brought
 * here first (remote.ts). Throws `WorkspaceError`, `UsageError` or `DocumentError`.
 */
export async function discover(request: RunRequest): Promise<Found | null> {
  if (request.repo !== null) return null;
  const { repository, objects } = await openRepository(request.workspace, request.base);
  try {
    const document = await documentOf(request, repository, objects);
    const notice =
      request.policyFile === null && request.base === 'HEAD' ? await notCommitted(repository, document) : null;
    return { repository, document, ...(notice === null ? {} : { notice }) };
  } finally {
    objects.close();
  }
}

async function notCommitted({ dir, base }: Repository, document: Source | null): Promise<Notice | null> {
  const path = join(dir, POLICY_FILE);
  const file = await lstat(path).catch(() => null);
  if (file === null && document === null) return misnamed(dir);
  const plain = file?.isFile() === true && file.size <= MAX_BYTES;
  const text = plain ? await readFile(path, 'utf8').catch(() => null) : null;
  const lines = (whole: string | undefined | null) => whole?.replaceAll('\r\n', '\n') ?? null;
  if (lines(text) === lines(document?.text) || (text === null && file !== null)) return null;
  const that = `the run goes by that of commit ${base.slice(0, 12)}`;
  // Removed, or left out by a sparse checkout: there is nothing to commit, and no file to name.
  if (file === null)
    return { code: 'uncommitted_policy', message: `${POLICY_FILE} is not in the working tree, and ${that}` };
  const what =
    document === null
      ? `${POLICY_FILE} is not committed and does not count: the run goes by the built-in default`
      : `${POLICY_FILE} was changed since, and ${that}`;
  return { code: 'uncommitted_policy', message: `${what} (commit it, or: --policy ${shellWord(path)})` };
}

/** YAML's other ending is not looked for, and whoever wrote it thinks that it holds. */
async function misnamed(dir: string): Promise<Notice | null> {
  const name = POLICY_FILE.replace(/yaml$/, 'yml');
  const there = await lstat(join(dir, name)).catch(() => null);
  if (there === null) return null;
  const message = `${name} does not count, and the run goes by the built-in default: rename it to ${POLICY_FILE} and commit it`;
  return { code: 'uncommitted_policy', message };
}

/** The same for a repository that is here already. */
export async function withDocument(request: RunRequest, repository: Repository): Promise<Found> {
  const objects = new ObjectQuestions(repository.commonDir, { GIT_DIR: repository.commonDir });
  try {
    return { repository, document: await documentOf(request, repository, objects) };
  } finally {
    objects.close();
  }
}

async function documentOf(
  request: RunRequest,
  repository: Repository,
  objects: ObjectQuestions,
): Promise<Source | null> {
  if (request.policyFile !== null) {
    const text = await readFile(request.policyFile, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT')
        throw new UsageError(`--policy: there is no ${request.policyFile}`, {
          cause,
          remedy: 'correct the path, or leave --policy out: then it is .cordon/policy.yaml of the base commit',
        });
      throw new UsageError(`--policy ${request.policyFile}: ${cause.message}`, { cause });
    });
    return { file: request.policyFile, text };
  }
  // By the commit's own name: a branch may have moved since it was asked for.
  const name = `${repository.policyCommit}:${POLICY_FILE}`;
  const found = await objects.about(name);
  if (found === null) return null;
  const { type, size } = found;
  if (type !== 'blob' || size > MAX_BYTES) {
    const message = type === 'blob' ? `is ${size} bytes long, more than ${MAX_BYTES}` : `is a ${type}, not a file`;
    throw new DocumentError([{ file: POLICY_FILE, line: 1, column: 1, message }]);
  }
  const place = { gitDir: repository.commonDir };
  const text = await gitBytes(place, ['cat-file', 'blob', found.oid], { maxOutput: MAX_BYTES + 1 });
  return { file: POLICY_FILE, text: text.toString('utf8') };
}
