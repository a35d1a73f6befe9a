import type { AgentProfile } from '../agent.ts';
import { codex } from './codex.ts';
import { silent } from './shared.ts';

/** Codex behind the Agent Client Protocol: a package of its own, which brings a Codex with it. */
export const codexAcp: AgentProfile = {
  name: 'codex-acp',
  title: 'Codex’ ACP adapter',
  program: 'codex-acp',
  package: {
    name: '@agentclientprotocol/codex-acp',
    version: '2.6.0',
    entry: () => '@agentclientprotocol/codex-acp/dist/index.js',
    second: (arch) => codex.package.entry(arch),
    runtime: 'node',
  },
  mcpByAlias: true,
  plan: (session) => {
    const { env, home } = codex.plan({ ...session, mcp: [] }); // it hands over those of its session
    const { etc } = codex.plan(session); // it has the folder trusted
    return { argv: [...session.launcher, ...session.extra], env, home, ...(etc === undefined ? {} : { etc }) };
  },
  acp: () => ({
    args: [],
    env: { NO_BROWSER: '1' },
    // Otherwise it asks its model before it knows the tools of servers that take a moment to start.
    meta: { mcpStartupAwaitTimeoutMs: 90_000 },
    // In every other mode it wants a sandbox of its own, which does not start in this one: then it asks before it goes without.
    modes: { asks: 'read-only', lets: 'agent-full-access' },
  }),
  drawn: codex.drawn ?? [],
  aside: codex.aside ?? [],
  parser: silent,
};
