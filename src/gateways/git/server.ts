import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createGunzip } from 'node:zlib';
import { type GitProcess, killGit, spawnGit } from '../../base/git.ts';
import { safeText } from '../../base/term.ts';
import { flushPacket, PacketError, PacketReader, packet } from './pktline.ts';
import type { Quarantine } from './quarantine.ts';
import { commandLimits, type PushHead, type RefCommand, readPushHead, refusal, writePushHead } from './receive.ts';

/**
 * The run's `origin`: git's smart HTTP (gitprotocol-http(5)) for one repository at `/origin`. Fetches see the view, never
 * the quarantine: under protocol 2 any object that is there can be asked for by its id. Pushes land in the quarantine
 * after every ref command has been permitted.
 *
 *     GET  /origin/info/refs?service=git-upload-pack | git-receive-pack
 *     POST /origin/git-upload-pack
 *     POST /origin/git-receive-pack
 */
export interface GitServerOptions {
  readonly quarantine: Quarantine;
  /** Asked for each command before a git process sees the push. A refusal of one refuses the push as a whole. */
  readonly decideRef: (command: RefCommand) => Promise<RefVerdict>;
  /** After a push was received; its objects are not checked yet. */
  readonly onPush?: (commands: readonly RefCommand[]) => void;
  /** Milliseconds for one request. Default 300,000. */
  readonly timeout?: number;
  /** Requests served at once; more get 503. Default 8. */
  readonly concurrency?: number;
}

export type RefVerdict = { readonly permit: true } | { readonly permit: false; readonly reason: string };

export interface GitServer {
  /** Null on a descriptor that is not a TCP socket. */
  readonly port: number | null;
  /** Ends open requests and the git processes behind them. */
  close(): Promise<void>;
}

/** For a run that may push one branch and nothing else. */
export function onlyBranch(branch: string): GitServerOptions['decideRef'] {
  const ref = `refs/heads/${branch}`;
  return async (command) => {
    if (command.ref !== ref) return { permit: false, reason: `this run may push ${ref} only` };
    if (command.kind === 'delete') return { permit: false, reason: 'this run may not delete a branch' };
    return { permit: true };
  };
}

const SERVICES = ['git-upload-pack', 'git-receive-pack'] as const;
type Service = (typeof SERVICES)[number];

/** Answers that carry a status for git to show: `remote: <reason>`. */
class HttpRefusal extends Error {
  readonly status: number;
  constructor(status: number, reason: string) {
    super(reason);
    this.status = status;
  }
}

const FETCH_BODY = 32 * 1024 * 1024;
const REPORT_BYTES = 4 * 1024 * 1024;

// Not imported: an import reads every export, and two of node:http's load Node's whole fetch client (25 ms of each start).
const { createServer } = process.getBuiltinModule('node:http');

/** Serves on a listening descriptor (the sandbox's own loopback) or a port of this machine's loopback. */
export async function startGitServer(
  options: GitServerOptions,
  listen: { fd: number } | { port: number },
): Promise<GitServer> {
  const state = new State(options);
  const server = createServer(
    { maxHeaderSize: 16 * 1024, requestTimeout: state.timeout, headersTimeout: 10_000 },
    (request, response) => {
      void serve(state, request, response);
    },
  );
  server.maxConnections = 64;
  server.maxRequestsPerSocket = 1000;
  server.on('clientError', (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen('fd' in listen ? { fd: listen.fd } : { port: listen.port, host: '127.0.0.1' }, resolve);
  });
  const address = server.address() as AddressInfo | string | null;
  return {
    port: address !== null && typeof address === 'object' ? address.port : null,
    close: () => close(server, state),
  };
}

class State {
  readonly options: GitServerOptions;
  readonly timeout: number;
  readonly running = new Set<GitProcess>();
  active = 0;
  /** Pushes are taken one after the other. */
  pushing: Promise<unknown> = Promise.resolve();
  constructor(options: GitServerOptions) {
    this.options = options;
    this.timeout = options.timeout ?? 300_000;
  }

  start(args: readonly string[], where: 'view' | 'quarantine', env: Record<string, string> = {}): GitProcess {
    const { quarantine } = this.options;
    const place = where === 'view' ? quarantine.view : quarantine.place;
    const child = spawnGit(place, [...args, place.gitDir], { env });
    child.stderr.resume();
    this.running.add(child);
    const timer = setTimeout(() => killGit(child), this.timeout);
    child.on('error', () => {});
    child.on('close', () => {
      clearTimeout(timer);
      this.running.delete(child);
    });
    return child;
  }
}

async function close(server: Server, state: State): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const child of state.running) killGit(child);
  server.closeAllConnections();
  await closed;
  await state.pushing.catch(() => {});
}

async function serve(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  state.active += 1;
  response.on('error', () => {});
  try {
    if (state.active > (state.options.concurrency ?? 8)) throw new HttpRefusal(503, 'too many requests at once');
    await route(state, request, response);
  } catch (error) {
    const status = error instanceof HttpRefusal ? error.status : error instanceof PacketError ? 400 : 500;
    const reason = error instanceof HttpRefusal || error instanceof PacketError ? error.message : 'the request failed';
    if (response.headersSent) response.destroy();
    else
      answer(response, status, 'text/plain; charset=utf-8', `cordon: ${safeText(reason)}\n`, { Connection: 'close' });
  } finally {
    state.active -= 1;
    request.resume();
  }
}

