import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect as connectTcp, type Server, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { systemClock } from '../../src/base/clock.ts';
import { createAuthority } from '../../src/gateways/egress/authority.ts';
import { type Egress, type EgressOptions, openEgress } from '../../src/gateways/egress/egress.ts';
import type { CrossingClosed, CrossingDecided, Unjudged } from '../../src/gateways/egress/log.ts';
import type { DependencyEvent } from '../../src/gateways/egress/packages/hook.ts';
import { compilePolicy, decide } from '../../src/policy/index.ts';

/**
 * A gateway with hosts behind it that only the test can reach. Names have public addresses; the injected dialer leads
 * each address to a server of the test, and every other address to one that stands for all that must not be reached.
 */
export const PUBLIC: Readonly<Record<string, string>> = {
  'allowed.example': '93.184.216.34',
  'inspected.example': '93.184.216.35',
  'evil.example': '93.184.216.66',
  'live.example': '93.184.216.36',
  'small.example': '93.184.216.37',
  'named.example': '93.184.216.38',
  'rolling.example': '93.184.216.39',
};

export const POLICY = `version: 1
security:
  allowed_network_hosts:
    - allowed.example:443
    - allowed.example:80
    - {host: inspected.example, methods: [GET, HEAD], paths: ["/open/**", "/open"]}
    - {host: inspected.example, port: 80, methods: [GET], paths: ["/open/**"]}
    - {host: live.example, port: 80, websocket: true}
    - {host: small.example, port: 80, max_upload: 1k, max_download: 2k}
    - rebound.example:80
    - rebound.example:443
    - {host: corp.example, port: 80, private: true}
    - "*.wild.example:80"
`;

export interface Seen {
  readonly host: string;
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  body: string;
}

