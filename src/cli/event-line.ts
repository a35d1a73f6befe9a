import type { AuditEvent } from '../audit/event.ts';
import { formatSize } from '../base/size.ts';
import { clip, type Palette, safeText, shellLine } from '../base/term.ts';
import { type AgentRequest, agentWords } from '../runs/request.ts';

/** One event as one line: number, time, run, type, what it is about, what came of it. Everything in it is escaped. */
export function eventLine(event: AuditEvent, style: Palette, width: number): string {
  const head = [String(event.seq).padStart(6), event.time.slice(11, 23), event.run?.slice(-6) ?? '      '].join(' ');
  const room = Math.max(20, width - head.length - 22);
  return `${style.dim(head)} ${event.type.padEnd(18)} ${marked(event, style)}${clip(safeText(subject(event)), room)}`;
}

function marked(event: AuditEvent, style: Palette): string {
  switch (event.decision?.effect) {
    case 'permit':
      return `${style.green('permit')} `;
    case 'deny':
      return `${style.red('deny')} `;
    case 'ask':
      return `${style.yellow('ask')} `;
    default:
      return '';
  }
}

/** What the event is about, in a few words. */
export function subject(event: AuditEvent): string {
  switch (event.type) {
    case 'run.created':
      return `${event.principal.id}: ${shellLine(agentWords(event.resource.agent as AgentRequest))} in ${event.resource.workspace}`;
    case 'run.started':
      return `from ${event.resource.base.slice(0, 12)} in ${event.resource.driver}`;
    case 'run.state':
      return `${event.resource.from ?? 'nothing'} → ${event.resource.to}`;
    case 'run.stopped':
      return `${event.outcome.status}: ${event.outcome.reason}`;
    case 'run.lost':
      return event.outcome.reason;
    case 'policy.loaded':
      return `${event.resource.layers.map((layer) => layer.file).join(' + ')} = ${shortDigest(event.resource.effective)}`;
    case 'command.decided':
      return event.resource.path ?? event.resource.requested;
    case 'command.started':
      return shellLine(event.resource.argv);
    case 'command.exited':
      return `${event.resource.path} ${howItEnded(event.outcome.how)}`;
    case 'recorder.lost':
      return event.resource.reason;
    case 'limit.reached':
      return `${event.resource.limit}: ${event.resource.detail}`;
    case 'file.changed':
      return `${event.resource.change} ${event.resource.path}`;
    case 'files.summary':
      return `${event.resource.added} added, ${event.resource.modified} modified, ${event.resource.deleted} deleted`;
    case 'output.kept':
      return `${event.resource.stream}, ${formatSize(event.resource.bytes)}${event.resource.cut ? ', cut' : ''}`;
    default:
      return crossing(event);
  }
}

