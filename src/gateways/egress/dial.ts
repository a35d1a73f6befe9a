import { lookup } from 'node:dns/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isAddress } from '../../policy/hosts.ts';
import type { HostFacts } from '../../policy/index.ts';
import { addressKind, sameAddress } from './addresses.ts';
import { Refusal } from './refusal.ts';
import type { Target } from './target.ts';

/** All addresses of a name, in the order they should be tried. Rejects when there is none. */
export type Resolver = (name: string) => Promise<readonly string[]>;
/** Starts a connection to exactly this address; the socket may still be connecting. */
export type Connector = (address: string, port: number) => Socket;

export const systemResolver: Resolver = async (name) =>
  (await lookup(name, { all: true })).map((found) => found.address);

export const systemConnector: Connector = (address, port) =>
  connectTcp({ host: address, port, allowHalfOpen: true, noDelay: true });

/** A second way in costs the guest nothing and the network little; more than that is a scan. */
const MAX_TRIES = 3;

export interface Dialer {
  /**
   * Resolves the name once, checks every address, connects to one that was checked. A name with one forbidden address is
   * refused whole: an answer that mixes public and private addresses is how names are rebound.
   * Throws `Refusal`. `address` is null where a proxy of the network resolves the name.
   */
  dial(target: Target, facts: HostFacts): Promise<{ readonly socket: Socket; readonly address: string | null }>;
}

export function openDialer(resolver: Resolver, connector: Connector, connectTime: number): Dialer {
  return {
    async dial(target, facts) {
      const addresses = await resolve(resolver, target, connectTime);
      for (const address of addresses) checkAddress(address, target, facts);
      let failure: unknown;
      for (const address of addresses.slice(0, MAX_TRIES)) {
        try {
          return { socket: await connected(connector(address, target.port), connectTime), address };
        } catch (error) {
          failure = error;
        }
      }
      throw new Refusal('connect_failed', `${target.host}:${target.port} does not answer`, {
        ...target,
        cause: failure,
      });
    },
  };
}

/** Addresses of a host, at least one, within `time` milliseconds. Throws `Refusal`. */
export async function resolve(resolver: Resolver, target: Target, time: number): Promise<readonly string[]> {
  if (isAddress(target.host)) return [target.host.replace(/^\[|\]$/g, '')];
  let timer: NodeJS.Timeout | undefined;
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${time} ms`)), time);
    });
    const addresses = await Promise.race([resolver(target.host), late]);
    if (addresses.length === 0) throw new Error('no address');
    return addresses;
  } catch (cause) {
    throw new Refusal('resolve_failed', `${target.host} has no address`, { ...target, cause });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * `private: true` opens private addresses and this machine's. Link-local ones, where the metadata services are, only to
 * a policy that names the address itself: no name under somebody else's control leads there. Others are no hosts at all.
 */
export function checkAddress(address: string, target: Target, facts: HostFacts): void {
  const kind = addressKind(address);
  const literal = isAddress(target.host);
  const open =
    kind === 'global'
      ? facts.private || !isOwn(address)
      : facts.private && (kind === 'private' || kind === 'local' || (kind === 'link-local' && literal));
  if (open) return;
  const remedy = facts.private
    ? undefined
    : `where the policy lists it: {host: "${target.host}", port: ${target.port}, private: true}`;
  throw new Refusal(
    'address_refused',
    literal
      ? `${target.host} is not an address of the public network`
      : `${target.host} stands for an address that is not of the public network`,
    { ...target, ...(remedy === undefined || kind === 'reserved' ? {} : { remedy }) },
  );
}

/** Asking the kernel costs more than the rest of a check: an interface that comes up is known five seconds later. */
let own: { readonly at: number; readonly addresses: readonly string[] } = {
  at: Number.NEGATIVE_INFINITY,
  addresses: [],
};

function isOwn(address: string): boolean {
  const now = performance.now();
  if (now - own.at > 5000) {
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list?.map((each) => each.address) ?? []);
    own = { at: now, addresses };
  }
  return own.addresses.some((each) => sameAddress(each, address));
}

export function connected(socket: Socket, time: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${time} ms`)), time);
    const settle = (error?: Error) => {
      clearTimeout(timer);
      socket.off('connect', settle);
      socket.off('error', settle);
      socket.off('close', closed);
      if (error === undefined) return resolve(socket);
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const closed = () => settle(new Error('closed'));
    socket.once('error', settle);
    socket.once('close', closed);
    if (socket.connecting) socket.once('connect', () => settle());
    else settle();
  });
}
