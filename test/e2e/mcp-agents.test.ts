/** Agents from npm with the MCP servers that a policy names, and with those that a repository brings along, which are not started. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Replayed } from '../../src/runs/replay.ts';
import { AgentSite, SKILLS_IN_ANY_ORDER, unexplained } from '../fakes/agents.ts';
import { McpSite } from '../fakes/mcp/site.ts';
import type { Heard } from '../fakes/models/server.ts';
import type { Turn } from '../fakes/models/turn.ts';

const AGENTS = [
  { agent: 'claude-code', provider: 'claude', talks: false },
  { agent: 'codex', provider: 'openai', talks: false },
  { agent: 'opencode', provider: 'chat', talks: false },
  { agent: 'gemini', provider: 'gemini', talks: false },
  { agent: 'gemini', provider: 'gemini', talks: true },
  { agent: 'qwen', provider: 'chat', talks: false },
  { agent: 'opencode', provider: 'chat', talks: true },
  { agent: 'claude-code-acp', provider: 'claude', talks: true },
  { agent: 'codex-acp', provider: 'openai', talks: true },
] as const;

/** The server's program, where a user of the machine has it. */
const installed = new McpSite('');
const site = new AgentSite(`mcp_servers:
  docs: {command: [/usr/bin/node, /run/cordon/mcp/server.mjs], tools: [add]}
`);

/** A server of each agent's own settings, one of them under the name that the policy permits. */
const program = { command: '/bin/sh', args: ['-c', 'echo brought along'] };
const both = { mcpServers: { docs: program, other: program } };
// These take the repository's own settings: `mcp` is the name that the one by `serverCommand` gets.
const trusted = {
  mcpServers: both.mcpServers,
  mcp: { allowed: ['other', 'docs', 'mcp'], serverCommand: '/bin/sh -c "echo brought along"' },
};
const toml = (name: string) => `[mcp_servers.${name}]\ncommand = "/bin/sh"\nargs = ["-c", "echo brought along"]\n`;
const opencode = { type: 'local', command: [program.command, ...program.args], enabled: true };

beforeAll(async () => {
  site.useCache();
  site.env.XDG_CONFIG_HOME = `${installed.root}/.config`;
  site.project
    .write('.mcp.json', JSON.stringify(both))
    .write('.gemini/settings.json', JSON.stringify(trusted))
    .write('.qwen/settings.json', JSON.stringify(trusted))
    .write('.claude/settings.json', JSON.stringify({ enableAllProjectMcpServers: true }))
    .write('.codex/config.toml', `${toml('docs')}${toml('other')}`)
    .write('opencode.json', JSON.stringify({ mcp: { docs: opencode, other: opencode } }));
  site.project.commit('brings its own');
  await site.open();
});
afterAll(async () => {
  await site.close();
  installed.dispose();
});

/** Every tool that is offered, with the namespace it stands in. */
function offered({ body }: Heard): { name: string; namespace?: string }[] {
  // biome-ignore lint/suspicious/noExplicitAny: four protocols
  const flat = (tool: any): any[] => {
    if (tool.functionDeclarations) return tool.functionDeclarations;
    if (tool.type === 'namespace') return tool.tools.map((one: object) => ({ ...one, namespace: tool.name }));
    return [tool.function ?? tool];
  };
  return (body.tools ?? []).flatMap(flat);
}

/** Has the agent add two numbers by the tool of the policy's server. */
function adds(heard: Heard): Turn {
  const tools = offered(heard);
  if (tools.length === 0) return { text: 'A title' };
  if (/"functionResponse"|call_add_1/.test(JSON.stringify(heard.body))) return { text: 'Done.' };
  const tool = tools.find(
    ({ name, namespace }) => /^add$|docs.*add$/.test(`${name}`) && `${namespace ?? 'docs'}`.includes('docs'),
  );
  if (tool === undefined)
    return { text: `no add among ${tools.map(({ name, namespace }) => `${namespace ?? ''}/${name}`).join()}` };
  const namespace = tool.namespace === undefined ? {} : { namespace: tool.namespace };
  return {
    text: 'I will add.',
    tools: [{ id: 'call_add_1', name: tool.name, arguments: { a: 2, b: 3 }, ...namespace }],
  };
}

