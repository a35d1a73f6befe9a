import { promisify } from 'node:util';
import { gunzip as gunzipCallback } from 'node:zlib';
import { finalResponse } from '../answer.ts';
import { bodyParts } from '../body.ts';
import type { Crossing } from '../crossing.ts';
import type { Gateway } from '../gateway.ts';
import { type Header, headerValue, type ResponseHead } from '../head.ts';
import { send } from '../inlet.ts';
import { asRefusal, Refusal } from '../refusal.ts';
import { withSecrets } from '../request-secrets.ts';
import { hostHeader, type Target } from '../target.ts';
import { type Link, Upstream } from '../upstream.ts';

const gunzip = promisify(gunzipCallback);

/** Bytes of one index, unpacked. The largest of the public registries have some 30 MB. */
const MOST = 64 * 1024 * 1024;
/** For the whole of one index. */
const TIME = 60_000;
/** Requests of this kind at once, and connections that wait for the next one of their host. */
const AT_ONCE = 8;

export interface DocumentRequest extends Target {
  readonly scheme: 'http' | 'https';
  /** Canonical. */
  readonly path: string;
  readonly accept: string;
  /** As the guest sent it to that host: with a placeholder, where a secret is used there. */
  readonly authorization: Header | null;
}

export interface FetchedDocument {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/**
 * The gateway's own requests, for what it must know of a package. Each is a crossing like one of the guest's: decided,
 * recorded, counted against the host's budget, with the secrets that are used there.
 */
export class Fetcher {
  readonly #gateway: Gateway;
  readonly #idle = new Map<string, Upstream[]>();
  readonly #open = new Set<Upstream>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #closed = false;

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
  }

  /** Throws `Refusal`. */
  async get(request: DocumentRequest): Promise<FetchedDocument> {
    if (this.#running >= AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    try {
      if (this.#closed) throw new Refusal('closed', 'the run is ending');
      return await this.#get(request, true);
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  close(): void {
    this.#closed = true;
    for (const upstream of this.#open) upstream.drop();
  }

  async #get(request: DocumentRequest, again: boolean): Promise<FetchedDocument> {
    const { scheme, host, port, path } = request;
    const target = { host, port };
    const crossing = await this.#gateway.ledger.enter(target, { method: 'GET', path }, [
      { action: 'net.connect', host, port },
      { action: 'net.request', host, port, method: 'GET', path },
    ]);
    const key = `${scheme}://${host}:${port}`;
    const kept = this.#idle.get(key)?.pop();
    const upstream = kept ?? new Upstream(this.#gateway, scheme);
    this.#open.add(upstream);
    crossing.onCut(() => upstream.drop());
    const late = () => crossing.cut(new Refusal('timeout', `the index at ${host} took too long`, target));
    const timer = setTimeout(late, TIME);
    try {
      const { document, reusable } = await this.#transfer(request, upstream, crossing);
      crossing.end('completed');
      if (reusable) this.#idle.set(key, [...(this.#idle.get(key) ?? []), upstream]);
      else this.#drop(upstream);
      return document;
    } catch (error) {
      this.#drop(upstream);
      const refusal = crossing.fail(asRefusal(error));
      // A server may end a kept connection at any time.
      if (kept !== undefined && again && refusal.result === 'upstream_ended') return await this.#get(request, false);
      throw refusal;
    } finally {
      clearTimeout(timer);
    }
  }

  #drop(upstream: Upstream): void {
    upstream.drop();
    this.#open.delete(upstream);
  }

  async #transfer(request: DocumentRequest, upstream: Upstream, crossing: Crossing) {
    const headers = await this.#headers(request);
    const link = await upstream.open(request, crossing);
    const head = [`GET ${request.path} HTTP/1.1`, `Host: ${hostHeader(request, request.scheme === 'http' ? 80 : 443)}`];
    const bytes = Buffer.from([...head, ...headers, '', ''].join('\r\n'), 'latin1');
    crossing.up(bytes.length);
    await send(link.stream, bytes);
    const response = await finalResponse({
      gateway: this.#gateway,
      guest: null,
      target: request,
      head: { method: 'GET', upgrade: null },
      link,
      crossing,
    });
    crossing.status = response.status;
    const parts: Buffer[] = [];
    let size = 0;
    for await (const part of bodyParts(link.inlet, response.framing)) {
      crossing.down(part.length);
      size += part.length;
      if (size > MOST) throw tooLarge(link);
      parts.push(part);
    }
    const text = (await unpacked(Buffer.concat(parts), response, link)).toString('utf8');
    const type = (headerValue(response.headers, 'content-type') ?? '').toLowerCase();
    return { document: { status: response.status, type, text }, reusable: response.keepAlive };
  }

  async #headers(request: DocumentRequest): Promise<string[]> {
    const { scheme, host, port, path, accept, authorization } = request;
    const own: Header[] = [
      { name: 'Accept', lower: 'accept', value: accept },
      { name: 'Accept-Encoding', lower: 'accept-encoding', value: 'gzip' },
      { name: 'User-Agent', lower: 'user-agent', value: 'cordon' },
      ...(authorization === null ? [] : [authorization]),
    ];
    const headers = await withSecrets(this.#gateway, {
      scheme,
      host,
      port,
      method: 'GET',
      path,
      query: null,
      headers: own,
    });
    return headers.map(line);
  }
}

const line = ({ name, value }: Header) => `${name}: ${value}`;

async function unpacked(bytes: Buffer, response: ResponseHead, link: Link): Promise<Buffer> {
  const coding = (headerValue(response.headers, 'content-encoding') ?? 'identity').toLowerCase();
  if (coding === 'identity') return bytes;
  if (coding !== 'gzip') throw new Refusal('upstream_malformed', `${link.key} answered in a coding nobody asked for`);
  try {
    return await gunzip(bytes, { maxOutputLength: MOST });
  } catch (cause) {
    if (cause instanceof RangeError) throw tooLarge(link);
    throw new Refusal('upstream_malformed', `${link.key} answered with a damaged body`, { cause });
  }
}

function tooLarge(link: Link): Refusal {
  return new Refusal('upstream_malformed', `an index of ${link.key} has more than ${MOST} bytes`);
}