export interface Scene {
  readonly egress: Egress;
  readonly port: number;
  /** The certificate authority that the hosts outside are known by. */
  readonly publicCa: string;
  readonly resolved: string[];
  readonly dialled: string[];
  /** Requests that reached a host, by the address that was dialled. */
  readonly seen: Seen[];
  /** Connections and bytes at what must not be reached. */
  readonly leaked: string[];
  readonly decided: CrossingDecided[];
  readonly closed: CrossingClosed[];
  readonly unjudged: Unjudged[];
  readonly dependencies: DependencyEvent[];
  /** Replaces what hosts answer. */
  answer: (request: IncomingMessage, response: ServerResponse) => void;
  /** Replaces what a name resolves to. */
  resolve: (name: string) => Promise<readonly string[]>;
  /** When set, every dial leads here. */
  raw: ((socket: Socket) => void) | null;
  send(bytes: string | Buffer, until?: RegExp): Promise<string>;
  open(): Promise<Socket>;
  /** CONNECT, then TLS with this name; the answer to the CONNECT when there was no tunnel. */
  tunnel(authority: string, options?: { servername?: string; ca?: string; alpn?: string[] }): Promise<TLSSocket>;
  /** Waits until a condition holds. */
  until(condition: () => boolean): Promise<void>;
  /** Ends every guest connection, waits until each crossing has its outcome, and forgets everything. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export async function openScene(options: Partial<EgressOptions> & { policyText?: string } = {}): Promise<Scene> {
  const policy = await compilePolicy({
    repository: { file: '.cordon/policy.yaml', text: options.policyText ?? POLICY },
  });
  const authority = createAuthority('the public network', Date.now());
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  const guests = new Set<Socket>();
  const hold = async (server: Server) => {
    servers.push(server);
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  };
  const handle = (host: string) => (request: IncomingMessage, response: ServerResponse) => {
    const seen: Seen = {
      host,
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      body: '',
    };
    scene.seen.push(seen);
    request.on('data', (chunk: Buffer) => {
      seen.body += chunk.toString('latin1');
    });
    request.on('error', () => {});
    scene.answer(request, response);
  };
  const routes = new Map<string, number>();
  for (const [name, address] of Object.entries(PUBLIC)) {
    routes.set(`${address}:80`, await hold(createServer(handle(name))));
    const tls = createTlsServer(
      { SNICallback: (asked, done) => done(null, authority.contextFor(asked)) },
      handle(name),
    );
    routes.set(`${address}:443`, await hold(tls));
  }
  const { createServer: createTcp } = await import('node:net');
  const nowhere = await hold(
    createTcp((socket) => {
      scene.leaked.push('connection');
      socket.on('data', (chunk: Buffer) => scene.leaked.push(chunk.toString('latin1')));
    }),
  );
  const custom = await hold(createTcp({ allowHalfOpen: true }, (socket) => scene.raw?.(socket)));
  const resolved: string[] = [];
  const dialled: string[] = [];
  const decided: CrossingDecided[] = [];
  const closed: CrossingClosed[] = [];
  const unjudged: Unjudged[] = [];
  const dependencies: DependencyEvent[] = [];
  const egress = await openEgress({
    policy,
    decide: (action) => decide(policy, action),
    clock: systemClock,
    runId: '0123456789abcdef',
    extraCa: authority.certificate,
    resolver: (name) => {
      resolved.push(name);
      return scene.resolve(name);
    },
    connect: (address, port) => {
      dialled.push(`${address}:${port}`);
      const local = scene.raw === null ? (routes.get(`${address}:${port}`) ?? nowhere) : custom;
      return connectTcp({ host: '127.0.0.1', port: local, allowHalfOpen: true, noDelay: true });
    },
    log: {
      decided: async (event) => decided.push(event) - 1,
      closed: (_token, event) => {
        closed.push(event);
      },
      unjudged: (event) => {
        unjudged.push(event);
      },
      dependency: (_token, event) => {
        dependencies.push(event);
      },
    },
    ...options,
  });
  const port = await egress.attach({ port: 0 }, 'proxy');
  const open = async () => {
    const socket = connectTcp({ host: '127.0.0.1', port, allowHalfOpen: true });
    sockets.add(socket);
    guests.add(socket);
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  };
  const scene: Scene = {
    egress,
    port,
    publicCa: authority.certificate,
    resolved,
    dialled,
    seen: [],
    leaked: [],
    decided,
    closed,
    unjudged,
    dependencies,
    answer: (request, response) => {
      request.resume();
      request.on('end', () => response.end(`hello from ${request.headers.host}${request.url}`));
    },
    resolve: async (name) => {
      const address = PUBLIC[name];
      if (address === undefined) throw new Error(`no such name: ${name}`);
      return [address];
    },
    raw: null,
    open,
    send: async (bytes, until) => {
      const socket = await open();
      socket.write(bytes);
      return received(socket, until);
    },
    tunnel: async (authorityText, tls = {}) => {
      const socket = await open();
      socket.write(`CONNECT ${authorityText} HTTP/1.1\r\nHost: ${authorityText}\r\n\r\n`);
      const answer = await received(socket, /\r\n\r\n/);
      if (!answer.startsWith('HTTP/1.1 200')) throw new Error(answer);
      const secure = connectTls({
        socket,
        servername: tls.servername ?? authorityText.replace(/:\d+$/, ''),
        ca: tls.ca ?? authority.certificate,
        ...(tls.alpn === undefined ? {} : { ALPNProtocols: tls.alpn }),
      });
      await new Promise<void>((resolve, reject) => {
        secure.once('secureConnect', resolve);
        secure.once('error', reject);
        secure.once('close', () => reject(new Error('closed')));
      });
      secure.on('error', () => {});
      return secure;
    },
    reset: async () => {
      for (const guest of guests) guest.destroy();
      guests.clear();
      await scene.until(() => closed.length === decided.length && egress.connections === 0);
      for (const list of [resolved, dialled, scene.seen, scene.leaked, decided, closed, unjudged, dependencies])
        list.length = 0;
      scene.raw = null;
      scene.answer = calm.answer;
      scene.resolve = calm.resolve;
    },
    until: async (condition) => {
      while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
    },
    close: async () => {
      await egress.close();
      for (const socket of sockets) socket.destroy();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
  const calm = { answer: scene.answer, resolve: scene.resolve };
  return scene;
}

/** Everything until the other side ends, or until it matches. */
export function received(socket: Socket, until?: RegExp): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const take = (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (until?.test(text) === true) done();
    };
    const done = () => {
      socket.off('data', take);
      socket.off('end', done);
      socket.off('close', done);
      if (until === undefined) socket.destroy();
      resolve(text);
    };
    socket.on('data', take);
    socket.on('end', done);
    socket.on('close', done);
  });
}