let missing: string | null = null;

describe.each(AGENTS)('$agent, talked with: $talks', ({ agent, provider, talks }) => {
  beforeAll(async () => {
    missing ??= await site.install(agent);
  }, 300_000);

  test('calls a tool of the policy’s server, and starts none of the repository’s', async (context) => {
    if (missing !== null) return context.skip(missing);
    site.script = adds;
    site.upstream.heard.length = 0;
    const model = ['--model', `${provider}/small-1`, '--deliver', 'none'];
    const who = ['--agent', talks ? 'acp' : agent];
    const typed = ['run', '--json', '-w', site.project.dir, ...who, ...model, 'add two and three'];
    const { stderr, result } = await site.type(...typed, ...(talks ? ['--', agent] : [])).done;
    expect(result?.status, stderr).toBe('succeeded');
    const events = site.events(result.runId);
    const called = events.filter(({ type, resource }) => type === 'tool.requested' && resource.server === 'docs');
    expect(called, stderr).toMatchObject([{ resource: { tool: 'add', input: '{"a":2,"b":3}' } }]);
    const ended = events.filter(({ type, resource }) => type === 'tool.ended' && resource.server === 'docs');
    expect(ended).toMatchObject([{ outcome: { result: 'done', text: '5' } }]);
    const programs = events
      .filter(({ type }) => type === 'command.started')
      .map(({ resource }) => resource.argv.join(' '));
    expect(programs.filter((line) => line.includes('brought along'))).toEqual([]);
    expect(site.verify()).toEqual([]);
    if (agent !== 'gemini' || talks) return;
    const replay = await site.type('runs', 'replay', result.runId, '--json').done;
    const { divergences } = replay.result as unknown as Replayed;
    expect(unexplained(divergences, SKILLS_IN_ANY_ORDER), replay.stderr).toEqual([]); // by the same alias
  }, 300_000);
});

describe.each([
  { agent: 'codex', typed: ['--agent', 'codex', 'add two and three'] },
  { agent: 'codex-acp', typed: ['--agent', 'acp', 'add two and three', '--', 'codex-acp'] },
])('$agent', ({ agent, typed }) => {
  beforeAll(async () => {
    missing ??= await site.install(agent);
  }, 300_000);

  test('asks its model when it has the tools of a server that is slow to start', async (context) => {
    if (missing !== null) return context.skip(missing);
    const program = 'sleep 5; exec /usr/bin/node /run/cordon/mcp/server.mjs';
    const slow = new AgentSite(`mcp_servers: {docs: {command: [/bin/sh, -c, "${program}"], tools: [add]}}\n`);
    slow.useCache();
    slow.env.XDG_CONFIG_HOME = `${installed.root}/.config`;
    await slow.open();
    slow.script = adds;
    const run = ['run', '--json', '-w', slow.project.dir, '--model', 'openai/small-1', '--deliver', 'none'];
    const { stderr, result } = await slow.type(...run, ...typed).done;
    const asked = slow.events(result.runId, 'tool.requested').filter(({ resource }) => resource.server);
    expect(asked, stderr).toMatchObject([{ resource: { server: 'docs', tool: 'add' } }]);
    await slow.close();
  }, 300_000);
});

test('codex goes on without a server that does not start', async (context) => {
  if (missing !== null) return context.skip(missing);
  const dead = new AgentSite('mcp_servers: {docs: {command: [/bin/false], tools: [add]}}\n');
  dead.useCache();
  dead.env.XDG_CONFIG_HOME = `${installed.root}/.config`;
  await dead.open();
  const { stderr, result } = await dead.runAgent('codex', 'openai', () => ({ text: 'Done.' }), '--deliver', 'none');
  expect(result?.status, stderr).toBe('succeeded');
  expect(stderr).toContain('the agent goes on without the tools of the MCP server docs');
  expect(dead.events(result.runId, 'mcp.started')).toMatchObject([{ outcome: { result: 'failed' } }]);
  await dead.close();
}, 300_000);
