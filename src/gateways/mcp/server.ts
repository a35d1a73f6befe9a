/**
 * What agents speak to: MCP over streamable HTTP at `/NAME` for each server of the policy. Strict, and without a state of its own:
 * one JSON-RPC message a POST, one JSON answer. There is no stream to listen at, and no session.
 */
import { timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { McpFault } from './fault.ts';
import type { Mcp } from './gateway.ts';
import {
  Code,
  failure,
  type Id,
  type JsonObject,
  type Message,
  MessageError,
  parseMessage,
  result,
} from './jsonrpc.ts';
import { answerMethod } from './methods.ts';
import { brief } from './text.ts';
import { LATEST, META_VERSION, OLDER, STATELESS } from './versions.ts';

export interface McpServerOptions {
  readonly mcp: Mcp;
  /** The run's own. */
  readonly token: string;
  /** As clients name this listener: `127.0.0.1:4142`. */
  readonly hosts: readonly string[];
}

/** What a request is answered with when it never comes to a message. */
class Turned extends Error {
  readonly status: number;
  readonly what: string;
  constructor(status: number, what: string, message: string) {
    super(message);
    this.status = status;
    this.what = what;
  }
}

/** Milliseconds from a request's first byte to its last. */
const PATIENCE = 30_000;
/**
 * Milliseconds that a connection may lie between two calls. An agent thinks and works for minutes between them, and one whose
 * connection is closed just as it calls loses that call: not every client dares to ask again.
 */
const IDLE = 30 * 60_000;

export class McpServer {
  readonly #options: McpServerOptions;
  readonly #token: Buffer;
  readonly #servers: Server[] = [];
  readonly #open = new Set<Promise<void>>();
  readonly #over = new AbortController();
  readonly #spent = new WeakSet<Socket>();

  constructor(options: McpServerOptions) {
    this.#options = options;
    this.#token = Buffer.from(`Bearer ${options.token}`);
  }

  /** Serves a socket that listens inside the run's network, or opens one on loopback. Resolves with its port. */
  async attach(listening: { readonly fd: number } | { readonly port: number }): Promise<number> {
    const server = createServer(
      {
        maxHeaderSize: 16 * 1024,
        requestTimeout: PATIENCE,
        headersTimeout: PATIENCE,
        keepAliveTimeout: IDLE,
        insecureHTTPParser: false,
      },
      (request, response) => {
        const served = this.#serve(request, response)
          .then(() => this.#untilRead(response))
          .finally(() => this.#open.delete(served));
        this.#open.add(served);
      },
    );
    server.maxConnections = this.#options.mcp.limits.connections;
    server.on('upgrade', (_request, socket) => socket.destroy());
    this.#servers.push(server);
    server.listen('port' in listening ? { port: listening.port, host: '127.0.0.1' } : listening);
    await once(server, 'listening');
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // What lies behind a refused request on its connection is no request.
    const { socket } = request;
    if (this.#spent.has(socket)) {
      socket.destroy();
      return;
    }
    request.on('error', () => {});
    response.on('error', () => {});
    const gone = new AbortController();
    response.once('close', () => gone.abort(new Error('the caller went away')));
    try {
      const server = this.#check(request);
      const message = await this.#read(request);
      const signal = AbortSignal.any([gone.signal, this.#over.signal]);
      await this.#answer(server, message, request, response, signal);
    } catch (error) {
      // Every client asks for a stream by GET as it begins, and some send their next message behind it on that connection.
      const ends = !(error instanceof Turned && error.status === 405 && isBare(request));
      if (ends) this.#spent.add(socket);
      if (error instanceof Turned) {
        this.#options.mcp.log.unjudged({ what: error.what, server: null, detail: brief(error.message) });
        reply(response, error.status, failure(null, Code.invalid, error.message), ends);
      } else if (error instanceof MessageError) {
        this.#options.mcp.log.unjudged({ what: 'message', server: null, detail: brief(error.message) });
        reply(response, 400, failure(null, error.code, error.message));
      } else reply(response, 500, failure(null, Code.internal, 'this could not be answered'));
    }
  }

  /** An answer takes memory until it is read: it counts as open as long, and is not kept for ever. */
  #untilRead(response: ServerResponse): Promise<void> {
    return new Promise((resolve) => {
      if (response.closed || response.destroyed) return resolve();
      const drop = () => response.destroy();
      const timer = setTimeout(drop, this.#options.mcp.limits.unread);
      const { signal } = this.#over;
      signal.addEventListener('abort', drop, { once: true });
      response.once('close', () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', drop);
        resolve();
      });
      if (signal.aborted && !response.writableFinished) drop();
    });
  }

  /** Everything about a request but its message. The token first: without it nobody learns anything else. */
  #check(request: IncomingMessage): string {
    const { mcp, hosts } = this.#options;
    const { headers, method, url = '' } = request;
    if (!this.#isMine(request))
      throw new Turned(401, 'token', 'this is not the token of this run: Authorization: Bearer, as the agent was told');
    // A page in a browser inside, or a name that was made to point here, must not speak for the agent.
    if (headers.origin !== undefined) throw new Turned(403, 'origin', 'requests of web pages are not taken');
    if (valuesOf(request, 'host').length !== 1 || !hosts.includes(headers.host ?? ''))
      throw new Turned(421, 'host', `this is ${hosts[0]}, and not ${brief(headers.host ?? 'nothing', 80)}`);
    const server = mcp.servers.find((name) => url === `/${name}`);
    if (server === undefined)
      throw new Turned(
        404,
        'endpoint',
        `there is no MCP server at ${brief(url, 80)}: the policy names ${mcp.servers.join(', ')}`,
      );
    if (method !== 'POST')
      throw new Turned(405, 'method', `${method} is not offered here: there is no stream and no session`);
    if (!/^application\/json(?:;\s*charset=utf-8)?$/i.test(headers['content-type'] ?? ''))
      throw new Turned(415, 'type', 'write Content-Type: application/json');
    if (headers['content-encoding'] !== undefined)
      throw new Turned(415, 'encoding', 'compressed requests are not taken');
    if (this.#open.size > mcp.limits.open)
      throw new Turned(429, 'busy', `more than ${mcp.limits.open} requests at once`);
    return server;
  }

  #isMine(request: IncomingMessage): boolean {
    const shown = valuesOf(request, 'authorization');
    const bytes = Buffer.from(shown[0] ?? '', 'latin1');
    const mine = shown.length === 1 && bytes.length === this.#token.length && timingSafeEqual(bytes, this.#token);
    return mine && !this.#over.signal.aborted;
  }

  async #read(request: IncomingMessage): Promise<Message> {
    const most = this.#options.mcp.limits.request;
    const tooLarge = () => new Turned(413, 'size', `a message has at most ${most} bytes`);
    if (Number(request.headers['content-length'] ?? 0) > most) throw tooLarge();
    const pieces: Buffer[] = [];
    let size = 0;
    for await (const piece of request as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > most) throw tooLarge();
      pieces.push(piece);
    }
    const bytes = Buffer.concat(pieces);
    const text = bytes.toString('utf8');
    if (!Buffer.from(text).equals(bytes)) throw new MessageError(Code.parse, 'this is no UTF-8');
    return parseMessage(text);
  }

  async #answer(
    server: string,
    message: Message,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    if (message.kind === 'result' || message.kind === 'error')
      throw new MessageError(Code.invalid, 'nothing was asked of this client');
    const version = versionOf(message.params, request);
    if (version === null) {
      const supported = [STATELESS, LATEST, ...OLDER];
      const id = message.kind === 'request' ? message.id : null;
      return reply(response, 400, failure(id, Code.version, 'this revision of MCP is not spoken here', { supported }));
    }
    checkMirrors(request, message);
    if (message.kind === 'notification') return reply(response, 202, null);
    const { id, method, params } = message;
    try {
      const answer = await answerMethod(this.#options.mcp, { server, id: String(id), method, params, signal });
      reply(response, 200, result(id, version === STATELESS ? { resultType: 'complete', ...answer } : answer));
    } catch (error) {
      reply(response, 200, refusal(id, error));
    }
  }

  /** Ends what is open and resolves when all of it is answered and recorded. */
  async close(): Promise<void> {
    this.#over.abort(new Error('the run has ended'));
    const servers = this.#servers.splice(0);
    const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    await Promise.allSettled([...this.#open]);
    for (const server of servers) server.closeAllConnections();
    await Promise.all(closed);
  }
}

function refusal(id: Id, error: unknown): object {
  if (error instanceof MessageError) return failure(id, error.code, error.message);
  return failure(
    id,
    Code.internal,
    error instanceof McpFault ? error.message.slice(0, 2_000) : 'this could not be answered',
  );
}

/** Every header of that name, as it came: Node keeps the first of two, and another reader the last. */
function valuesOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  return rawHeaders.flatMap((word, i) => (i % 2 === 0 && word.toLowerCase() === name ? [rawHeaders[i + 1] ?? ''] : []));
}

/** What the client speaks; null for what nobody here does. */
function versionOf(params: JsonObject, { headers }: IncomingMessage): string | null {
  const header = headers['mcp-protocol-version'];
  const meta = (params._meta as JsonObject | undefined)?.[META_VERSION];
  const known = [STATELESS, LATEST, ...OLDER];
  if (meta !== undefined) {
    if (typeof meta !== 'string' || !known.includes(meta)) return null;
    if (header !== undefined && header !== meta)
      throw new MessageError(Code.headerMismatch, 'MCP-Protocol-Version and the message differ');
    return meta;
  }
  if (header === undefined) return LATEST;
  return known.includes(String(header)) ? String(header) : null;
}

/** Where a header repeats what the message says, it says the same: nobody is to judge the one and do the other. */
function checkMirrors({ headers }: IncomingMessage, message: Message): void {
  if (!('method' in message)) return;
  const { 'mcp-method': method, 'mcp-name': name } = headers;
  const tool = message.method === 'tools/call' ? message.params.name : undefined;
  if ((method !== undefined && method !== message.method) || (name !== undefined && name !== tool))
    throw new MessageError(Code.headerMismatch, 'Mcp-Method or Mcp-Name differs from the message');
}

/** Nothing but a head: it is certain where the next request begins. */
function isBare({ headers }: IncomingMessage): boolean {
  return headers['content-length'] === undefined && headers['transfer-encoding'] === undefined;
}

/** `ends`: whatever is still coming on that connection belongs to a request that is answered. */
function reply(response: ServerResponse, status: number, body: object | null, ends = status >= 400): void {
  if (response.headersSent || response.destroyed) return;
  const close = ends ? { connection: 'close' } : {};
  const allow = status === 405 ? { allow: 'POST' } : {};
  const bytes = body === null ? Buffer.alloc(0) : Buffer.from(JSON.stringify(body));
  const type = body === null ? {} : { 'content-type': 'application/json' };
  response.writeHead(status, { 'content-length': bytes.length, ...type, ...close, ...allow });
  response.end(bytes);
}
