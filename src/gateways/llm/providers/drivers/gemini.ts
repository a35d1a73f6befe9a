import type { Provider, ProviderOptions } from '../provider.ts';
import { endpoint, geminiVerb, jsonRequest, needs, onlySettings } from './shared.ts';

/** https://ai.google.dev/api */
export function gemini(options: ProviderOptions): Provider {
  const { name, models, headers } = options;
  const key = needs(options, 'key', 'key: {secret: GEMINI_API_KEY}');
  onlySettings(options, []);
  const base = options.baseUrl ?? new URL('https://generativelanguage.googleapis.com');
  return {
    name,
    driver: 'gemini',
    wires: ['gemini'],
    models,
    async prepare(call) {
      const url = endpoint(base, `/v1beta/models/${encodeURIComponent(call.model.upstream)}:${geminiVerb(call)}`);
      if (call.stream) url.searchParams.set('alt', 'sse');
      return jsonRequest(url, call, { ...headers, 'x-goog-api-key': await key() });
    },
  };
}
