import type { Agent, AgentOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { ConnectionOptions, TLSSocket } from 'node:tls';

/**
 * HTTPS through a proxy of the network, by CONNECT. Not Node's own (`proxyEnv`): that waits without end for a proxy that does not answer, and reads
 * without end what one answers; neither the request's time limit nor its end reaches it.
 */
export interface TunnelOptions extends AgentOptions {
  readonly proxy: { readonly host: string; readonly port: number };
  /** Milliseconds from the first packet to the end of the TLS handshake. */
  readonly openTime: number;
  /** Hosts that are dialled without the proxy, as a URL spells them without brackets. */
  readonly direct?: readonly string[];
  /** Ends what is on its way to a connection. */
  readonly signal?: AbortSignal | undefined;
}

/** Why a proxy leads nowhere. Printable but for what the proxy itself says, of which there is only a number. */
export class ProxyError extends Error {}

const HEAD_LIMIT = 16 * 1024;

/** An agent whose connections stand, TLS included, once a request has one. Its `destroy` ends also those that do not stand yet. */
export function tunnelAgent({ proxy, openTime, direct = [], signal, ...rest }: TunnelOptions): Agent {
  const https = process.getBuiltinModule('node:https');
  const agent = new https.Agent(rest);
  const opening = new Set<Opening>();
  const end = () => {
    for (const one of opening) one.fail(new ProxyError('it was given up'));
  };
  signal?.addEventListener('abort', end);
  const [connect, destroy] = [agent.createConnection.bind(agent), agent.destroy.bind(agent)];
  agent.createConnection = (options, done) => {
    const target = options as ConnectionOptions;
    if (direct.includes(target.host ?? '')) return connect(options, done);
    const one = new Opening(proxy, target, openTime, (error, socket) => {
      opening.delete(one);
      done?.(error, socket as Socket);
    });
    opening.add(one);
    one.begin();
    return undefined;
  };
  agent.destroy = () => {
    signal?.removeEventListener('abort', end);
    end();
    destroy();
  };
  return agent;
}

/** One connection on its way. Calls back once. */
class Opening {
  readonly #target: ConnectionOptions;
  readonly #proxy: TunnelOptions['proxy'];
  readonly #done: (error: Error | null, socket?: TLSSocket) => void;
  readonly #timer: NodeJS.Timeout;
  #socket: Socket | null = null;
  #head: Buffer = Buffer.alloc(0);
  #over = false;

  constructor(
    proxy: TunnelOptions['proxy'],
    target: ConnectionOptions,
    time: number,
    done: (error: Error | null, socket?: TLSSocket) => void,
  ) {
    this.#proxy = proxy;
    this.#target = target;
    this.#done = done;
    this.#timer = setTimeout(() => this.fail(new ProxyError('no connection in time')), time);
  }

  begin(): void {
    const net = process.getBuiltinModule('node:net');
    const { host = '', port = 443 } = this.#target;
    const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    const socket = net.connect({ ...this.#proxy, noDelay: true });
    this.#socket = socket;
    socket.once('connect', () => socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`));
    socket.on('data', this.#read);
    socket.on('error', (error) => this.fail(error));
    socket.once('close', () => this.fail(new ProxyError('it ended the connection')));
  }

  fail(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    const { host, port } = this.#proxy;
    const known = error instanceof ProxyError;
    this.#done(known ? new ProxyError(`the network's proxy ${host}:${port} leads nowhere: ${error.message}`) : error);
  }

  readonly #read = (chunk: Buffer): void => {
    const socket = this.#socket;
    if (this.#over || socket === null) return;
    this.#head = Buffer.concat([this.#head, chunk]);
    const end = this.#head.indexOf('\r\n\r\n');
    const refusal = end < 0 ? unfinished(this.#head) : refused(this.#head, end + 4);
    if (refusal !== null) this.fail(new ProxyError(refusal));
    if (refusal !== null || end < 0) return;
    socket.off('data', this.#read);
    socket.pause();
    this.#secure(socket);
  };

  #secure(socket: Socket): void {
    const tls = process.getBuiltinModule('node:tls');
    const secured = tls.connect({ ...this.#target, socket });
    const failed = (error: Error) => this.fail(error);
    secured.on('error', failed);
    secured.once('secureConnect', () => {
      if (this.#over) return;
      this.#over = true;
      clearTimeout(this.#timer);
      secured.off('error', failed);
      this.#done(null, secured);
    });
  }
}

function unfinished(head: Buffer): string | null {
  return head.length > HEAD_LIMIT ? `it answers with more than ${HEAD_LIMIT} bytes` : null;
}

function refused(head: Buffer, length: number): string | null {
  const status = /^HTTP\/1\.[01] ([0-9]{3})[ \r]/.exec(head.toString('latin1', 0, 16))?.[1];
  if (status === undefined) return 'it speaks no HTTP';
  if (status !== '200') return `it answered ${status}`;
  // Nobody has spoken to the host yet: bytes now are the proxy's own, and would be taken for the host's.
  return head.length > length ? 'it sent bytes of its own' : null;
}
