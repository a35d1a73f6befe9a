import * as z from 'zod';
import type { AgentProfile, AgentStep, McpPlace } from '../agent.ts';
import { amount, parserOf, plain, some, text } from './shared.ts';

const item = z.object({
  id: text,
  type: text,
  text,
  message: text,
  command: text,
  aggregated_output: text,
  exit_code: z.number().nullable().catch(null),
  status: text,
  changes: some,
  tool: text,
  server: text,
  arguments: some,
  result: some,
  query: text,
});
const event = z.object({
  type: z.string(),
  item: item.optional().catch(undefined),
  message: text,
  error: z.object({ message: text }).optional().catch(undefined),
  usage: z.object({ input_tokens: amount, output_tokens: amount }).optional().catch(undefined),
});

type Item = z.infer<typeof item>;

const tools = new Map<
  string,
  (one: Item) => { readonly tool: string; readonly input: string; readonly output: string }
>([
  ['command_execution', (one) => ({ tool: 'shell', input: one.command, output: one.aggregated_output })],
  ['file_change', (one) => ({ tool: 'apply_patch', input: plain(one.changes), output: one.status })],
  [
    'mcp_tool_call',
    (one) => ({ tool: `${one.server}.${one.tool}`, input: plain(one.arguments), output: plain(one.result) }),
  ],
  ['web_search', (one) => ({ tool: 'web_search', input: one.query, output: '' })],
]);

function itemSteps(one: Item): AgentStep[] {
  if (one.type === 'agent_message') return [{ kind: 'message', text: one.text }];
  if (one.type === 'reasoning') return [{ kind: 'reasoning', text: one.text }];
  if (one.type === 'error') return [{ kind: 'trouble', text: one.message }];
  const told = tools.get(one.type)?.(one);
  if (told === undefined) return [];
  const ok = one.status !== 'failed' && one.status !== 'declined' && (one.exit_code ?? 0) === 0;
  return [
    { kind: 'tool_call', id: one.id, tool: told.tool, input: told.input },
    { kind: 'tool_result', id: one.id, ok, text: told.output },
  ];
}

const plainly = '[^{}]{0,4000}';
const within = (inner: string) => `\\{(?:${plainly}${inner}){0,100}${plainly}\\}`;
/** In the metadata of a question: folders with their remotes and their commit, and the place of all that where it is left out. */
const WORKSPACES = new RegExp(
  `"workspaces":${within(within(within('\\{\\}')))},(?="turn_started_at_unix_ms":)|(?<=[^}],)(?="turn_started_at_unix_ms":)`,
  'g',
);

/** Codex CLI. It speaks Responses only, and finds its provider in a file alone. */
export const codex: AgentProfile = {
  name: 'codex',
  title: 'Codex CLI',
  drawn: [
    /(?<=--codex-run-as-process-setup )\d+/g,
    /(?<=Chunk ID: )[0-9a-f]{6}\b/g,
    // What it tells of the workspace with a question: as much as its own git had found out by then, or nothing at all.
    WORKSPACES,
  ],
  // Looks at the workspace, from several places that do not wait for each other: how often, and whether before it ends, is chance.
  aside: [/^\S*git -c safe\.bareRepository=explicit /],
  program: 'codex',
  needsMcp: true, // `required`, below
  package: {
    name: '@openai/codex',
    version: '0.169.0',
    entry: (arch) =>
      `@openai/codex-linux-${arch}/vendor/${arch === 'arm64' ? 'aarch64' : 'x86_64'}-unknown-linux-musl/bin/codex`,
    runtime: 'native',
  },
  plan: ({ launcher, prompt, model, gateway, mcp, extra }) => ({
    argv: [
      ...launcher,
      'exec',
      '--json',
      '--skip-git-repo-check',
      '--dangerously-bypass-approvals-and-sandbox', // a nested sandbox does not start in this one
      ...extra,
      '--',
      prompt,
    ],
    env: { CORDON_MODEL_KEY: gateway.token },
    home: { '.codex/config.toml': configuration(model, gateway.url) + mcp.map(serverTable).join('') },
    etc: required(mcp),
  }),
  parser: () =>
    parserOf(event, (one) => {
      if (one.type === 'item.completed' && one.item !== undefined) return itemSteps(one.item);
      if (one.type === 'error') return [{ kind: 'trouble', text: one.message }];
      if (one.type === 'turn.failed')
        return [{ kind: 'end', ok: false, reason: one.error?.message || 'the turn failed' }];
      if (one.type !== 'turn.completed') return [];
      const { input_tokens: input = 0, output_tokens: output = 0 } = one.usage ?? {};
      return [
        { kind: 'usage', input, output },
        { kind: 'end', ok: true, reason: null },
      ];
    }),
};

/** A JSON string is a TOML string too. */
const toml = (value: string) => JSON.stringify(value);

/** A repository's own `.codex` is not read: its folder is not trusted. Codex asks its model before it knows the tools of servers that are not required. */
function serverTable({ name, url, token }: McpPlace): string {
  return `
[mcp_servers.${toml(name)}]
url = ${toml(url)}
required = true
startup_timeout_sec = 90
http_headers = { Authorization = ${toml(`Bearer ${token}`)} }
`;
}

/** No server is started but at these names and addresses, wherever it is set, also where somebody has the folder trusted. */
function required(mcp: readonly McpPlace[]): Record<string, string> {
  const servers = mcp.map(({ name, url }) => `[mcp_servers.${toml(name)}.identity]\nurl = ${toml(url)}\n`);
  return { 'codex/requirements.toml': `[mcp_servers]\n\n${servers.join('\n')}` };
}

/**
 * Without its snapshot of the user's shell: a sandbox that is thrown away has no settings to take over, and the programs that look for
 * them would run into each turn's end.
 */
function configuration(model: string, url: string): string {
  return `model = ${toml(model)}
model_provider = "cordon"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
web_search = "disabled"

[analytics]
enabled = false

[feedback]
enabled = false

[history]
persistence = "none"

[features]
apps = false
plugins = false
remote_plugin = false
browser_use = false
computer_use = false
api_key_model_discovery = false
shell_snapshot = false

[model_providers.cordon]
name = "Cordon"
base_url = ${toml(`${url}/v1`)}
env_key = "CORDON_MODEL_KEY"
wire_api = "responses"
requires_openai_auth = false
supports_websockets = false

[projects."/workspace"]
trust_level = "untrusted"
`;
}
