import type { Socket } from 'node:net';
import { isAddress } from '../../policy/hosts.ts';
import { type Connector, checkAddress, connected, type Dialer, type Resolver, resolve } from './dial.ts';
import { parseResponseHead } from './head.ts';
import { Inlet } from './inlet.ts';
import { asRefusal, Refusal } from './refusal.ts';
import { hostHeader, type Target } from './target.ts';

/** The proxy of a network that lets nothing out but through it. The operator names it; no guest and no policy does. */
export interface UpstreamProxy {
  readonly host: string;
  readonly port: number;
}

/**
 * Dials through a proxy. The name goes to the proxy as it was judged, and the proxy resolves it: which address it finds
 * cannot be checked from here, so that is its duty. What a policy calls private is dialled directly.
 */
export function throughProxy(
  proxy: UpstreamProxy,
  direct: Dialer,
  resolver: Resolver,
  connector: Connector,
  time: number,
): Dialer {
  return {
    async dial(target, facts) {
      if (facts.private) return direct.dial(target, facts);
      if (isAddress(target.host)) checkAddress(target.host.replace(/^\[|\]$/g, ''), target, facts);
      let socket: Socket | null = null;
      try {
        const [address = ''] = await resolve(resolver, proxy, time);
        socket = await connected(connector(address, proxy.port), time);
        await establish(socket, target, time);
        return { socket, address: null };
      } catch (cause) {
        socket?.destroy();
        const detail = cause instanceof Refusal ? cause.message : 'it does not answer';
        throw new Refusal(
          'connect_failed',
          `the network's proxy does not lead to ${target.host}:${target.port}: ${detail}`,
          {
            ...target,
            cause,
          },
        );
      }
    },
  };
}

async function establish(socket: Socket, target: Target, time: number): Promise<void> {
  const authority = hostHeader(target, 0);
  const inlet = new Inlet(socket);
  const timer = setTimeout(() => socket.destroy(), time);
  try {
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    const head = await inlet.readHead(() => {});
    if (head === null) throw new Refusal('connect_failed', 'it ended the connection');
    const answer = parseResponseHead(head, 'CONNECT');
    if (!answer.ok) throw new Refusal('connect_failed', `it answered with ${answer.message}`);
    if (answer.value.status !== 200) throw new Refusal('connect_failed', `it answered ${answer.value.status}`);
    // Nobody has spoken to the host yet: bytes now are the proxy's own, and would be taken for the host's.
    if (inlet.size > 0) throw new Refusal('connect_failed', 'it sent bytes of its own');
    inlet.release();
  } catch (error) {
    throw asRefusal(error);
  } finally {
    clearTimeout(timer);
  }
}
