import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { PolicyAction } from '../../policy/index.ts';
import { SecondHelloGuard } from './client-hello.ts';
import { exchange } from './exchange.ts';
import { type Gateway, mustInspect } from './gateway.ts';
import { parseRequestHead, type RequestHead } from './head.ts';
import { Inlet, send } from './inlet.ts';
import { asRefusal, problemResponse, Refusal, tlsAlert } from './refusal.ts';
import { parseAbsoluteForm, parseAuthority, parseOriginForm, type RequestTarget, type Target } from './target.ts';
import { type Greeting, joinTunnel, readGreeting } from './tunnel.ts';
import { Upstream } from './upstream.ts';

/** What is known of a connection before its first byte. */
interface Entrance {
  readonly via: 'proxy' | 'http' | 'tls';
  readonly scheme: 'http' | 'https';
  /** The only host of this connection; null for a forward proxy, where each request names its own. */
  readonly fixed: Target | null;
}

/** A connection to the run's proxy: requests in absolute form, or a CONNECT. */
export function serveProxy(gateway: Gateway, socket: Socket): Promise<void> {
  return serveRequests(gateway, new Inlet(socket), { via: 'proxy', scheme: 'http', fixed: null });
}

/** A connection to an address that stands for a name: the program knows nothing of a proxy. `either`: the port says nothing of TLS. */
export async function serveTransparent(
  gateway: Gateway,
  socket: Socket,
  via: 'http' | 'tls',
  either = false,
): Promise<void> {
  const host = gateway.nameOf(socket.localAddress ?? '');
  const inlet = new Inlet(socket);
  if (host === null || socket.localPort === undefined) return serveNameless(gateway, inlet, via);
  const fixed = { host, port: socket.localPort };
  if (via === 'http') return serveRequests(gateway, inlet, { via, scheme: 'http', fixed });
  let plain = false;
  try {
    const hello = await readGreeting(inlet, host, mustInspect(gateway, fixed), gateway.limits.headTime);
    plain = hello === 'http';
    if (plain && !either) throw new Refusal('malformed', `plain HTTP on port ${fixed.port}`, { ...fixed });
    await enterTls(gateway, inlet, fixed, hello);
  } catch (error) {
    const refusal = asRefusal(error);
    const { result, message } = refusal;
    if (result === 'handshake_refused' || result === 'malformed') gateway.unjudged({ via, host, detail: message });
    if (!socket.destroyed)
      socket.end(plain || result === 'malformed' ? problemResponse(refusal, false, false) : tlsAlert(refusal));
    linger(socket);
  }
}

/** Nothing is behind such an address, and the program is told so in the words it understands. */
async function serveNameless(gateway: Gateway, inlet: Inlet, via: 'http' | 'tls'): Promise<void> {
  const socket = inlet.stream as Socket;
  gateway.unjudged({ via, host: null, detail: 'an address that stands for no name' });
  const refusal = new Refusal('denied', `${socket.localAddress} stands for no host`, {
    remedy: 'connect to hosts by their names: those that the policy lists have addresses in this run',
  });
  const head = via === 'http' ? await nextHead(gateway, inlet).catch(() => null) : null;
  if (!socket.destroyed)
    socket.end(via === 'http' ? problemResponse(refusal, false, head?.method === 'HEAD') : tlsAlert(refusal));
  linger(socket);
}

/** Every request of the connection, one after the other, each judged as if it were the first. */
async function serveRequests(
  gateway: Gateway,
  inlet: Inlet,
  entrance: Entrance,
  upstream = new Upstream(gateway, entrance.scheme),
): Promise<void> {
  const x = { gateway, guest: inlet, upstream, scheme: entrance.scheme };
  try {
    for (;;) {
      const head = await nextHead(gateway, inlet);
      if (head === null) break;
      if (head.method === 'CONNECT') return await serveConnect(gateway, inlet, head, entrance);
      if (!(await exchange(x, head, targetOf(head, entrance)))) break;
    }
    inlet.stream.end();
  } catch (error) {
    const refusal = asRefusal(error);
    if (refusal.result === 'malformed')
      gateway.unjudged({ via: entrance.via, host: entrance.fixed?.host ?? null, detail: refusal.message });
    if (!inlet.stream.destroyed && refusal.result !== 'guest_ended')
      inlet.stream.end(problemResponse(refusal, false, false));
  } finally {
    upstream.drop();
    linger(inlet.stream as Socket);
  }
}

/** Time that a refused guest gets to read why, while what it still sends is thrown away: a reset would take the answer with it. */
const LINGER = 1000;

function linger(socket: Socket): void {
  if (socket.destroyed) return;
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER);
  socket.once('close', () => clearTimeout(timer));
}

async function nextHead(gateway: Gateway, inlet: Inlet): Promise<RequestHead | null> {
  let timer: NodeJS.Timeout | undefined;
  let late = false;
  const giveUp = () => {
    late = true;
    inlet.stream.destroy();
  };
  try {
    timer = setTimeout(giveUp, gateway.limits.idleTime);
    const bytes = await inlet.readHead(() => {
      clearTimeout(timer);
      timer = setTimeout(giveUp, gateway.limits.headTime);
    });
    if (bytes === null) return null;
    const head = parseRequestHead(bytes);
    if (!head.ok)
      throw new Refusal('malformed', head.message, head.remedy === undefined ? {} : { remedy: head.remedy });
    return head.value;
  } catch (error) {
    throw late ? new Refusal('malformed', 'a head that did not come to its end in time') : error;
  } finally {
    clearTimeout(timer);
  }
}

