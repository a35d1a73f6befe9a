import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { killGit } from '../../base/git.ts';
import { PacketError } from '../../base/pktline.ts';
import { safeText } from '../../base/term.ts';
import { advertise, fetchPack } from './fetch.ts';
import { answer, HttpRefusal } from './http.ts';
import { elsewhere, refuseLfs } from './not-here.ts';
import { oneByOne } from './one-by-one.ts';
import { type PushJudge, takePush } from './push.ts';
import type { Quarantine } from './quarantine.ts';
import { isServiceName, Service, serviceNames } from './service.ts';
import { SIGN_PATH, type SignCommit, takeSigning } from './sign.ts';

/**
 * The run's `origin`: git's smart HTTP (gitprotocol-http(5)) for one repository at `/origin`. Fetches see the view, never
 * the quarantine: under protocol 2 any object that is there can be asked for by its id. Pushes land in the quarantine
 * when the judge has permitted them as a whole.
 *
 *     GET  /origin/info/refs?service=git-upload-pack | git-receive-pack
 *     POST /origin/git-upload-pack
 *     POST /origin/git-receive-pack
 *     POST /sign/git                    (sign.ts)
 */
export interface GitServerOptions {
  readonly quarantine: Quarantine;
  readonly judge: PushJudge;
  /** Asked for each ref that a fetch of objects wants; absent = each is served. A listing of refs says no more than the checkout does. */
  readonly decideFetch?: (ref: string) => Promise<FetchVerdict>;
  /** Signs a commit of the guest's, or says why not; absent = nothing is signed. */
  readonly sign?: SignCommit;
  /** Milliseconds for one request. Default 300,000. */
  readonly timeout?: number;
  /** Requests served at once; more get 503. Default 8. */
  readonly concurrency?: number;
}

/** `done` is told when the answer has ended: its bytes, and whether git ended well. */
export type FetchVerdict =
  | { readonly permit: true; readonly done: (bytes: number, whole: boolean) => Promise<void> }
  | { readonly permit: false; readonly reason: string };

export interface GitServer {
  /** Null on a descriptor that is not a TCP socket. */
  readonly port: number | null;
  /** Ends open requests and the git processes behind them. */
  close(): Promise<void>;
}

// Not imported: an import reads every export, and two of node:http's load Node's whole fetch client (25 ms of each start).
const { createServer } = process.getBuiltinModule('node:http');

/** Serves on a listening descriptor (the sandbox's own loopback) or a port of this machine's loopback. */
export async function startGitServer(
  options: GitServerOptions,
  listen: { fd: number } | { port: number },
): Promise<GitServer> {
  const state = new Service(options);
  const server = createServer(
    // Between the listing and the push git packs what it sends: its connection waits as long as a request may take.
    {
      maxHeaderSize: 16 * 1024,
      requestTimeout: state.timeout,
      headersTimeout: 10_000,
      keepAliveTimeout: state.timeout,
    },
    oneByOne((request, response) => serve(state, request, response)),
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

async function close(server: Server, state: Service): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  state.closing.abort();
  for (const child of state.running) killGit(child);
  server.closeAllConnections();
  await closed;
  await state.pushing.catch(() => {});
}

async function serve(state: Service, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  state.active += 1;
  response.on('error', () => {});
  try {
    if (state.active > (state.options.concurrency ?? 8)) throw new HttpRefusal(503, 'too many requests at once');
    await route(state, request, response);
    return true;
  } catch (error) {
    const status = error instanceof HttpRefusal ? error.status : error instanceof PacketError ? 400 : 500;
    const reason = error instanceof HttpRefusal || error instanceof PacketError ? error.message : 'the request failed';
    if (response.headersSent) response.destroy();
    else
      answer(response, status, 'text/plain; charset=utf-8', `cordon: ${safeText(reason)}\n`, { Connection: 'close' });
    return false;
  } finally {
    state.active -= 1;
    request.resume();
  }
}

async function route(state: Service, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = '' } = request;
  if (url.startsWith(SIGN_PATH)) return takeSigning(state.options.sign, request, response);
  const advertised = /^\/origin\/info\/refs\?service=([a-z-]+)$/.exec(url)?.[1];
  if (advertised !== undefined) {
    if (method !== 'GET') throw new HttpRefusal(405, 'refs are read with GET');
    if (!isServiceName(advertised)) throw new HttpRefusal(403, `there is no service ${advertised} here`);
    return advertise(state, request, response, advertised);
  }
  if (/^\/origin\/info\/refs(?:$|\?)/.test(url))
    throw new HttpRefusal(403, 'only smart HTTP is served: use git 1.6.6 or later');
  if (url.startsWith('/origin/info/lfs/')) return refuseLfs(response);
  const service = serviceNames.find((name) => url === `/origin/${name}`);
  if (service === undefined) throw new HttpRefusal(404, elsewhere(url));
  if (method !== 'POST') throw new HttpRefusal(405, `${service} is asked with POST`);
  if (request.headers['content-type'] !== `application/x-${service}-request`)
    throw new HttpRefusal(415, 'this is not a request of git');
  if (service === 'git-upload-pack') return fetchPack(state, request, response);
  return takePush(state, request, response);
}
