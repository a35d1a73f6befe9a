import { defaultModelLimits } from './limits.ts';
import type { ProviderOptions } from './providers/provider.ts';
import { readError } from './relay.ts';
import { Transport, type TransportOptions } from './upstream.ts';

/** Milliseconds for one question about a token. */
const TIME = 15_000;

/** Small questions that come once an hour, on connections of their own. Throws `ModelRefusal` where there is no answer. */
export function postOnce(network: Omit<TransportOptions, 'limits'> = {}): ProviderOptions['post'] {
  return async (request) => {
    const transport = new Transport({ ...network, limits: { ...defaultModelLimits, headTime: TIME } });
    try {
      const answer = await transport.send(request, AbortSignal.timeout(2 * TIME));
      return { status: answer.statusCode ?? 0, text: (await readError(answer)).toString('utf8') };
    } finally {
      transport.close();
    }
  };
}
