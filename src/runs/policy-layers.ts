/** Which policy holds for a run: the documents are found, the list of commands is bound to files, all is compiled. */
import { readFile } from 'node:fs/promises';
import { DocumentError, EnforcementError, UsageError } from '../base/errors.ts';
import { git, gitBytes } from '../base/git.ts';
import { compilePolicy, type EffectivePolicy, type Source } from '../policy/index.ts';
import type { Toolbox } from '../sandbox/sandbox.ts';
import { resolveCommand, resolveToolbox } from '../sandbox/toolbox.ts';
import type { RunRequest } from './request.ts';
import type { Repository } from './workspace.ts';

const POLICY_FILE = '.cordon/policy.yaml';
const MAX_BYTES = 256 * 1024;

export interface LoadedPolicy {
  readonly policy: EffectivePolicy;
  readonly toolbox: Toolbox;
}

/**
 * The effective policy of a request. The repository's document is read as an object of the base commit (of a remote
 * repository, of its default branch's): what lies in the working tree, or what an agent wrote, does not count. Throws `DocumentError` with every problem of every document.
 */
export async function loadPolicy(
  request: RunRequest,
  repository: Repository,
  organisation: Source | null,
): Promise<LoadedPolicy> {
  const document = await repositoryDocument(request, repository);
  const input = {
    ...(organisation === null ? {} : { organisation }),
    ...(document === null ? {} : { repository: document }),
    request: { ...request.grants, limits: request.limits, paths: request.paths },
  };
  const policy = await compilePolicy(input);
  if (policy.sandbox.isolation !== 'namespace' || policy.sandbox.driver !== 'bubblewrap') {
    throw new EnforcementError(
      'isolation',
      `the policy asks for ${policy.sandbox.driver} with ${policy.sandbox.isolation} isolation; this machine's sandbox is bubblewrap with namespace isolation`,
      { remedy: 'run where that sandbox is, or lower `sandbox:` in the document that asks for it' },
    );
  }
  if (policy.commands === null) return { policy, toolbox: { kind: 'usr' } };
  const toolbox = await resolveToolbox(policy.commands);
  const resolved = new Map(policy.commands.map(({ path }) => [path, resolveCommand(path)]));
  return { policy: await compilePolicy({ ...input, resolved }), toolbox };
}

async function repositoryDocument(request: RunRequest, repository: Repository): Promise<Source | null> {
  if (request.policyFile !== null) {
    const text = await readFile(request.policyFile, 'utf8').catch((cause) => {
      throw new UsageError(`--policy ${request.policyFile}: ${(cause as Error).message}`, { cause });
    });
    return { file: request.policyFile, text };
  }
  const place = { gitDir: repository.commonDir };
  const name = `${repository.policyCommit}:${POLICY_FILE}`;
  const found = await git(place, ['cat-file', '--batch-check=%(objecttype) %(objectsize)'], { stdin: `${name}\n` });
  const [type, size] = found.stdout.toString().trim().split(' ').slice(-2);
  if (type === undefined || found.stdout.toString().includes('missing')) return null;
  if (type !== 'blob' || Number(size) > MAX_BYTES) {
    const message = type === 'blob' ? `is ${size} bytes long, more than ${MAX_BYTES}` : `is a ${type}, not a file`;
    throw new DocumentError([{ file: POLICY_FILE, line: 1, column: 1, message }]);
  }
  const text = await gitBytes(place, ['cat-file', 'blob', name], { maxOutput: MAX_BYTES + 1 });
  return { file: POLICY_FILE, text: text.toString('utf8') };
}
