/** Which policy holds for a run: the documents are compiled, the list of commands is bound to files. */
import { EnforcementError } from '../base/errors.ts';
import { compilePolicy, type EffectivePolicy, type Source } from '../policy/index.ts';
import type { Toolbox } from '../sandbox/sandbox.ts';
import { resolveCommand, resolveToolbox } from '../sandbox/toolbox.ts';
import type { Found } from './discover.ts';
import type { RunRequest } from './request.ts';

export interface LoadedPolicy {
  readonly policy: EffectivePolicy;
  readonly toolbox: Toolbox;
}

/** The effective policy of a request. Throws `DocumentError` with every problem of every document. */
export async function loadPolicy(
  request: RunRequest,
  found: Found,
  organisation: Source | null,
): Promise<LoadedPolicy> {
  const { document } = found;
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
