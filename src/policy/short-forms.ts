import type { CommandPattern } from './commands.ts';
import { matchCommand } from './commands.ts';
import { compileShownRefs } from './fetch-rules.ts';
import { matchGlob, matchSegment } from './globs.ts';
import { hostPatternText, matchHost } from './hosts.ts';
import { parseRequestPathGlob } from './request-paths.ts';
import { type CompiledRule, cite, is, type Layer, matchesAny, type RuleBook, valuesOf } from './rule.ts';
import type { HostRule } from './schema.ts';
import type { Path } from './source.ts';

/** The server that the built-in agent's own tools are said to be of. */
export const BUILTIN_TOOLS = 'builtin';
/** Likewise of agents that ask for leave over the Agent Client Protocol. Not the agent's own name: it could choose one to fit a rule. */
export const ACP_TOOLS = 'acp';

/** The short forms that open something: commands, hosts, secrets, models. Git and files have files of their own. */
export function compileOpenings(layer: Layer, book: RuleBook): void {
  compileCommands(layer, book);
  const hosts = valuesOf(layer).security?.allowed_network_hosts ?? [];
  compileHosts(layer, book, hosts, (rule, i) =>
    cite(
      layer,
      ['security', 'allowed_network_hosts', i],
      `security.allowed_network_hosts: ${hostRuleText(rule)}`,
      true,
    ),
  );
  compileSecrets(layer, book);
  compileModels(layer, book);
  const starts = cite(layer, [], 'run.start: permitted by default', false);
  book.add(layer, { action: 'run.start', role: 'permit', rule: starts });
  compileShownRefs(layer, book);
  compileTools(layer, book);
}

/** Neither the built-in agent's own tools nor those of an agent inside reach further than any command in the sandbox. */
function compileTools(layer: Layer, book: RuleBook): void {
  for (const server of [BUILTIN_TOOLS, ACP_TOOLS]) {
    const rule = cite(layer, [], `tool.call: the tools of the ${server} agent are permitted by default`, false);
    book.add(layer, { action: 'tool.call', role: 'permit', rule, when: is('server', server) });
  }
}

type Cite<T> = (value: T, index: number) => CompiledRule['rule'];

/** An unset list is the machine's ordinary `/usr` and what a run builds itself; an empty one is nothing at all. */
function compileCommands(layer: Layer, book: RuleBook): void {
  const list = valuesOf(layer).security?.allowed_commands;
  if (list === undefined) {
    const rule = cite(layer, [], "security.allowed_commands is not set: the machine's ordinary /usr", false);
    book.add(layer, { action: 'command.execute', role: 'permit', rule });
    return;
  }
  allowCommands(layer, book, list, (rule, i) =>
    cite(layer, ['security', 'allowed_commands', i], `security.allowed_commands: ${commandText(rule)}`, true),
  );
}

export function allowCommands(
  layer: Layer,
  book: RuleBook,
  list: readonly CommandPattern[],
  citing: Cite<CommandPattern>,
): void {
  if (list.length === 0) return;
  const entries = list.map((command, i) => {
    book.pattern('command.execute', {
      text: commandText(command),
      test: (action) => action.action === 'command.execute' && matchCommand(command, action, book.resolved),
    });
    return { pattern: commandText(command), rule: citing(command, i) };
  });
  book.add(layer, { action: 'command.execute', role: 'permit', rule: firstOf(entries), entries });
}

function commandText(command: CommandPattern): string {
  // The digest first: a path starts with /, so no path of another layer reads as a pinned one.
  return command.sha256 === null ? command.path : `sha256:${command.sha256} ${command.path}`;
}

export function hostRuleText(rule: HostRule): string {
  const methods = rule.methods === null ? '' : `${rule.methods.join(',')} `;
  return `${methods}${hostPatternText(rule.pattern)}${rule.paths === null ? '' : ` ${rule.paths.join(' ')}`}`;
}

/**
 * A host with methods or paths is open for connections (its requests are judged one by one), and for those requests. A grant is
 * the agent's, or that of the MCP server `of`; the organisation's list is the ceiling of all.
 */
export function compileHosts(
  layer: Layer,
  book: RuleBook,
  list: readonly HostRule[],
  citing: Cite<HostRule>,
  of = layer.side === 'grant' ? 'agent' : undefined,
): void {
  if (list.length === 0) return;
  const whose = of === undefined ? {} : { of };
  const connect = list.map((host, i) => {
    const text = hostPatternText(host.pattern);
    book.pattern('net.connect', {
      text,
      test: (action) => action.action === 'net.connect' && matchHost(host.pattern, action.host, action.port),
    });
    return { pattern: text, rule: citing(host, i) };
  });
  book.add(layer, { action: 'net.connect', role: 'permit', rule: firstOf(connect), entries: connect, ...whose });
  const request = list.map((host, i) => {
    const text = hostRuleText(host);
    const paths = host.paths?.flatMap((path) => {
      const glob = parseRequestPathGlob(path);
      return glob.ok ? [glob.value] : [];
    });
    book.pattern('net.request', {
      text,
      test: (action) =>
        action.action === 'net.request' &&
        matchHost(host.pattern, action.host, action.port) &&
        (host.methods === null || host.methods.includes(action.method)) &&
        (paths === undefined || paths.some((glob) => matchGlob(glob, action.path.slice(1)))),
    });
    return { pattern: text, rule: citing(host, i) };
  });
  book.add(layer, { action: 'net.request', role: 'permit', rule: firstOf(request), entries: request, ...whose });
}

function compileSecrets(layer: Layer, book: RuleBook): void {
  const list = valuesOf(layer).secrets ?? [];
  const entries = list.map((secret, i) => {
    // A secret in the environment is used by the sandbox itself, anywhere: its host is called `sandbox`.
    const host = secret.use.host ?? 'sandbox';
    const text = `${secret.name} for ${host}`;
    book.pattern('secret.use', {
      text,
      test: (action) => action.action === 'secret.use' && action.name === secret.name && action.host === host,
    });
    return { pattern: text, rule: cite(layer, ['secrets', i], `secrets: ${text}`, true) };
  });
  if (entries.length > 0) book.add(layer, { action: 'secret.use', role: 'permit', rule: firstOf(entries), entries });
}

/** Both lists are needed: a provider without a list of models opens none. */
function compileModels(layer: Layer, book: RuleBook): void {
  const { allowed_providers: providers = [], models = [] } = valuesOf(layer).llm_policy ?? {};
  if (providers.length === 0 || models.length === 0) return;
  const entry = (kind: string, path: Path, value: string) => ({
    pattern: `${kind} ${value}`,
    rule: cite(layer, path, `${path.slice(0, -1).join('.')}: ${value}`, true),
  });
  const named = providers.map((name, i) => entry('provider', ['llm_policy', 'allowed_providers', i], name));
  for (const name of providers) {
    book.pattern('llm.request', {
      text: `provider ${name}`,
      test: (action) => action.action === 'llm.request' && action.provider === name,
    });
  }
  for (const glob of models) {
    book.pattern('llm.request', {
      text: `model ${glob}`,
      test: (action) => action.action === 'llm.request' && matchSegment(glob, action.model),
    });
  }
  book.add(layer, {
    action: 'llm.request',
    role: 'permit',
    rule: firstOf(named),
    entries: named,
    when: matchesAny(models.map((glob) => `model ${glob}`)),
  });
}

function firstOf(entries: CompiledRule['entries']): CompiledRule['rule'] {
  const first = entries[0];
  if (first === undefined) throw new RangeError('a rule needs an entry');
  return first.rule;
}
