import type { AgentProfile } from '../agent.ts';
import { mcpByName, mcpNames, streamJson } from './shared.ts';

/** Qwen Code. It may take up to 2 GiB of memory. */
export const qwen: AgentProfile = {
  name: 'qwen',
  title: 'Qwen Code',
  program: 'qwen',
  package: {
    name: '@qwen-code/qwen-code',
    version: '0.24.4',
    entry: () => '@qwen-code/qwen-code/cli-entry.js',
    runtime: 'node',
  },
  mcpByAlias: true,
  plan: ({ launcher, prompt, model, gateway, mcp, home, extra }) => ({
    argv: [
      ...launcher,
      '-p',
      prompt,
      '--auth-type',
      'openai',
      '--approval-mode',
      'yolo',
      '-o',
      'stream-json',
      '-m',
      model,
      '--allowed-mcp-server-names',
      mcpNames(mcp),
      ...extra,
    ],
    env: {
      QWEN_CODE_SYSTEM_SETTINGS_PATH: `${home}/.qwen/cordon.json`,
      OPENAI_BASE_URL: `${gateway.url}/v1`,
      OPENAI_API_KEY: gateway.token,
      OPENAI_MODEL: model,
      QWEN_SANDBOX: 'false',
      QWEN_CODE_NO_RELAUNCH: 'true',
      QWEN_CODE_SUPPRESS_YOLO_WARNING: '1',
      QWEN_TELEMETRY_ENABLED: 'false',
      QWEN_USAGE_STATISTICS_ENABLED: 'false',
    },
    home: {
      // Above the repository's own settings.
      '.qwen/cordon.json': JSON.stringify({
        mcpServers: mcpByName(mcp, ({ url: httpUrl, headers }) => ({
          httpUrl,
          headers,
          trust: true,
          alwaysLoadTools: true, // otherwise its model has to search for them first
        })),
        mcp: { serverCommand: '' }, // a server besides, whatever names are allowed
      }),
      '.qwen/settings.json': JSON.stringify({
        security: { auth: { selectedType: 'openai' }, folderTrust: { enabled: false } },
        general: { disableAutoUpdate: true, disableUpdateNag: true, enableAutoUpdate: false },
        privacy: { usageStatisticsEnabled: false },
        telemetry: { enabled: false },
        ide: { enabled: false },
      }),
    },
  }),
  // It keeps the machine awake while it works; what it asks gives up, or is ended with it.
  aside: [/^\S*systemd-inhibit /],
  parser: streamJson,
};
