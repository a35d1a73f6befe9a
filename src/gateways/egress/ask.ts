import { finalResponse } from './answer.ts';
import { bodyParts } from './body.ts';
import type { Gateway } from './gateway.ts';
import type { Header } from './head.ts';
import { send } from './inlet.ts';
import { asRefusal, Refusal } from './refusal.ts';
import { hostHeader, type Target } from './target.ts';
import { Upstream } from './upstream.ts';

/** A request of the trusted side's own, over https. */
export interface OwnRequest extends Target {
  readonly method: 'POST' | 'DELETE';
  /** Canonical; the query apart, where values could be secrets. */
  readonly path: string;
  readonly query: string | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface OwnResponse {
  readonly status: number;
  readonly headers: readonly Header[];
  /** To be read to its end, or given up by leaving the loop: the crossing ends with it. Throws `Refusal`. */
  readonly body: AsyncIterable<Buffer>;
}

/**
 * A crossing like one of the guest's: decided, recorded, its address checked, its certificate verified, counted. Redirects are the
 * caller's to refuse. Throws `Refusal`; the signal's reason when that is aborted first.
 */
export async function askHost(gateway: Gateway, request: OwnRequest, signal: AbortSignal): Promise<OwnResponse> {
  const { host, port, method, path } = request;
  const target = { host, port };
  signal.throwIfAborted();
  const crossing = await gateway.ledger.enter(target, { method, path }, [
    { action: 'net.connect', host, port },
    { action: 'net.request', host, port, method, path },
  ]);
  const upstream = new Upstream(gateway, 'https');
  crossing.onCut(() => upstream.drop());
  const leave = () => crossing.cut(new Refusal('closed', 'nobody waits for the answer', target));
  signal.addEventListener('abort', leave, { once: true });
  const end = () => {
    signal.removeEventListener('abort', leave);
    upstream.drop();
  };
  const fail = (error: unknown): never => {
    const refusal = crossing.fail(asRefusal(error));
    end();
    throw signal.aborted ? signal.reason : refusal;
  };
  try {
    const link = await upstream.open(target, crossing);
    const head = [`${method} ${path}${request.query === null ? '' : `?${request.query}`} HTTP/1.1`];
    head.push(
      `Host: ${hostHeader(target, 443)}`,
      'Connection: close',
      'User-Agent: cordon',
      'Accept-Encoding: identity',
    );
    for (const [name, value] of Object.entries(request.headers)) head.push(`${name}: ${value}`);
    head.push(`Content-Length: ${request.body.length}`, '', '');
    const bytes = Buffer.concat([Buffer.from(head.join('\r\n'), 'latin1'), request.body]);
    crossing.up(bytes.length);
    await send(link.stream, bytes);
    const response = await finalResponse({
      gateway,
      guest: null,
      target,
      head: { method, upgrade: null },
      link,
      crossing,
    });
    crossing.status = response.status;
    const body = async function* (): AsyncGenerator<Buffer> {
      try {
        for await (const part of bodyParts(link.inlet, response.framing)) {
          crossing.down(part.length);
          yield part;
        }
        crossing.end('completed');
      } catch (error) {
        fail(error);
      } finally {
        crossing.end('completed');
        end();
      }
    };
    return { status: response.status, headers: response.headers, body: body() };
  } catch (error) {
    return fail(error);
  }
}
