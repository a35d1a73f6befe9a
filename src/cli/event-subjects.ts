/** What each type of event is about, in a few words, for its line. Not escaped yet. */
import type { AuditEvent } from '../audit/event.ts';
import { formatSize } from '../base/size.ts';
import { shellLine } from '../base/term.ts';
import { type AgentRequest, agentWords } from '../runs/request.ts';

type Subjects = { readonly [T in AuditEvent['type']]?: (event: Extract<AuditEvent, { type: T }>) => string };

/** In the order of a run. A type that is not here says enough by its name. */
const subjects: Subjects = {
  'run.created': ({ principal, resource }) =>
    `${principal.id}: ${shellLine(agentWords(resource.agent as AgentRequest))} in ${resource.workspace}`,
  'run.started': ({ resource }) => `from ${resource.base.slice(0, 12)} in ${resource.driver}`,
  'run.state': ({ resource }) => `${resource.from ?? 'nothing'} → ${resource.to}`,
  'run.stopped': ({ outcome }) => `${outcome.status}: ${outcome.reason}`,
  'run.lost': ({ outcome }) => outcome.reason,
  'policy.loaded': ({ resource }) =>
    `${resource.layers.map((layer) => layer.file).join(' + ')} = ${shortDigest(resource.effective)}`,
  'command.decided': ({ resource }) => resource.path ?? resource.requested,
  'command.started': ({ resource }) => shellLine(resource.argv),
  'command.exited': ({ resource, outcome }) => `${resource.path} ${howItEnded(outcome.how)}`,
  'recorder.lost': ({ resource }) => resource.reason,
  'limit.reached': ({ resource }) => `${resource.limit}: ${resource.detail}`,
  'file.changed': ({ resource }) => `${resource.change} ${resource.path}`,
  'files.summary': ({ resource }) =>
    `${resource.added} added, ${resource.modified} modified, ${resource.deleted} deleted`,
  'output.kept': ({ resource }) => `${resource.stream}, ${formatSize(resource.bytes)}${resource.cut ? ', cut' : ''}`,
  'network.decided': ({ resource }) =>
    `${resource.method ?? 'connect to'} ${resource.host}:${resource.port}${resource.path ?? ''}`,
  'network.closed': ({ resource, outcome }) =>
    `${resource.host}:${resource.port} ${outcome.result}, ${formatSize(outcome.bytesIn)} in`,
  'git.fetch': ({ resource }) => resource.ref,
  'git.fetched': ({ resource, outcome }) =>
    `${outcome.result} ${resource.ref}, ${formatSize(outcome.bytes)}${because(outcome.reason)}`,
  'mirror.fetch': ({ resource }) => resource.repository,
  'mirror.fetched': ({ resource, outcome }) =>
    `${outcome.result} ${resource.repository}, ${formatSize(resource.bytes)}${because(outcome.reason)}`,
  'llm.request': ({ resource }) => `${resource.provider}/${resource.model}, ${formatSize(resource.bytes)}`,
  'llm.response': ({ resource, outcome }) =>
    `${resource.provider}/${resource.model} ${outcome.result}${tokensText(outcome.tokens)}${because(outcome.reason)}`,
  'llm.replayed': ({ resource }) => `${resource.wire}: ${resource.fit}`,
  'run.recorded': ({ resource }) =>
    `${resource.entries} entries, ${formatSize(resource.bytes)}${resource.cut ? ', cut' : ''}`,
  'llm.budget': ({ resource }) => `${resource.percent} % of the budget of ${resource.budget}`,
  'llm.unjudged': ({ resource }) => `${resource.what}: ${resource.detail}`,
  'git.received': ({ resource }) =>
    `${resource.commands.map((c) => c.ref).join(', ')}, ${formatSize(resource.packBytes)}`,
  'git.decided': ({ resource, outcome }) =>
    `${outcome.result} ${resource.kind} of ${resource.ref}${because(outcome.reason)}`,
  'git.certified': ({ resource }) => `${resource.key} until ${resource.validBefore}, serial ${resource.serial}`,
  'git.sign.decided': ({ resource }) => `a commit by ${resource.author ?? 'nobody'}`,
  'git.signed': ({ resource, outcome }) => `${outcome.result} ${resource.commit ?? ''}${because(outcome.reason)}`,
  'git.revoked': ({ resource }) => `the key of run ${resource.run}, serial ${resource.serial}`,
  'git.forwarded': ({ resource }) => `${resource.ref} to ${resource.target}`,
  'git.forward.done': ({ resource, outcome }) => `${outcome.result} ${resource.ref}${because(outcome.reason)}`,
  'delivery.patch': ({ resource }) => `${resource.target}, ${formatSize(resource.bytes)}`,
  'delivery.patch.done': ({ resource, outcome }) => `${outcome.result} ${resource.target}${because(outcome.reason)}`,
  'attestation.issued': ({ resource }) => `${resource.ref} at ${resource.to.slice(0, 12)}`,
  'approval.requested': ({ resource }) => resource.summary,
  'approval.decided': ({ principal, outcome }) => `${outcome.answer} by ${principal.id}${because(outcome.note)}`,
  'agent.install': ({ resource }) => `${resource.agent}: ${resource.package} ${resource.version}`,
  'agent.installed': ({ resource }) => `${resource.agent}: ${resource.package} ${resource.version}`,
  'agent.prepared': ({ resource }) => `${resource.agent} ${resource.version} with ${resource.model}`,
  'agent.prompted': ({ resource }) => `${resource.name ?? 'an agent without a name'} ${resource.version ?? ''}`,
  'agent.message': ({ resource }) => resource.text,
  'agent.tool.called': ({ resource }) => `${resource.tool} ${resource.input}`,
  'agent.tool.returned': ({ resource }) => `${resource.ok ? 'ok' : 'failed'} ${resource.text}`,
  'tool.requested': ({ resource }) => `${toolName(resource)} ${resource.input}`,
  'tool.ended': ({ resource, outcome }) => `${toolName(resource)} ${outcome.result}, ${outcome.text}`,
  'tool.asked': ({ resource }) => `${resource.server}: ${resource.tool}`,
  'tool.answered': ({ resource, outcome }) =>
    `${resource.server}: ${resource.tool}, ${outcome.result}${because(outcome.reason)}`,
  'mcp.start': ({ resource }) => `${resource.server}: ${shellLine(resource.where)}`,
  'mcp.started': ({ resource, outcome }) => `${resource.server} ${outcome.result}${because(outcome.reason)}`,
  'mcp.stopped': ({ resource }) => `${resource.server}: ${resource.reason}`,
  'mcp.tools': ({ resource }) => toolsText(resource),
  'mcp.refused': ({ resource }) => `${resource.server ?? 'MCP'}: ${resource.what}, ${resource.detail}`,
  'mcp.unjudged': ({ resource }) => `${resource.server ?? 'MCP'}: ${resource.what}, ${resource.detail}`,
  'mcp.command': ({ resource }) => `${resource.server}: ${shellLine(resource.argv)} ${resource.end}`,
  'mcp.replayed': ({ resource }) => `${resource.server} ${resource.method}: ${resource.fit}`,
  'agent.ended': ({ resource }) =>
    `${resource.ok ? 'says it is done' : `failed: ${resource.reason}`}, ${resource.toolCalls} tool calls`,
  'secret.change': ({ resource }) => `${resource.change} ${resource.secret}`,
  'secret.changed': ({ resource, outcome }) => `${outcome.result} ${resource.secret}${because(outcome.reason)}`,
  'secret.key.change': () => 'to another master key',
  'secret.key.changed': ({ resource, outcome }) =>
    `${outcome.result}: ${resource.from ?? '?'} → ${resource.to ?? '?'}${because(outcome.reason)}`,
  'secret.granted': ({ resource }) => `${resource.secret} for ${useText(resource.use)}`,
  'secret.refused': ({ resource }) => `${resource.secret} for ${useText(resource.use)}: ${resource.reason}`,
  'secret.used': ({ resource }) => `${resource.secret} for ${resource.host ?? 'the sandbox'}`,
  'secret.revoked': ({ resource }) => `${resource.secret}, runs cut: ${resource.runs.join(', ') || 'none'}`,
  'secret.alarm': ({ resource }) => `${resource.secret} in ${resource.where}: ${resource.what}`,
  'audit.exported': ({ resource }) => `${resource.records} records to ${resource.target}`,
  'audit.recovered': ({ resource }) => `${resource.discardedBytes} bytes of ${resource.segment} discarded`,
  'configuration.changed': ({ resource }) => resource.what,
  'content.delete': ({ resource }) => `content of run ${resource.run}`,
  'content.deleted': ({ resource }) => `content of run ${resource.run}`,
};

