import { UsageError } from '../../../../base/errors.ts';
import type { WireName } from '../../wire/wire.ts';
import type { Provider, ProviderOptions } from '../provider.ts';
import { endpoint, jsonRequest, needs, onlySettings } from './shared.ts';

const PATHS = { chat: '/chat/completions', responses: '/responses' } as const;

/** https://platform.openai.com/docs/api-reference */
export function openAi(options: ProviderOptions): Provider {
  needs(options, 'key', 'key: {secret: OPENAI_API_KEY}');
  onlySettings(options, []);
  return speaking(options, 'openai', options.baseUrl ?? new URL('https://api.openai.com/v1'), ['responses', 'chat']);
}

/**
 * Whatever speaks OpenAI's protocols: vLLM, Ollama, LiteLLM, an internal gateway. `settings.wires`: `chat`, `responses` or
 * `responses,chat`, by default `chat`, which all of them have.
 */
export function openAiCompatible(options: ProviderOptions): Provider {
  onlySettings(options, ['wires']);
  const base = needs(options, 'baseUrl', 'base_url: http://127.0.0.1:11434/v1');
  const wires = (options.settings.wires ?? 'chat').split(/\s*,\s*/);
  const stray = wires.find((wire) => !Object.hasOwn(PATHS, wire));
  if (stray !== undefined)
    throw new UsageError(`the provider ${options.name} cannot speak ${stray}`, {
      remedy: 'write wires: chat, or wires: "responses, chat"',
    });
  return speaking(options, 'openai-compatible', base, wires as WireName[]);
}

function speaking(
  { name, models, key, headers }: ProviderOptions,
  driver: string,
  base: URL,
  wires: readonly WireName[],
): Provider {
  const urls = { chat: endpoint(base, PATHS.chat), responses: endpoint(base, PATHS.responses) };
  return {
    name,
    driver,
    wires,
    models,
    async prepare(call) {
      const bearer = key === null ? {} : { authorization: `Bearer ${await key()}` };
      return jsonRequest(urls[call.wire as keyof typeof urls], call, {
        ...headers,
        ...bearer,
        'x-client-request-id': call.requestId,
      });
    },
  };
}
