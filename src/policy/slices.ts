/** The rules of one kind of action, as they are given to the engine: few rules are few to read, and most runs ask about few actions. */
import type { ActionName } from './action.ts';
import { actionNames } from './cedar-schema.ts';
import type { EffectivePolicy, Slice } from './effective.ts';
import type { McpServer } from './mcp.ts';
import type { RuleBook } from './rule.ts';

/** `id`: the digest of the whole policy, by which the engine remembers what it has read. */
export function slicesOf(id: string, book: RuleBook): Readonly<Record<ActionName, Slice>> {
  const entries = actionNames.map((action) => [action, slice(action, id, book)]);
  return Object.fromEntries(entries) as Record<ActionName, Slice>;
}

/** Those of what MCP servers themselves send. */
export function serverSlices(
  servers: readonly McpServer[],
  id: string,
  book: RuleBook,
): EffectivePolicy['mcp']['slices'] {
  return Object.fromEntries(
    servers.map(({ name }) => [
      name,
      { 'net.connect': slice('net.connect', id, book, name), 'net.request': slice('net.request', id, book, name) },
    ]),
  );
}

/** `whose`: the agent's, or those of the MCP server of that name. */
function slice(action: ActionName, id: string, book: RuleBook, whose = 'agent'): Slice {
  const rules = book.rules.filter(
    (rule) => rule.actions.includes(action) && (rule.of === undefined || rule.of === whose),
  );
  const policies = Object.fromEntries(rules.map((rule) => [rule.id, rule.cedar]));
  return {
    set: { key: `${id} ${action}${whose === 'agent' ? '' : ` of ${whose}`}`, policies },
    rules: new Map(rules.map((rule) => [rule.id, rule])),
    patterns: [...(book.patterns.get(action)?.values() ?? [])],
    readsChangedPaths: rules.some((rule) => JSON.stringify(rule.cedar.conditions).includes('"changedPaths"')),
  };
}
