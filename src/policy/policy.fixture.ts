import { parseActionLine } from './action-input.ts';
import { compilePolicy, type PolicyInput } from './compile.ts';
import { decide } from './decide.ts';
import type { Decision } from './decision.ts';
import type { EffectivePolicy } from './effective.ts';

export const REPOSITORY = '.cordon/policy.yaml';
export const ORGANISATION = '/etc/cordon/policy.yaml';

/** Documents without their first line: `version: 1` is put before them. */
export function compile(
  repository?: string,
  organisation?: string,
  rest: Omit<PolicyInput, 'repository' | 'organisation'> = {},
): Promise<EffectivePolicy> {
  return compilePolicy({
    ...(repository === undefined ? {} : { repository: { file: REPOSITORY, text: `version: 1\n${repository}\n` } }),
    ...(organisation === undefined
      ? {}
      : { organisation: { file: ORGANISATION, text: `version: 1\n${organisation}\n` } }),
    ...rest,
  });
}

export function decideLine(policy: EffectivePolicy, line: string): Decision {
  const action = parseActionLine([line]);
  if (!action.ok) throw new Error(`${line}: ${action.message}`);
  return decide(policy, action.value);
}

export function effectOf(policy: EffectivePolicy, line: string): string {
  return decideLine(policy, line).effect;
}

/** What a promise is rejected with. */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('it did not fail');
}
