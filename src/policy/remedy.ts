import type { PolicyAction } from './action.ts';
import { isServerName, TOOL_NAME } from './mcp-names.ts';

/** The lines that would permit an action, and where they go. Undefined where no short form speaks of it. */
export function grantRemedy(action: PolicyAction, file: string): string | undefined {
  const line = lineFor(action);
  return line === undefined ? undefined : `add to ${file}: ${line}`;
}

function lineFor(action: PolicyAction): string | undefined {
  switch (action.action) {
    case 'net.connect':
      return `security: {allowed_network_hosts: ["${action.host}:${action.port}"]}`;
    case 'net.request':
      return `security: {allowed_network_hosts: [{host: "${action.host}", port: ${action.port}, methods: [${action.method}], paths: ["${action.path}"]}]}`;
    case 'command.execute':
      return `security: {allowed_commands: ["${action.path}"]}`;
    case 'git.fetch':
      return `git: {fetch: {refs: ["${action.ref.replace(/^refs\/heads\//, '')}"]}}`;
    case 'git.push':
      return action.tag
        ? 'git: {push: {tags: ask}}'
        : `git: {push: {branches: ["${action.ref.replace(/^refs\/heads\//, '')}"]}}`;
    case 'llm.request':
      return `llm_policy: {allowed_providers: [${action.provider}], models: ["${action.model}"]}`;
    case 'secret.use':
      if (action.host === 'sandbox') return `secrets: [{name: ${action.name}, use: {env: ${action.name}}}]`;
      return `secrets: [{name: ${action.name}, use: {host: "${action.host}", header: "Authorization: Bearer {}"}}]`;
    case 'git.sign':
      return `git: {push: {authors: ["${action.author}"]}}`;
    case 'tool.call':
      // A server's own name is written where the server is; anything else is another's idea of a name.
      if (isServerName(action.server) && TOOL_NAME.test(action.tool))
        return `mcp_servers: {${action.server}: {tools: ["${action.tool}"]}} (beside what it has)`;
      return `rules: permit (principal, action == Action::"tool.call", resource == Tool::"${action.server}/${action.tool}");`;
    case 'forge.open_pull_request':
    case 'forge.comment':
      return `rules: permit (principal, action == Action::"${action.action}", resource);`;
    default:
      return undefined;
  }
}
