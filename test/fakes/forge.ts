import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createAuthority } from '../../src/gateways/egress/authority.ts';
import { GitFolder, gitEnv } from './push-scene.ts';

/**
 * A forge: git's own `http-backend` over TLS with Basic tokens. What it was asked, and how much it answered, is kept, so that tests can
 * see that nothing more is.
 */
export interface FakeForge {
  readonly port: number;
  /** `localhost:PORT`. */
  readonly host: string;
  /** Of the certificate authority that it is known by, PEM. */
  readonly ca: string;
  readonly token: string;
  /** Every request, as `METHOD path?query status bytes`. */
  readonly requests: string[];
  /** Authorization headers seen. */
  readonly shown: Set<string>;
  /** Takes a request over; true when it has answered. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | null;
  /** Anybody may fetch. */
  open: boolean;
  url(path: string): string;
  /** Bytes of packs handed out since the last call. */
  packBytes(): number;
  close(): Promise<void>;
}

/** The TLS name that the server shows: another makes its certificate wrong. */
export async function startForge(root: string, shownAs = 'localhost'): Promise<FakeForge> {
  const authority = createAuthority('a forge', Date.now());
  const token = 'forge-token-5d1f8a0b7c';
  let packed = 0;
  const server = createServer(
    { SNICallback: (_name, done) => done(null, authority.contextFor(shownAs)) },
    (request, response) => {
      const { authorization } = request.headers;
      if (authorization !== undefined) forge.shown.add(authorization);
      response.on('close', () => forge.requests.push(`${request.method} ${request.url} ${response.statusCode}`));
      if (forge.intercept?.(request, response) === true) return;
      const push = request.url?.includes('receive-pack') === true;
      const known = authorization === `Basic ${Buffer.from(`robot:${token}`).toString('base64')}`;
      if (!known && !(forge.open && !push)) {
        const challenge = { 'WWW-Authenticate': 'Basic realm="forge"', 'Content-Type': 'text/plain' };
        response.writeHead(401, challenge).end(`no entry for ${authorization ?? 'nobody'}\n`);
        return;
      }
      backend(root, request, response, (bytes) => {
        if (request.url?.endsWith('/git-upload-pack')) packed += bytes;
      });
    },
  );
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const forge: FakeForge = {
    port,
    host: `localhost:${port}`,
    ca: authority.certificate,
    token,
    requests: [],
    shown: new Set(),
    intercept: null,
    open: false,
    url: (path) => `https://localhost:${port}/${path}`,
    packBytes() {
      const bytes = packed;
      packed = 0;
      return bytes;
    },
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
  return forge;
}

/** CGI (RFC 3875), as far as http-backend needs it. */
export function backend(
  root: string,
  request: IncomingMessage,
  response: ServerResponse,
  count: (bytes: number) => void,
): void {
  const [path = '', query = ''] = (request.url ?? '').split('?');
  const child = spawn('git', ['http-backend'], {
    env: {
      ...gitEnv,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: path,
      QUERY_STRING: query,
      REQUEST_METHOD: request.method ?? '',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      ...(request.headers['content-length'] === undefined ? {} : { CONTENT_LENGTH: request.headers['content-length'] }),
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_USER: 'robot',
      REMOTE_ADDR: '127.0.0.1',
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.on('error', () => {});
  request.pipe(child.stdin);
  let head: Buffer | null = Buffer.alloc(0);
  child.stdout.on('data', (chunk: Buffer) => {
    if (head === null) {
      count(chunk.length);
      response.write(chunk);
      return;
    }
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    const lines = head.toString('latin1', 0, end).split('\r\n');
    const headers = Object.fromEntries(lines.map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]));
    const { Status: status = '200', ...rest } = headers;
    response.writeHead(Number.parseInt(status, 10), rest);
    const body = head.subarray(end + 4);
    head = null;
    count(body.length);
    response.write(body);
  });
  child.on('close', () => response.end());
}

/** A bare repository on the forge with this history, that takes pushes. */
export function forgeRepository(root: string, name: string, from: GitFolder): GitFolder {
  const dir = join(root, name);
  mkdirSync(dir, { recursive: true });
  from.git('clone', '-q', '--bare', from.dir, dir);
  const bare = new GitFolder(dir);
  bare.git('config', 'http.receivepack', 'true');
  bare.git('remote', 'remove', 'origin');
  return bare;
}

/** Settings that know this forge, its authority and its token. */
export function forgeSettings(dir: string, forge: FakeForge, more = ''): string {
  mkdirSync(join(dir, 'cordon'), { recursive: true });
  writeFileSync(join(dir, 'forge-ca.pem'), forge.ca);
  writeFileSync(join(dir, 'forge-token'), forge.token, { mode: 0o600 });
  const settings = `version: 1
forges:
  - {host: "${forge.host}", user: robot, token: FORGE_TOKEN, ca_file: ${dir}/forge-ca.pem${more}}
secrets:
  sources:
    - {driver: file, folder: ${dir}, secrets: {FORGE_TOKEN: {file: forge-token}}}
`;
  writeFileSync(join(dir, 'cordon', 'config.yaml'), settings);
  return settings;
}