/** Empty for a type whose name says enough. */
export function subject(event: AuditEvent): string {
  const tell = subjects[event.type] as ((event: AuditEvent) => string) | undefined;
  return tell?.(event) ?? '';
}

function toolName({ server, tool }: { readonly server: string; readonly tool: string }): string {
  return server === 'builtin' ? tool : `${server}/${tool}`;
}

function toolsText({ server, tools, hidden, changed }: Extract<AuditEvent, { type: 'mcp.tools' }>['resource']): string {
  const other = changed.length === 0 ? '' : `; CHANGED since they were told first: ${changed.join(', ')}`;
  return `${server} has ${tools} permitted tools, ${hidden} others${other}`;
}

function tokensText(tokens: Extract<AuditEvent, { type: 'llm.response' }>['outcome']['tokens']): string {
  return tokens === null ? '' : `, ${tokens.input} tokens in, ${tokens.output} out`;
}

function useText(use: Extract<AuditEvent, { type: 'secret.granted' }>['resource']['use']): string {
  if (use.kind === 'header') return use.host;
  if (use.kind === 'provider')
    return use.provider.startsWith('mcp:')
      ? `the MCP server ${use.provider.slice(4)}`
      : `the model provider ${use.provider}`;
  return use.kind === 'env' ? `the sandbox as ${use.variable}` : `the sandbox as the file ${use.path}`;
}

type How = Extract<AuditEvent, { type: 'command.exited' }>['outcome']['how'];

export function howItEnded(how: How): string {
  if (how.kind === 'exited') return how.code === 0 ? 'ok' : `exit ${how.code}`;
  if (how.kind === 'signalled') return `killed by signal ${how.signal}`;
  return how.kind === 'replaced' ? 'went on as another program' : how.kind;
}

export function shortDigest(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12);
}

function because(reason: string | null): string {
  return reason === null ? '' : `: ${reason}`;
}
