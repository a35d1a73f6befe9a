import { anthropic } from './drivers/anthropic.ts';
import { gemini } from './drivers/gemini.ts';
import { openAi, openAiCompatible } from './drivers/openai.ts';
import type { Provider, ProviderOptions } from './provider.ts';

/** One line for each driver. */
export const providerDrivers = {
  anthropic,
  gemini,
  openai: openAi,
  'openai-compatible': openAiCompatible,
} satisfies Record<string, (options: ProviderOptions) => Provider>;

export type ProviderDriverName = keyof typeof providerDrivers;
