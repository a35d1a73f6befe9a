import { anthropic } from './drivers/anthropic.ts';
import { azureOpenAi } from './drivers/azure.ts';
import { bedrock } from './drivers/bedrock.ts';
import { gemini } from './drivers/gemini.ts';
import { openAi, openAiCompatible } from './drivers/openai.ts';
import { vertex } from './drivers/vertex.ts';
import type { Provider, ProviderOptions } from './provider.ts';

/** One line for each driver. */
export const providerDrivers = {
  anthropic,
  'azure-openai': azureOpenAi,
  bedrock,
  gemini,
  openai: openAi,
  'openai-compatible': openAiCompatible,
  vertex,
} satisfies Record<string, (options: ProviderOptions) => Provider>;

export type ProviderDriverName = keyof typeof providerDrivers;
