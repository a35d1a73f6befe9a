/** What a run holds the lock files of a push to. */
import type { LockRules } from '../gateways/git/lockfiles/inspect.ts';
import { decide } from '../policy/index.ts';
import type { RunScope } from './scope.ts';

/** Null where no layer says what lock files may name: then none is read. */
export function lockRules(scope: RunScope): LockRules | null {
  const { policy } = scope.loaded;
  const { dependencies: rules } = policy;
  const { registries, allow, deny, recorded } = rules;
  if (registries === null && allow.length === 0 && deny.length === 0 && recorded === null) return null;
  return {
    rules,
    isOpen: (host, port) => decide(policy, { action: 'net.connect', host, port }).effect !== 'deny',
    wasRecorded: (query) => scope.wasRecorded(query),
  };
}
