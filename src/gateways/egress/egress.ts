import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, getCACertificates, rootCertificates, type SecureContext } from 'node:tls';
import type { Clock } from '../../base/clock.ts';
import type { EffectivePolicy } from '../../policy/index.ts';
import type { OwnRequest, OwnResponse } from './ask.ts';
import { type Authority, createAuthority, ONE_HANDSHAKE } from './authority.ts';
import { Decoders } from './compressed.ts';
import { type Connector, openDialer, type Resolver, systemConnector, systemResolver } from './dial.ts';
import { answerDns, serveDns } from './dns.ts';
import type { Gateway, SecretHook } from './gateway.ts';
import { type Decide, Ledger, type Revocation } from './ledger.ts';
import { defaultEgressLimits, type EgressLimits } from './limits.ts';
import type { EgressLog, Unjudged } from './log.ts';
import { Names } from './names.ts';
import type { Packages } from './packages/packages.ts';
import type { PackageRecord } from './packages/record.ts';
import { Refusal } from './refusal.ts';
import { serveProxy, serveTransparent } from './serve.ts';
import { type EgressTape, playingDialer } from './tape.ts';
import { throughProxy, type UpstreamProxy } from './upstream-proxy.ts';

export interface EgressOptions {
  readonly policy: EffectivePolicy;
  /** Judges and counts. `ask` is a refusal here unless the callback has asked and answers with a permit. */
  readonly decide: Decide;
  readonly log: EgressLog;
  readonly clock: Clock;
  /** Shown in the authority's name, for whoever meets a certificate of it. */
  readonly runId: string;
  readonly limits?: Partial<EgressLimits>;
  readonly resolver?: Resolver;
  readonly connect?: Connector;
  /** PEM of authorities that are trusted besides the system's, as corporate networks have them. */
  readonly extraCa?: string;
  /** Where everything but private hosts goes through, for networks that let nothing else out. */
  readonly upstreamProxy?: UpstreamProxy;
  readonly secrets?: SecretHook;
  /** Keeps what hosts answer, or answers in their place. */
  readonly tape?: EgressTape;
  /** Told when something that happened could not be recorded: the gateway has closed by then. */
  readonly onBroken?: () => void;
  /** First address of those that stand for names; 198.18.0.0 unless the sandbox routes another network to itself. */
  readonly namesFrom?: string;
}

/**
 * `proxy`: HTTP forward proxy and CONNECT. `http`, `tls`: connections to addresses that stand for names, on the port they
 * came to. `dns`: UDP; `dns-tcp`: the same over TCP.
 */
/** `any`: TLS or plain HTTP, on ports that are neither 80 nor 443. */
export type ListenerKind = 'proxy' | 'http' | 'tls' | 'any' | 'dns' | 'dns-tcp';
export type Listening = { readonly fd: number } | { readonly port: number; readonly host?: string };

/** The way out of one run. Everything that comes through its sockets is that run's, whatever it says. */
export interface Egress {
  /** Serves a socket that listens inside the run's network, or opens one on loopback. Resolves with its port (0 for a pipe). */
  attach(listening: Listening, kind: ListenerKind): Promise<number>;
  /** Ends what a host or a policy line permitted: open connections at once, new ones from now on. Returns how many were cut. */
  revoke(revocation: Revocation): number;
  /** A request of the trusted side's own (ask.ts). */
  ask(request: OwnRequest, signal: AbortSignal): Promise<OwnResponse>;
  /** What programs in the run must trust: the machine's roots, this run's authority, the extra ones. PEM. */
  readonly caBundle: string;
  /** Names the policy lists one by one → the address that stands for each inside the run. */
  readonly names: ReadonlyMap<string, string>;
  /** What came from registries; null where the policy names none. */
  readonly packages: PackageRecord | null;
  /** Connections of the guest that are open now. */
  readonly connections: number;
  /** Ends every connection and listener. Idempotent. */
  close(): Promise<void>;
}

export async function openEgress(options: EgressOptions): Promise<Egress> {
  // Not the caller's to forget: where the policy names registries, what comes from them is looked at.
  // A replay gives out again what was looked at then.
  const watched = options.policy.dependencies.inspected.length > 0 && options.tape?.playing !== true;
  return new EgressGateway(options, watched ? (await import('./packages/packages.ts')).Packages : null);
}

class EgressGateway implements Egress {
  readonly #options: EgressOptions;
  readonly #gateway: Gateway;
  readonly #packages: Packages | null;
  readonly #ledger: Ledger;
  readonly #names: Names;
  readonly #limits: EgressLimits;
  readonly #servers: (Server | UdpSocket)[] = [];
  readonly #guests = new Set<Socket>();
  /** Questions that are in the record already. */
  readonly #told = new Set<string>();
  #authority: Authority | null = null;
  #trust: SecureContext | null = null;
  #unjudgedSoFar = 0;
  #closed = false;