/** RFC 9112 §3.2: the target, the Host header and the connection speak of one host, or the request has no meaning. */
function targetOf(head: RequestHead, entrance: Entrance): RequestTarget {
  const usable = <T>(result: { ok: true; value: T } | { ok: false; message: string; remedy?: string }): T => {
    if (result.ok) return result.value;
    throw new Refusal('malformed', result.message, result.remedy === undefined ? {} : { remedy: result.remedy });
  };
  const defaultPort = entrance.scheme === 'https' ? 443 : 80;
  const named = usable(parseAuthority(head.host ?? '', defaultPort));
  const target: RequestTarget =
    entrance.fixed === null
      ? usable(parseAbsoluteForm(head.target))
      : { ...entrance.fixed, ...usable(parseOriginForm(head.target)) };
  if (named.host !== target.host || named.port !== target.port)
    throw new Refusal(
      'malformed',
      `Host says ${named.host}:${named.port} on a request for ${target.host}:${target.port}`,
    );
  return target;
}

async function serveConnect(gateway: Gateway, inlet: Inlet, head: RequestHead, entrance: Entrance): Promise<void> {
  if (entrance.fixed !== null) throw new Refusal('malformed', 'a CONNECT to what is no proxy');
  const target = parseAuthority(head.target);
  if (!target.ok) throw new Refusal('malformed', target.message);
  if (head.host !== null) {
    const named = parseAuthority(head.host, target.value.port);
    if (!named.ok || named.value.host !== target.value.host || named.value.port !== target.value.port)
      throw new Refusal('malformed', `Host and CONNECT do not agree about ${target.value.host}:${target.value.port}`);
  }
  // Bytes that were sent before the answer were sent without knowing what they are for.
  if (inlet.size > 0) throw new Refusal('malformed', 'bytes after a CONNECT and before its answer');
  if (head.upgrade !== null) throw new Refusal('malformed', 'a CONNECT with an upgrade');
  let established = false;
  try {
    await enterTls(gateway, inlet, target.value, async () => {
      await send(inlet.stream, 'HTTP/1.1 200 Connection established\r\n\r\n');
      established = true;
      return readGreeting(inlet, target.value.host, mustInspect(gateway, target.value), gateway.limits.headTime);
    });
  } catch (error) {
    const refusal = asRefusal(error);
    if (!established) throw refusal;
    if (refusal.result === 'handshake_refused')
      gateway.unjudged({ via: 'proxy', host: target.value.host, detail: refusal.message });
    if (!inlet.stream.destroyed) inlet.stream.end(tlsAlert(refusal));
  }
}

/**
 * A connection to one host. `hello` is the guest's greeting, or what brings it about once the way is open. Hosts whose
 * requests are judged are never passed through: TLS ends here, or nothing does. Plain HTTP, which some programs send
 * through a CONNECT, is judged request by request as everywhere.
 */
async function enterTls(
  gateway: Gateway,
  inlet: Inlet,
  target: Target,
  hello: Greeting | (() => Promise<Greeting>),
): Promise<void> {
  const connect: PolicyAction = { action: 'net.connect', host: target.host, port: target.port };
  const crossing = await gateway.ledger.enter(target, null, [connect]);
  crossing.onCut(() => inlet.stream.destroy());
  const greet = () => (typeof hello === 'function' ? hello() : hello);
  const plain: Entrance = { via: 'proxy', scheme: 'http', fixed: target };
  try {
    if (mustInspect(gateway, target)) {
      if ((await greet()) === 'http') await serveRequests(gateway, inlet, plain);
      else await inspect(gateway, inlet, target);
      return crossing.end('completed');
    }
    const { socket, address } = await gateway.dialer.dial(target, gateway.ledger.facts(target));
    crossing.address = address;
    const gone = () => socket.destroy();
    socket.on('error', gone);
    inlet.stream.once('close', gone);
    crossing.onCut(gone);
    try {
      const size = await greet();
      inlet.stream.off('close', gone);
      if (size === 'http') {
        const upstream = new Upstream(gateway, 'http');
        upstream.adopt(target, socket, address);
        await serveRequests(gateway, inlet, plain, upstream);
        return crossing.end('completed');
      }
      const guard = new SecondHelloGuard(target.host);
      await joinTunnel(inlet, socket, size, guard, crossing, gateway.limits);
    } catch (error) {
      gone();
      throw error;
    }
  } catch (error) {
    throw crossing.fail(asRefusal(error));
  }
}

async function inspect(gateway: Gateway, inlet: Inlet, target: Target): Promise<void> {
  const socket = inlet.stream as Socket;
  const rest = inlet.release();
  if (rest.length > 0) socket.unshift(rest);
  const tls = new TLSSocket(socket, {
    isServer: true,
    secureContext: gateway.authority().contextFor(target.host),
    ALPNProtocols: ['http/1.1'],
  });
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(), gateway.limits.headTime);
    const failed = () => {
      clearTimeout(timer);
      reject(new Refusal('guest_ended', 'the TLS handshake with the gateway failed'));
    };
    tls.once('error', failed);
    tls.once('close', failed);
    tls.once('secure', () => {
      clearTimeout(timer);
      tls.off('error', failed);
      tls.off('close', failed);
      resolve();
    });
  });
  await serveRequests(gateway, new Inlet(tls), { via: 'tls', scheme: 'https', fixed: target });
}
