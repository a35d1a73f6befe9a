import type { IncomingMessage, ServerResponse } from 'node:http';
import { createGunzip } from 'node:zlib';
import { PacketError } from '../../base/pktline.ts';

/** Answers that carry a status for git to show: `remote: <reason>`. */
export class HttpRefusal extends Error {
  readonly status: number;
  constructor(status: number, reason: string) {
    super(reason);
    this.status = status;
  }
}

export function answer(
  response: ServerResponse,
  status: number,
  type: string,
  body: string | Buffer,
  more: Record<string, string> = {},
): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    ...more,
  });
  response.end(body);
}

export function protocolOf(request: IncomingMessage): Record<string, string> {
  const asked = request.headers['git-protocol'];
  if (asked === undefined) return {};
  if (typeof asked !== 'string' || !/^version=[012]$/.test(asked))
    throw new HttpRefusal(400, 'unknown Git-Protocol header');
  return { GIT_PROTOCOL: asked };
}

/** The body as the client meant it, at most `limit` bytes after inflating. */
export async function* bodyOf(request: IncomingMessage, limit: number): AsyncGenerator<Buffer> {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity' && encoding !== 'gzip') throw new HttpRefusal(415, 'the body must be plain or gzip');
  let size = 0;
  const source = encoding === 'gzip' ? request.pipe(createGunzip()) : request;
  // pipe() does not pass on that the sender went away.
  if (source !== request)
    request.on(
      'close',
      () => request.complete || (source as { destroy(error: Error): void }).destroy(new PacketError('cut off')),
    );
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) throw new HttpRefusal(413, `the request is larger than ${limit} bytes`);
      yield chunk;
    }
  } catch (error) {
    throw error instanceof HttpRefusal ? error : new PacketError('the body cannot be read');
  }
}
