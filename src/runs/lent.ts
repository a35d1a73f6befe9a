/** What a run has of secrets; the broker is loaded only for a policy that lends something. */
import type { Redactor } from '../base/redact/index.ts';
import type { SecretHook } from '../gateways/egress/gateway.ts';
import type { EffectivePolicy } from '../policy/index.ts';
import type { RunRequest } from './request.ts';
import type { RunScope } from './scope.ts';
import type { System } from './system.ts';

export interface LentSecrets {
  /** Null when the run has none. */
  readonly hook: SecretHook | null;
  /** Placeholders, by the names of their secrets; and values, where the policy says `env` in words. */
  readonly env: Readonly<Record<string, string>>;
  /** Values as files of `/run/secrets`, where the policy says `file` in words. */
  readonly files: Readonly<Record<string, Buffer>>;
  /** Aborts, for each host, when what was lent for it is taken back. */
  readonly lent: readonly { readonly host: string; readonly signal: AbortSignal }[];
}

export const NO_SECRETS: LentSecrets = { hook: null, env: {}, files: {}, lent: [] };

function lends({ documents, mcp }: EffectivePolicy): boolean {
  if (mcp.servers.some(({ how }) => (how.kind === 'url' ? how.secret !== null : how.secrets.length > 0))) return true;
  return [documents.repository, documents.organisation].some((document) => (document?.secrets ?? []).length > 0);
}

/**
 * Tells the redactor what may be lent, before the first word about the run is written down: somebody may have put a value
 * into the command line. What cannot be read now is not lent either, and the grant says why.
 */
export async function learnValues(
  system: System,
  request: RunRequest,
  policy: EffectivePolicy,
  redactor: Redactor,
): Promise<void> {
  if (lends(policy)) await (await import('./secrets.ts')).learn(system, request, policy, redactor);
}

/** Grants what the policy lends. Throws as `grantSecrets` (secrets.ts). */
export async function lendSecrets(scope: RunScope): Promise<LentSecrets> {
  return lends(scope.loaded.policy) ? (await import('./secrets.ts')).grantSecrets(scope) : NO_SECRETS;
}

/** The name of a secret whose placeholder stands in a text that is about to leave; that is recorded as an alarm. */
export async function placeholderIn(scope: RunScope, text: string, where: string): Promise<string | null> {
  if (!lends(scope.loaded.policy)) return null;
  return (await import('./secrets.ts')).findPlaceholder(scope, text, where);
}
