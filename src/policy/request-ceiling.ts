import { PolicyDeniedError } from '../base/errors.ts';
import type { PolicyAction } from './action.ts';
import { decide } from './decide.ts';
import type { EffectivePolicy } from './effective.ts';
import { findSecret, type ParsedGrants } from './grants.ts';
import { coversHost, hostPatternText } from './hosts.ts';
import { type Layer, refText, valuesOf } from './rule.ts';

/**
 * A grant of the request that the ceiling does not reach is refused before anything starts: whoever typed it expects it
 * to work. (What a repository grants too much is only without effect.) Throws `PolicyDeniedError`.
 */
export function refuseAboveCeiling(policy: EffectivePolicy, grants: ParsedGrants, layers: readonly Layer[]): void {
  for (const { pattern } of grants.hosts) {
    const option = `--allow-net ${hostPatternText(pattern)}`;
    if (pattern.wildcard) refuseWildcard(policy, option, pattern, layers);
    else refuse(policy, option, { action: 'net.connect', host: pattern.host, port: pattern.port });
  }
  for (const command of grants.commands) {
    refuse(policy, `--allow-command ${command.path}`, {
      action: 'command.execute',
      path: command.path,
      sha256: ceilingPin(command.path, layers),
    });
  }
  for (const name of grants.secrets) {
    const use = findSecret(name, [...layers].reverse()).use;
    refuse(policy, `--secret ${name}`, { action: 'secret.use', name, host: use.host ?? 'sandbox' });
  }
}

function ceilingPin(path: string, layers: readonly Layer[]): string {
  const ceiling = layers.find((layer) => layer.side === 'ceiling');
  const pinned =
    ceiling === undefined
      ? undefined
      : valuesOf(ceiling).security?.allowed_commands?.find((command) => command.path === path);
  return pinned?.sha256 ?? '0'.repeat(64);
}

function refuse(policy: EffectivePolicy, option: string, action: PolicyAction): void {
  const decision = decide(policy, action);
  if (decision.effect !== 'deny') return;
  throw new PolicyDeniedError(
    `${option} is not allowed: ${decision.reason}`,
    decision.rules.map((rule) => `${refText(rule)} ${rule.text}`),
    {
      remedy: `leave it out, or have ${policy.ceiling?.file ?? 'the policy'} changed`,
    },
  );
}

/** A decision speaks of one host; whether a wildcard fits is a question to the organisation's list itself. */
function refuseWildcard(
  policy: EffectivePolicy,
  option: string,
  pattern: ParsedGrants['hosts'][number]['pattern'],
  layers: readonly Layer[],
): void {
  const ceiling = layers.find((layer) => layer.side === 'ceiling');
  const allowed = ceiling === undefined ? [] : (valuesOf(ceiling).security?.allowed_network_hosts ?? []);
  if (allowed.some((rule) => rule.methods === null && rule.paths === null && coversHost(rule.pattern, pattern))) return;
  const line = policy.ceiling?.cite('net.connect');
  throw new PolicyDeniedError(
    `${option} is above the organisation's ceiling`,
    line === undefined ? [] : [`${refText(line)} ${line.text}`],
    { remedy: 'name the hosts that are needed' },
  );
}
