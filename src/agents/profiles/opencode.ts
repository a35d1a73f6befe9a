import * as z from 'zod';
import type { AgentProfile, AgentStep } from '../agent.ts';
import { amount, mcpByName, parserOf, plain, some, text } from './shared.ts';

const part = z.object({
  text,
  tool: text,
  callID: text,
  reason: text,
  state: z.object({ status: text, input: some, output: text, error: some }).optional().catch(undefined),
  tokens: z.object({ input: amount, output: amount }).optional().catch(undefined),
});
const event = z.object({
  type: z.string(),
  part: part.optional().catch(undefined),
  error: z
    .object({ name: text, data: z.object({ message: text }).optional().catch(undefined) })
    .optional()
    .catch(undefined),
});

function steps(one: z.infer<typeof event>): AgentStep[] {
  if (one.type === 'error') {
    const reason = one.error?.data?.message || one.error?.name || 'an error';
    return [{ kind: 'end', ok: false, reason }];
  }
  if (one.part === undefined) return [];
  const { text: words, tool, callID: id, state, tokens, reason } = one.part;
  switch (one.type) {
    case 'text':
      return [{ kind: 'message', text: words }];
    case 'reasoning':
      return [{ kind: 'reasoning', text: words }];
    case 'tool_use': {
      const ok = state?.status !== 'error';
      return [
        { kind: 'tool_call', id, tool, input: plain(state?.input) },
        { kind: 'tool_result', id, ok, text: ok ? (state?.output ?? '') : plain(state?.error) },
      ];
    }
    case 'step_finish':
      return [
        ...(tokens === undefined ? [] : [{ kind: 'usage', ...tokens } as const]),
        ...(reason === 'stop' ? [{ kind: 'end', ok: true, reason: null } as const] : []),
      ];
    default:
      return [];
  }
}

/** opencode. Told of its one provider in a file; it would fetch a catalogue of models and plugins otherwise. */
export const opencode: AgentProfile = {
  name: 'opencode',
  title: 'opencode',
  program: 'opencode',
  package: {
    name: 'opencode-ai',
    version: '1.18.33',
    // Runs on processors without AVX2 too.
    entry: (arch) =>
      arch === 'x64' ? 'opencode-linux-x64-baseline/bin/opencode' : `opencode-linux-${arch}/bin/opencode`,
    runtime: 'native',
  },
  plan: ({ launcher, prompt, model, gateway, mcp, extra }) => ({
    argv: [...launcher, 'run', '--format', 'json', '--model', `cordon/${model}`, ...extra, '--', prompt],
    env: {
      OPENCODE_DISABLE_AUTOUPDATE: '1',
      OPENCODE_DISABLE_MODELS_FETCH: '1',
      OPENCODE_DISABLE_DEFAULT_PLUGINS: '1',
      OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
      OPENCODE_DISABLE_SHARE: '1',
      OPENCODE_DISABLE_PROJECT_CONFIG: '1', // settings of the repository: servers, plugins, providers
      OPENCODE_PURE: '1', // it would install the packages of plugins
    },
    home: {
      '.config/opencode/opencode.json': JSON.stringify({
        $schema: 'https://opencode.ai/config.json',
        autoupdate: false,
        share: 'disabled',
        model: `cordon/${model}`,
        small_model: `cordon/${model}`,
        // With the repository's settings its notes would not be read either.
        instructions: ['/workspace/AGENTS.md', '/workspace/CLAUDE.md'],
        mcp: mcpByName(mcp, (place) => ({ type: 'remote', ...place, enabled: true, oauth: false })),
        permission: { edit: 'allow', bash: 'allow', webfetch: 'deny' },
        provider: {
          cordon: {
            npm: '@ai-sdk/openai-compatible',
            name: 'Cordon',
            options: { baseURL: `${gateway.url}/v1`, apiKey: gateway.token },
            models: { [model]: { name: model, tool_call: true } },
          },
        },
      }),
    },
  }),
  // Who talks with it answers its questions.
  acp: () => ({
    args: ['acp'],
    env: { OPENCODE_PERMISSION: JSON.stringify({ edit: 'ask', bash: 'ask' }) },
    modes: { asks: 'build' }, // asks what its settings say, as every one of its modes
  }),
  // Its store of snapshots, and which files are ignored: it ends without waiting. It gives that git settings that nobody else does.
  aside: [/^\S*git .*(?:-c core\.longpaths=true |\/\.local\/share\/opencode\/snapshot\/)/s],
  parser: () => parserOf(event, steps),
};
