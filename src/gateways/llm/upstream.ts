import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { getCACertificates } from 'node:tls';
import { urlToHttpOptions } from 'node:url';
import { ProxyError, tunnelAgent } from '../../base/proxy-tunnel.ts';
import type { ModelLimits } from './limits.ts';
import type { UpstreamRequest } from './providers/provider.ts';
import { ModelRefusal } from './refusal.ts';

export interface TransportOptions {
  readonly limits: ModelLimits;
  /** PEM of authorities that are trusted besides the system's. */
  readonly extraCa?: string | undefined;
  /** For networks that let nothing else out. What is on this machine is reached without it. */
  readonly proxy?: { readonly host: string; readonly port: number } | undefined;
}

/** Connections to providers, kept open between requests. Certificates are verified; redirects are not followed. */
export class Transport {
  readonly #limits: ModelLimits;
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;
  readonly #targets = new WeakMap<URL, ReturnType<typeof urlToHttpOptions>>();

  constructor({ limits, extraCa, proxy }: TransportOptions) {
    this.#limits = limits;
    const ca = extraCa === undefined ? {} : { ca: [...getCACertificates('default'), extraCa] };
    const options = { keepAlive: true, scheduling: 'lifo' as const };
    const secure = { ...options, minVersion: 'TLSv1.2' as const, ...ca };
    this.#http = new HttpAgent({ ...options, ...(proxy === undefined ? {} : { proxyEnv: proxyVariables(proxy) }) });
    this.#https =
      proxy === undefined
        ? new HttpsAgent(secure)
        : tunnelAgent({ ...secure, proxy, openTime: limits.connectTime, direct: DIRECT });
  }

  /**
   * Resolves with the head of the answer. Throws `ModelRefusal`: `unreachable` when nothing came, which makes it safe to ask again;
   * `timeout`; the signal's reason. `onSent` is called when there is a connection and the request goes out on it; before that the
   * provider has heard nothing.
   */
  send(
    { url, headers, body }: UpstreamRequest,
    signal: AbortSignal,
    onSent: () => void = () => undefined,
  ): Promise<IncomingMessage> {
    const secure = url.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const request = (secure ? httpsRequest : httpRequest)({
        ...this.#target(url),
        method: 'POST',
        agent: secure ? this.#https : this.#http,
        headers: { ...headers, 'content-length': body.length, 'accept-encoding': 'identity' },
      });
      // Not the request's own `signal`: what Node sets up for it costs as much as sending the request.
      const abort = () => request.destroy();
      if (signal.aborted) abort();
      signal.addEventListener('abort', abort);
      let answered = false;
      const connecting = setTimeout(() => {
        request.destroy(new ModelRefusal('unreachable', 504, 'provider_unreachable', `${url.host} cannot be reached`));
      }, this.#limits.connectTime);
      const waiting = setTimeout(() => {
        request.destroy(new ModelRefusal('timeout', 504, 'provider_timeout', `${url.host} did not answer in time`));
      }, this.#limits.headTime);
      request.once('socket', (socket) => {
        const connected = () => {
          clearTimeout(connecting);
          if (!request.destroyed) onSent();
        };
        // Through a proxy TCP stands before TLS does.
        const opening = socket.connecting || (socket as { secureConnecting?: boolean }).secureConnecting === true;
        if (opening) socket.once(secure ? 'secureConnect' : 'connect', connected);
        else connected();
      });
      request.once('response', (response) => {
        clearTimeout(connecting);
        clearTimeout(waiting);
        answered = true;
        resolve(response);
      });
      request.once('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(connecting);
        clearTimeout(waiting);
        if (signal.aborted) reject(signal.reason);
        else if (error instanceof ModelRefusal) reject(error);
        else reject(unreachable(url.host, error));
      });
      // With neither, as after a change of protocol that nobody asked for: who waits would wait for ever, and the run's end with it.
      request.once('close', () => {
        signal.removeEventListener('abort', abort);
        if (answered) return;
        clearTimeout(connecting);
        clearTimeout(waiting);
        reject(signal.aborted ? signal.reason : noAnswer(url.host));
      });
      request.end(body);
    });
  }

  /** Drivers ask one address again and again: taking it apart once is enough. */
  #target(url: URL): ReturnType<typeof urlToHttpOptions> {
    const known = this.#targets.get(url);
    if (known !== undefined) return known;
    const target = urlToHttpOptions(url);
    this.#targets.set(url, target);
    return target;
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}

const DIRECT = ['localhost', '127.0.0.1', '::1'];

function proxyVariables({ host, port }: { readonly host: string; readonly port: number }) {
  return { HTTP_PROXY: `http://${host}:${port}`, NO_PROXY: 'localhost,127.0.0.1,[::1]' };
}

function noAnswer(host: string): ModelRefusal {
  return new ModelRefusal('unreachable', 502, 'provider_unreachable', `${host} ended the connection without an answer`);
}

/** An error's code says enough, and nothing of what was sent. */
function unreachable(host: string, cause: NodeJS.ErrnoException): ModelRefusal {
  const why = cause instanceof ProxyError ? cause.message : (cause.code ?? cause.name);
  return new ModelRefusal('unreachable', 502, 'provider_unreachable', `${host} cannot be reached: ${why}`, { cause });
}
