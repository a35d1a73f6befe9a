import type { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { isAddress } from '../../policy/hosts.ts';
import type { Crossing } from './crossing.ts';
import type { Gateway } from './gateway.ts';
import { Inlet } from './inlet.ts';
import { Refusal } from './refusal.ts';
import type { Target } from './target.ts';

/** A connection to a host, for one guest connection and no other: nothing of one guest can answer another. */
export interface Link {
  readonly key: string;
  readonly stream: Socket;
  readonly inlet: Inlet;
  readonly address: string | null;
  /** Requests that were sent over it. */
  uses: number;
  /** True when it was given up because it was silent for too long. */
  late: boolean;
}

export class Upstream {
  readonly #gateway: Gateway;
  readonly #scheme: 'http' | 'https';
  #link: Link | null = null;

  constructor(gateway: Gateway, scheme: 'http' | 'https') {
    this.#gateway = gateway;
    this.#scheme = scheme;
  }

  /** The link that stands, when it leads there and is clean; otherwise a new one. Throws `Refusal`. */
  async open(target: Target, crossing: Crossing): Promise<Link> {
    const key = `${target.host}:${target.port}`;
    const link = this.#link;
    // Bytes nobody asked for would be read as the answer to the next request.
    if (link !== null && link.key === key && !link.inlet.ended && link.inlet.size === 0 && !link.stream.destroyed) {
      link.uses += 1;
      crossing.address = link.address;
      return link;
    }
    this.drop();
    const { socket, address } = await this.#gateway.dialer.dial(target, this.#gateway.ledger.facts(target));
    crossing.address = address;
    const stream = this.#scheme === 'http' ? socket : await secured(this.#gateway, socket, target);
    return this.#keep({ key, stream, address, uses: 1 });
  }

  /** A connection that leads there already, for the first request. */
  adopt(target: Target, socket: Socket, address: string | null): void {
    this.#keep({ key: `${target.host}:${target.port}`, stream: socket, address, uses: 0 });
  }

  #keep(link: Pick<Link, 'key' | 'stream' | 'address' | 'uses'>): Link {
    const fresh: Link = { ...link, inlet: new Inlet(link.stream), late: false };
    fresh.stream.setTimeout(this.#gateway.limits.idleTime, () => {
      fresh.late = true;
      fresh.stream.destroy();
    });
    this.#link = fresh;
    return fresh;
  }

  drop(): void {
    this.#link?.stream.destroy();
    this.#link = null;
  }
}

/** TLS to the host, its certificate verified for exactly the name that was judged. */
function secured(gateway: Gateway, socket: Socket, target: Target): Promise<TLSSocket> {
  const name = isAddress(target.host) ? '' : target.host;
  const tls = connectTls({
    socket,
    servername: name,
    host: target.host.replace(/^\[|\]$/g, ''),
    secureContext: gateway.trust(),
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
  });
  return new Promise((resolve, reject) => {
    const where = `${target.host}:${target.port}`;
    const timer = setTimeout(() => tls.destroy(new Error('late')), gateway.limits.connectTime);
    const failed = (cause?: Error & { code?: string }) => {
      clearTimeout(timer);
      tls.on('error', () => {});
      tls.destroy();
      const certificate =
        tls.authorizationError ?? (cause?.code === 'ERR_TLS_CERT_ALTNAME_INVALID' ? cause.code : null);
      reject(
        certificate === null
          ? new Refusal('connect_failed', `${where} does not complete a TLS handshake`, { ...target, cause })
          : new Refusal(
              'certificate_refused',
              `the certificate of ${where} is not valid for it (${codeOf(certificate)})`,
              { ...target, cause },
            ),
      );
    };
    tls.once('error', failed);
    tls.once('close', failed);
    tls.once('secureConnect', () => {
      clearTimeout(timer);
      tls.off('error', failed);
      tls.off('close', failed);
      resolve(tls);
    });
  });
}

/** Node types it as an error and gives a code, or an error with one. */
function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : error;
  return String(code);
}