  constructor(options: EgressOptions, Watcher: typeof Packages | null) {
    const { policy, decide, log, clock } = options;
    this.#options = options;
    this.#limits = { ...defaultEgressLimits, ...options.limits };
    this.#names = new Names(policy, this.#limits.names, options.namesFrom);
    const onBroken = () => {
      void this.close();
      options.onBroken?.();
    };
    this.#ledger = new Ledger({ policy, decide, log, clock, limits: this.#limits, onBroken });
    const { resolver = systemResolver, connect = systemConnector } = options;
    const direct = openDialer(resolver, connect, this.#limits.connectTime);
    const { upstreamProxy } = options;
    const gateway: { -readonly [K in keyof Gateway]: Gateway[K] } = {
      ledger: this.#ledger,
      dialer:
        options.tape?.playing === true
          ? playingDialer(options.tape)
          : upstreamProxy === undefined
            ? direct
            : throughProxy(upstreamProxy, direct, resolver, connect, this.#limits.connectTime),
      limits: this.#limits,
      decoders: new Decoders(),
      secrets: options.secrets ?? null,
      packages: null,
      tape: options.tape ?? null,
      authority: () => this.#certificates(),
      trust: () => this.#trusted(),
      unjudged: (event) => this.#unjudged(event),
      nameOf: (address) => this.#names.nameOf(address),
    };
    this.#packages = Watcher === null ? null : new Watcher({ gateway, policy, log, clock });
    gateway.packages = this.#packages;
    this.#gateway = gateway;
  }

  get names(): ReadonlyMap<string, string> {
    return this.#names.all;
  }

  get packages(): PackageRecord | null {
    return this.#packages?.record ?? null;
  }

  get connections(): number {
    return this.#guests.size;
  }

  get caBundle(): string {
    return [...systemRoots(), this.#options.extraCa ?? '', this.#certificates().certificate]
      .filter((pem) => pem !== '')
      .map((pem) => (pem.endsWith('\n') ? pem : `${pem}\n`))
      .join('');
  }

  #certificates(): Authority {
    this.#authority ??= createAuthority(this.#options.runId, this.#options.clock.now());
    return this.#authority;
  }

  #trusted(): SecureContext {
    const { extraCa } = this.#options;
    this.#trust ??= createSecureContext({
      minVersion: 'TLSv1.2',
      secureOptions: ONE_HANDSHAKE,
      ca: [...systemRoots(), ...(extraCa === undefined ? [] : [extraCa])],
    });
    return this.#trust;
  }

  async attach(listening: Listening, kind: ListenerKind): Promise<number> {
    if (kind === 'dns') return this.#attachDns(listening);
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket, kind));
    this.#servers.push(server);
    server.listen(
      'fd' in listening ? { fd: listening.fd } : { port: listening.port, host: listening.host ?? '127.0.0.1' },
    );
    await once(server, 'listening');
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  async #attachDns(listening: Listening): Promise<number> {
    const socket = createSocket('udp4');
    this.#servers.push(socket);
    socket.on('message', (query, from) => {
      const answer = this.#answer(query);
      if (answer !== null && !this.#closed) socket.send(answer, from.port, from.address);
    });
    socket.on('error', () => {});
    const ready = once(socket, 'listening'); // with a descriptor it is there before `bind` returns
    if ('fd' in listening) socket.bind({ fd: listening.fd });
    else socket.bind(listening.port, listening.host ?? '127.0.0.1');
    await ready;
    return socket.address().port;
  }

  #answer(query: Buffer): Buffer | null {
    return answerDns(query, this.#names, (host, detail) => {
      // Programs ask the same again and again, and a guest could fill the log with names.
      if (this.#told.has(detail) || this.#told.size >= this.#limits.names) return;
      this.#told.add(detail);
      this.#options.log.unjudged({ via: 'dns', host, detail });
    });
  }

  /** A guest could fill the log, and the memory of what waits for it, with connections that are refused at once. */
  #unjudged(event: Unjudged): void {
    const left = this.#limits.unjudged - this.#unjudgedSoFar;
    if (left < 0) return;
    this.#unjudgedSoFar += 1;
    const detail = `more than ${this.#limits.unjudged} of these in one run: the rest is not recorded`;
    this.#options.log.unjudged(left > 0 ? event : { via: event.via, host: null, detail });
  }

  #accept(socket: Socket, kind: Exclude<ListenerKind, 'dns'>): void {
    socket.on('error', () => {});
    if (this.#closed || this.#guests.size >= this.#limits.connections) {
      socket.destroy();
      if (!this.#closed)
        this.#unjudged({
          via: kind === 'dns-tcp' ? 'dns' : kind === 'any' ? 'tls' : kind,
          host: null,
          detail: `more than ${this.#limits.connections} connections`,
        });
      return;
    }
    this.#guests.add(socket);
    socket.on('close', () => this.#guests.delete(socket));
    // A little later than the host's silence is noticed, so that the guest can be told of it.
    socket.setTimeout(this.#limits.idleTime + 1000, () => socket.destroy());
    this.#serve(socket, kind).catch(() => socket.destroy());
  }

  #serve(socket: Socket, kind: Exclude<ListenerKind, 'dns'>): Promise<void> {
    if (kind === 'proxy') return serveProxy(this.#gateway, socket);
    if (kind === 'any') return serveTransparent(this.#gateway, socket, 'tls', true);
    if (kind !== 'dns-tcp') return serveTransparent(this.#gateway, socket, kind);
    return serveDns(socket, this.#limits.headTime, (query) => this.#answer(query));
  }

  revoke(revocation: Revocation): number {
    return this.#ledger.revoke(revocation);
  }

  async ask(request: OwnRequest, signal: AbortSignal): Promise<OwnResponse> {
    if (this.#closed) throw new Refusal('closed', 'the run is ending');
    const { askHost } = await import('./ask.ts');
    return askHost(this.#gateway, request, signal);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#ledger.cutAll();
    this.#packages?.close();
    for (const guest of this.#guests) guest.destroy();
    await Promise.all(
      this.#servers.map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
          }),
      ),
    );
  }
}

/** Node's own list where the system has none. */
function systemRoots(): readonly string[] {
  const roots = getCACertificates('system');
  return roots.length > 0 ? roots : rootCertificates;
}
