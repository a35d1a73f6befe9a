import type { EffectivePolicy } from './effective.ts';

/**
 * True when a rule may forbid, or ask before, a tool of that server: then an agent that asks before it uses one is worth more. A rule that
 * names other servers alone is not one of them; where that cannot be told from its text, it is.
 */
export function rulesOnTools(policy: EffectivePolicy, server: string): boolean {
  return [...policy.slices['tool.call'].rules.values()].some((rule) => {
    if (rule.role === 'permit') return false;
    const conditions = JSON.stringify(rule.cedar.conditions);
    return !conditions.includes('"server"') || conditions.includes(JSON.stringify(server));
  });
}