function answer(
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

async function route(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = '' } = request;
  const advertised = /^\/origin\/info\/refs\?service=([a-z-]+)$/.exec(url)?.[1];
  if (advertised !== undefined) {
    if (method !== 'GET') throw new HttpRefusal(405, 'refs are read with GET');
    if (!isService(advertised)) throw new HttpRefusal(403, `there is no service ${advertised} here`);
    return advertise(state, request, response, advertised);
  }
  if (/^\/origin\/info\/refs(?:$|\?)/.test(url))
    throw new HttpRefusal(403, 'only smart HTTP is served: use git 1.6.6 or later');
  const service = SERVICES.find((name) => url === `/origin/${name}`);
  if (service === undefined) throw new HttpRefusal(404, 'the only repository here is /origin');
  if (method !== 'POST') throw new HttpRefusal(405, `${service} is asked with POST`);
  if (request.headers['content-type'] !== `application/x-${service}-request`)
    throw new HttpRefusal(415, 'this is not a request of git');
  if (service === 'git-upload-pack') return fetchPack(state, request, response);
  return takePush(state, request, response);
}

function isService(name: string): name is Service {
  return (SERVICES as readonly string[]).includes(name);
}

function protocolOf(request: IncomingMessage): Record<string, string> {
  const asked = request.headers['git-protocol'];
  if (asked === undefined) return {};
  if (typeof asked !== 'string' || !/^version=[012]$/.test(asked))
    throw new HttpRefusal(400, 'unknown Git-Protocol header');
  return { GIT_PROTOCOL: asked };
}

async function advertise(
  state: State,
  request: IncomingMessage,
  response: ServerResponse,
  service: Service,
): Promise<void> {
  const args = [service.slice(4), '--stateless-rpc', '--advertise-refs'];
  const push = service === 'git-receive-pack';
  // Pushing has no protocol 2; without the variable git answers as every client understands.
  const child = state.start(args, push ? 'quarantine' : 'view', push ? {} : protocolOf(request));
  child.stdin.end();
  const refs = await collect(child, REPORT_BYTES);
  if (refs === null) throw new HttpRefusal(500, 'the refs could not be read');
  const body = Buffer.concat([packet(`# service=${service}\n`), flushPacket, refs]);
  answer(response, 200, `application/x-${service}-advertisement`, body);
}

/** The body as the client meant it, at most `limit` bytes after inflating. */
async function* bodyOf(request: IncomingMessage, limit: number): AsyncGenerator<Buffer> {
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

async function fetchPack(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const child = state.start(['upload-pack', '--stateless-rpc', '--strict'], 'view', protocolOf(request));
  response.on('close', () => killGit(child));
  try {
    await feed(child, bodyOf(request, FETCH_BODY));
    response.writeHead(200, { 'Content-Type': 'application/x-git-upload-pack-result', 'Cache-Control': 'no-store' });
    const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
    child.stdout.pipe(response);
    await ended;
  } finally {
    killGit(child);
  }
}

async function takePush(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { quarantine, decideRef } = state.options;
  const reader = new PacketReader(bodyOf(request, quarantine.maxPack + commandLimits.bytes), commandLimits.bytes);
  const head = await readPushHead(reader, quarantine.objectFormat);
  const type = 'application/x-git-receive-pack-result';
  if (head === null) return answer(response, 200, type, '');
  const reason = await refusedBecause(head, quarantine, decideRef);
  if (reason !== null) {
    // A client that is still sending does not read: take the rest, bounded as ever, and throw it away.
    for await (const _ of reader.rest());
    return answer(response, 200, type, refusal(head, reason));
  }
  const turn = state.pushing.catch(() => {}).then(() => receive(state, head, reader));
  state.pushing = turn;
  answer(
    response,
    200,
    type,
    (await turn) ?? refusal(head, 'the push could not be received', 'git did not accept the objects in time'),
  );
}

async function refusedBecause(
  head: PushHead,
  quarantine: Quarantine,
  decideRef: GitServerOptions['decideRef'],
): Promise<string | null> {
  if (head.shallow.some((oid) => !quarantine.shallow.includes(oid)))
    return 'history may not be cut shorter than it was handed out';
  for (const command of head.commands) {
    const verdict = await decideRef(command);
    if (!verdict.permit) return head.commands.length === 1 ? verdict.reason : `${command.ref}: ${verdict.reason}`;
  }
  return null;
}

/** Hands the push to git. Null when it did not end well. */
async function receive(state: State, head: PushHead, reader: PacketReader): Promise<Buffer | null> {
  const { quarantine, onPush } = state.options;
  const child = state.start(['receive-pack', '--stateless-rpc'], 'quarantine');
  const report = collect(child, REPORT_BYTES);
  try {
    await feed(child, reader.rest(), writePushHead(head, quarantine.objectFormat));
    const answered = await report;
    if (answered !== null) onPush?.(head.commands);
    return answered;
  } finally {
    killGit(child);
  }
}

/** Writes all of `body` to the process, as fast as it reads; what it no longer wants is read and dropped. */
async function feed(child: GitProcess, body: AsyncIterable<Buffer>, head?: Buffer): Promise<void> {
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  if (head !== undefined) child.stdin.write(head);
  for await (const chunk of body) {
    if (child.exitCode !== null || child.signalCode !== null || child.stdin.destroyed) continue;
    if (!child.stdin.write(chunk))
      await Promise.race([gone, new Promise<void>((resolve) => child.stdin.once('drain', resolve))]);
  }
  child.stdin.end();
}

/** Standard output of a process that succeeds; null when it fails or says too much. */
function collect(child: GitProcess, limit: number): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) killGit(child);
      else chunks.push(chunk);
    });
    child.on('error', () => resolve(null));
    child.on('close', (code) => resolve(code === 0 && size <= limit ? Buffer.concat(chunks) : null));
  });
}
