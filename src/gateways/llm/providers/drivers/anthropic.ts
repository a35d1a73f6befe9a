import type { Provider, ProviderOptions } from '../provider.ts';
import { endpoint, jsonRequest, needs, onlySettings } from './shared.ts';

const VERSION = '2023-06-01';

/** https://docs.anthropic.com/en/api/messages, and what speaks it elsewhere. */
export function anthropic(options: ProviderOptions): Provider {
  const { name, models, headers } = options;
  const key = needs(options, 'key', 'key: {secret: ANTHROPIC_API_KEY}');
  onlySettings(options, []);
  const base = options.baseUrl ?? new URL('https://api.anthropic.com');
  return {
    name,
    driver: 'anthropic',
    wires: ['messages'],
    models,
    async prepare(call) {
      const path = call.operation === 'count' ? '/v1/messages/count_tokens' : '/v1/messages';
      return jsonRequest(endpoint(base, path), call, {
        'anthropic-version': VERSION,
        ...call.headers,
        ...headers,
        'x-api-key': await key(),
      });
    },
  };
}
