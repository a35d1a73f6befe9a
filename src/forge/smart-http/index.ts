import { defaultForgeLimits, type Forge, type ForgeOptions } from '../forge.ts';
import { fetchPack, listRefs, type Peer } from './fetch.ts';
import { push } from './push.ts';
import { Transport } from './transport.ts';

/** What every forge speaks: git's smart HTTP, with the credential that its driver makes. */
export function openSmartHttp(options: ForgeOptions): Forge {
  const { repository, credential } = options;
  const limits = { ...defaultForgeLimits, ...options.limits };
  const transport = new Transport(options, limits);
  const peer = async (purpose: 'fetch' | 'push'): Promise<Peer> => ({
    name: repository.name,
    transport,
    limits,
    credential: await credential(purpose),
  });
  return {
    repository,
    listRefs: async (prefixes) => listRefs(await peer('fetch'), prefixes),
    async *fetchPack(request) {
      yield* fetchPack(await peer('fetch'), request);
    },
    push: async (request) => push(await peer('push'), request),
    close: () => transport.close(),
  };
}