function crossing(event: AuditEvent): string {
  switch (event.type) {
    case 'network.decided':
      return `${event.resource.method ?? 'connect to'} ${event.resource.host}:${event.resource.port}${event.resource.path ?? ''}`;
    case 'network.closed':
      return `${event.resource.host}:${event.resource.port} ${event.outcome.result}, ${formatSize(event.outcome.bytesIn)} in`;
    case 'git.fetch':
      return event.resource.ref;
    case 'git.fetched':
      return `${event.outcome.result} ${event.resource.ref}, ${formatSize(event.outcome.bytes)}${because(event.outcome.reason)}`;
    case 'mirror.fetch':
      return event.resource.repository;
    case 'mirror.fetched':
      return `${event.outcome.result} ${event.resource.repository}, ${formatSize(event.resource.bytes)}${because(event.outcome.reason)}`;
    case 'llm.request':
      return `${event.resource.provider}/${event.resource.model}, ${formatSize(event.resource.bytes)}`;
    case 'llm.response':
      return `${event.resource.provider}/${event.resource.model} ${event.outcome.result}${tokensText(event.outcome.tokens)}${because(event.outcome.reason)}`;
    case 'llm.replayed':
      return `${event.resource.wire}: ${event.resource.fit}`;
    case 'run.recorded':
      return `${event.resource.entries} entries, ${formatSize(event.resource.bytes)}${event.resource.cut ? ', cut' : ''}`;
    case 'llm.budget':
      return `${event.resource.percent} % of the budget of ${event.resource.budget}`;
    case 'llm.unjudged':
      return `${event.resource.what}: ${event.resource.detail}`;
    case 'git.received':
      return `${event.resource.commands.map((c) => c.ref).join(', ')}, ${formatSize(event.resource.packBytes)}`;
    case 'git.decided':
      return `${event.outcome.result} ${event.resource.kind} of ${event.resource.ref}${because(event.outcome.reason)}`;
    case 'git.certified':
      return `${event.resource.key} until ${event.resource.validBefore}, serial ${event.resource.serial}`;
    case 'git.sign.decided':
      return `a commit by ${event.resource.author ?? 'nobody'}`;
    case 'git.signed':
      return `${event.outcome.result} ${event.resource.commit ?? ''}${because(event.outcome.reason)}`;
    case 'git.revoked':
      return `the key of run ${event.resource.run}, serial ${event.resource.serial}`;
    case 'git.forwarded':
      return `${event.resource.ref} to ${event.resource.target}`;
    case 'git.forward.done':
      return `${event.outcome.result} ${event.resource.ref}${because(event.outcome.reason)}`;
    case 'delivery.patch':
      return `${event.resource.target}, ${formatSize(event.resource.bytes)}`;
    case 'delivery.patch.done':
      return `${event.outcome.result} ${event.resource.target}${because(event.outcome.reason)}`;
    case 'attestation.issued':
      return `${event.resource.ref} at ${event.resource.to.slice(0, 12)}`;
    case 'approval.requested':
      return event.resource.summary;
    case 'approval.decided':
      return `${event.outcome.answer} by ${event.principal.id}${because(event.outcome.note)}`;
    case 'agent.install':
    case 'agent.installed':
      return `${event.resource.agent}: ${event.resource.package} ${event.resource.version}`;
    case 'agent.prepared':
      return `${event.resource.agent} ${event.resource.version} with ${event.resource.model}`;
    case 'agent.prompted':
      return `${event.resource.name ?? 'an agent without a name'} ${event.resource.version ?? ''}`;
    case 'agent.message':
      return event.resource.text;
    case 'agent.tool.called':
      return `${event.resource.tool} ${event.resource.input}`;
    case 'agent.tool.returned':
      return `${event.resource.ok ? 'ok' : 'failed'} ${event.resource.text}`;
    case 'tool.requested':
      return `${toolName(event.resource)} ${event.resource.input}`;
    case 'tool.ended':
      return `${toolName(event.resource)} ${event.outcome.result}, ${event.outcome.text}`;
    case 'tool.asked':
      return `${event.resource.server}: ${event.resource.tool}`;
    case 'tool.answered':
      return `${event.resource.server}: ${event.resource.tool}, ${event.outcome.result}${because(event.outcome.reason)}`;
    case 'mcp.start':
      return `${event.resource.server}: ${shellLine(event.resource.where)}`;
    case 'mcp.started':
      return `${event.resource.server} ${event.outcome.result}${because(event.outcome.reason)}`;
    case 'mcp.stopped':
      return `${event.resource.server}: ${event.resource.reason}`;
    case 'mcp.tools':
      return toolsText(event.resource);
    case 'mcp.refused':
    case 'mcp.unjudged':
      return `${event.resource.server ?? 'MCP'}: ${event.resource.what}, ${event.resource.detail}`;
    case 'mcp.command':
      return `${event.resource.server}: ${shellLine(event.resource.argv)} ${event.resource.end}`;
    case 'mcp.replayed':
      return `${event.resource.server} ${event.resource.method}: ${event.resource.fit}`;
    case 'agent.ended':
      return `${event.resource.ok ? 'says it is done' : `failed: ${event.resource.reason}`}, ${event.resource.toolCalls} tool calls`;
    case 'secret.change':
      return `${event.resource.change} ${event.resource.secret}`;
    case 'secret.changed':
      return `${event.outcome.result} ${event.resource.secret}${because(event.outcome.reason)}`;
    case 'secret.key.change':
      return 'to another master key';
    case 'secret.key.changed':
      return `${event.outcome.result}: ${event.resource.from ?? '?'} → ${event.resource.to ?? '?'}${because(event.outcome.reason)}`;
    case 'secret.granted':
      return `${event.resource.secret} for ${useText(event.resource.use)}`;
    case 'secret.refused':
      return `${event.resource.secret} for ${useText(event.resource.use)}: ${event.resource.reason}`;
    case 'secret.used':
      return `${event.resource.secret} for ${event.resource.host ?? 'the sandbox'}`;
    case 'secret.revoked':
      return `${event.resource.secret}, runs cut: ${event.resource.runs.join(', ') || 'none'}`;
    case 'secret.alarm':
      return `${event.resource.secret} in ${event.resource.where}: ${event.resource.what}`;
    case 'audit.exported':
      return `${event.resource.records} records to ${event.resource.target}`;
    case 'audit.recovered':
      return `${event.resource.discardedBytes} bytes of ${event.resource.segment} discarded`;
    case 'configuration.changed':
      return event.resource.what;
    case 'content.delete':
    case 'content.deleted':
      return `content of run ${event.resource.run}`;
    default:
      return '';
  }
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
