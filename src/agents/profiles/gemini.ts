import * as z from 'zod';
import type { AgentProfile } from '../agent.ts';
import { amount, mcpByName, mcpNames, parserOf, plain, some, text } from './shared.ts';

const event = z.object({
  type: z.string(),
  role: text,
  content: text,
  tool_name: text,
  tool_id: text,
  parameters: some,
  status: text,
  output: some,
  message: text,
  error: z.object({ message: text }).optional().catch(undefined),
  stats: z.object({ input_tokens: amount, output_tokens: amount }).optional().catch(undefined),
});

/** Gemini CLI. */
export const gemini: AgentProfile = {
  name: 'gemini',
  title: 'Gemini CLI',
  program: 'gemini',
  package: {
    name: '@google/gemini-cli',
    version: '0.61.0',
    entry: () => '@google/gemini-cli/bundle/gemini.js',
    runtime: 'node',
  },
  mcpByAlias: true,
  plan: ({ launcher, prompt, model, gateway, mcp, extra }) => ({
    argv: [
      ...launcher,
      '-p',
      prompt,
      '--approval-mode',
      'yolo',
      '--output-format',
      'stream-json',
      '-m',
      model,
      '--allowed-mcp-server-names',
      mcpNames(mcp),
      ...extra,
    ],
    env: {
      GOOGLE_GEMINI_BASE_URL: gateway.url,
      GEMINI_API_KEY: gateway.token,
      GEMINI_MODEL: model,
      GEMINI_CLI_TRUST_WORKSPACE: 'true',
      GEMINI_CLI_NO_RELAUNCH: 'true',
      GEMINI_SANDBOX: 'false',
      GEMINI_TELEMETRY_ENABLED: 'false',
    },
    home: {
      '.gemini/settings.json': JSON.stringify({
        mcpServers: mcpByName(mcp, ({ url: httpUrl, headers }) => ({ httpUrl, headers, trust: true })),
        security: { auth: { selectedType: 'gemini-api-key' }, folderTrust: { enabled: false } },
        general: {
          enableAutoUpdate: false,
          enableAutoUpdateNotification: false,
          disableAutoUpdate: true,
          disableUpdateNag: true,
        },
        privacy: { usageStatisticsEnabled: false },
        telemetry: { enabled: false },
        ide: { enabled: false },
      }),
    },
  }),
  acp: ({ model, mcp }) => ({
    args: ['--acp', '-m', model, '--allowed-mcp-server-names', mcpNames(mcp)],
    env: {},
    modes: { asks: 'default' },
  }),
  parser: () => {
    let said = '';
    return parserOf(event, (one) => {
      // A message comes in pieces: it is told when something else follows.
      if (one.type === 'message') {
        if (one.role === 'assistant' && said.length < MOST) said += one.content;
        return [];
      }
      const message = said === '' ? [] : [{ kind: 'message', text: said } as const];
      said = '';
      return [...message, ...after(one)];
    });
  },
};

/** Characters of one message. */
const MOST = 1 << 20;

function after(one: z.infer<typeof event>): ReturnType<ReturnType<AgentProfile['parser']>['line']> {
  switch (one.type) {
    case 'tool_use':
      return [{ kind: 'tool_call', id: one.tool_id, tool: one.tool_name, input: plain(one.parameters) }];
    case 'tool_result': {
      const ok = one.status === 'success';
      return [{ kind: 'tool_result', id: one.tool_id, ok, text: plain(one.output) || (one.error?.message ?? '') }];
    }
    case 'error':
      return [{ kind: 'trouble', text: one.message }];
    case 'result': {
      const { input_tokens: input = 0, output_tokens: output = 0 } = one.stats ?? {};
      const ok = one.status === 'success';
      return [
        { kind: 'usage', input, output },
        { kind: 'end', ok, reason: ok ? null : one.error?.message || one.status || 'an error' },
      ];
    }
    default:
      return [];
  }
}
