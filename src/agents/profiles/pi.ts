import * as z from 'zod';
import type { AgentProfile, AgentStep } from '../agent.ts';
import { amount, parserOf, plain, some, text } from './shared.ts';

const block = z.object({ type: text, text, thinking: text });
const message = z.object({
  role: text,
  content: z.union([z.string(), z.array(block).max(10_000)]).catch([]),
  stopReason: text,
  errorMessage: text,
  usage: z.object({ input: amount, output: amount, cacheRead: amount }).optional().catch(undefined),
});
const event = z.object({
  type: z.string(),
  message: message.optional().catch(undefined),
  toolCallId: text,
  toolName: text,
  args: some,
  result: z.object({ content: some }).optional().catch(undefined),
  isError: z.boolean().catch(false),
});

/** The end is said by the last message: the stream ends in the same way, and the program with 0, whatever happened. */
function spoken({ role, content, stopReason, errorMessage, usage }: z.infer<typeof message>): AgentStep[] {
  if (role !== 'assistant') return [];
  const parts = typeof content === 'string' ? [{ type: 'text', text: content, thinking: '' }] : content;
  const failed = stopReason === 'error' || stopReason === 'aborted';
  return [
    ...parts.flatMap((part): AgentStep[] => {
      if (part.type === 'text' && part.text !== '') return [{ kind: 'message', text: part.text }];
      return part.type === 'thinking' && part.thinking !== '' ? [{ kind: 'reasoning', text: part.thinking }] : [];
    }),
    ...(usage === undefined
      ? []
      : [{ kind: 'usage', input: usage.input + usage.cacheRead, output: usage.output } as const]),
    ...(failed ? [{ kind: 'end', ok: false, reason: errorMessage || stopReason } as const] : []),
    ...(stopReason === 'stop' ? [{ kind: 'end', ok: true, reason: null } as const] : []),
  ];
}

/** pi. */
export const pi: AgentProfile = {
  name: 'pi',
  title: 'pi',
  program: 'pi',
  package: {
    name: '@earendil-works/pi-coding-agent',
    version: '0.87.1',
    entry: () => '@earendil-works/pi-coding-agent/dist/bundle/cli.js',
    runtime: 'node',
  },
  withoutMcp: 'pi takes no MCP servers',
  plan: ({ launcher, prompt, model, gateway, extra }) => ({
    argv: [...launcher, '--provider', 'cordon', '--model', model, '--mode', 'json', ...extra, '-p', prompt],
    env: { PI_OFFLINE: '1', PI_TELEMETRY: '0', PI_SKIP_VERSION_CHECK: '1' },
    home: {
      '.pi/agent/models.json': JSON.stringify({
        providers: {
          cordon: {
            baseUrl: `${gateway.url}/v1`,
            api: 'openai-completions',
            apiKey: gateway.token,
            models: [{ id: model, name: model }],
          },
        },
      }),
      '.pi/agent/settings.json': JSON.stringify({ quietStartup: true, enableInstallTelemetry: false }),
    },
  }),
  parser: () =>
    parserOf(event, (one) => {
      switch (one.type) {
        case 'message_end':
          return one.message === undefined ? [] : spoken(one.message);
        case 'tool_execution_start':
          return [{ kind: 'tool_call', id: one.toolCallId, tool: one.toolName, input: plain(one.args) }];
        case 'tool_execution_end':
          return [{ kind: 'tool_result', id: one.toolCallId, ok: !one.isError, text: plain(one.result?.content) }];
        default:
          return [];
      }
    }),
};
