import type { AgentProfile, McpPlace } from '../agent.ts';
import { mcpByName, streamJson } from './shared.ts';

/** Below the home folder: a token is no argument. */
const SERVERS = '.claude/cordon-mcp.json';
const servers = (mcp: readonly McpPlace[]) =>
  JSON.stringify({ mcpServers: mcpByName(mcp, (place) => ({ type: 'http', ...place })) });

/** Claude Code. Its package brings one program a platform; its install script would only link it. */
export const claudeCode: AgentProfile = {
  name: 'claude-code',
  title: 'Claude Code',
  drawn: [/(?<=\/shell-snapshots\/snapshot-bash-)\d+-[a-z0-9]+(?=\.sh)/g, /(?<=CLAUDE_CODE_END_)[a-z0-9]+/g],
  // Looks at the workspace, and at whether somebody is logged in: each with a time of its own to give up at.
  aside: [/^\S*git .*-c core\.fsmonitor= /s, /^\S+\/claude auth status --json$/],
  program: 'claude',
  package: {
    name: '@anthropic-ai/claude-code',
    version: '2.1.330',
    entry: (arch) => `@anthropic-ai/claude-code-linux-${arch}/claude`,
    runtime: 'native',
  },
  plan: ({ launcher, prompt, model, gateway, mcp, home, extra }) => ({
    argv: [
      ...launcher,
      '-p',
      prompt,
      '--output-format',
      'stream-json',
      '--verbose',
      '--dangerously-skip-permissions', // the sandbox is the boundary; its own questions have nobody to answer them
      '--model',
      model,
      // Before another option: it takes as many files as there are.
      ...(mcp.length === 0 ? [] : ['--mcp-config', `${home}/${SERVERS}`]),
      '--strict-mcp-config', // none that the repository brings along
      ...extra,
    ],
    env: {
      ANTHROPIC_BASE_URL: gateway.url,
      ANTHROPIC_API_KEY: gateway.token,
      ANTHROPIC_MODEL: model,
      ANTHROPIC_SMALL_FAST_MODEL: model,
      ANTHROPIC_DEFAULT_HAIKU_MODEL: model,
      ANTHROPIC_DEFAULT_SONNET_MODEL: model,
      ANTHROPIC_DEFAULT_OPUS_MODEL: model,
      CLAUDE_CODE_SUBAGENT_MODEL: model,
      ENABLE_TOOL_SEARCH: 'false', // models of other providers know nothing of tools that are told later
      IS_SANDBOX: '1',
      DISABLE_AUTOUPDATER: '1',
      DISABLE_UPDATES: '1',
      DISABLE_TELEMETRY: '1',
      DISABLE_ERROR_REPORTING: '1',
      DISABLE_BUG_COMMAND: '1',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION: 'false', // nobody is there to type it
    },
    home: {
      ...(mcp.length === 0 ? {} : { [SERVERS]: servers(mcp) }),
      '.claude.json': JSON.stringify({ hasCompletedOnboarding: true, autoUpdates: false }),
      '.claude/settings.json': JSON.stringify({ includeCoAuthoredBy: false, sandbox: { enabled: false } }),
    },
  }),
  parser: streamJson,
};
