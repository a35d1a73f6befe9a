import type { AgentProfile } from '../agent.ts';
import { claudeCode } from './claude-code.ts';
import { silent } from './shared.ts';

/** Claude Code behind the Agent Client Protocol: a package of its own, which brings a Claude Code with it. */
export const claudeCodeAcp: AgentProfile = {
  name: 'claude-code-acp',
  title: 'Claude Code’s ACP adapter',
  program: 'claude-agent-acp',
  package: {
    name: '@agentclientprotocol/claude-agent-acp',
    version: '0.100.0',
    entry: () => '@agentclientprotocol/claude-agent-acp/dist/index.js',
    second: (arch) => `@anthropic-ai/claude-agent-sdk-linux-${arch}/claude`,
    runtime: 'node',
  },
  plan: (session) => {
    const { env, home } = claudeCode.plan(session);
    return { argv: [...session.launcher, ...session.extra], env, home };
  },
  acp: () => ({
    args: [],
    env: {},
    // What the repository says of settings, hooks and servers is not trusted; its CLAUDE.md is still read.
    meta: { claudeCode: { options: { strictMcpConfig: true } } },
    modes: { asks: 'default' },
  }),
  drawn: claudeCode.drawn ?? [],
  aside: claudeCode.aside ?? [],
  parser: silent,
};
