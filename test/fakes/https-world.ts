/** Hosts outside with real TLS, behind the only proxy that knows them: an npm registry, a package index, git, and others. */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createAuthority } from '../../src/gateways/egress/authority.ts';

type Serve = (request: IncomingMessage, response: ServerResponse) => void;

export interface World {
  /** PEM file with the authority of all certificates out there. */
  readonly caFile: string;
  /** The network's proxy: `http://127.0.0.3:PORT`. */
  readonly proxy: string;
  /** `host:port` of every CONNECT that came to it. */
  readonly asked: string[];
  /** `GET host/path` of every request that arrived. */
  readonly arrived: string[];
  close(): void;
}

/** `hosts`: what each name serves on 443, or `name:port` there; ports 8080 and 3000 are plain HTTP. Connections to others are refused by the proxy, and are in `asked`. */
export async function openWorld(folder: string, hosts: Readonly<Record<string, Serve>>): Promise<World> {
  const authority = createAuthority('the public network', Date.now());
  const caFile = join(folder, 'network-ca.pem');
  writeFileSync(caFile, authority.certificate);
  const asked: string[] = [];
  const arrived: string[] = [];
  const sockets = new Set<Socket>();
  const hold = async (server: Server, host: string) => {
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
    });
    server.listen(0, host);
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const answer: Serve = (request, response) => {
    const host = request.headers.host ?? '';
    arrived.push(`${request.method} ${host}${request.url}`);
    const serve = hosts[host];
    if (serve !== undefined) return serve(request, response);
    response.writeHead(421).end();
  };
  const origin = createHttps({ SNICallback: (name, done) => done(null, authority.contextFor(name)) }, answer);
  const plain = createHttp(answer);
  const port = await hold(origin, '127.0.0.2');
  const plainPort = await hold(plain, '127.0.0.2');
  const proxy = createServer((socket) => {
    socket.once('data', (head: Buffer) => {
      const authorityText = /^CONNECT (\S+) HTTP\/1\.1\r\n/.exec(head.toString('latin1'))?.[1] ?? '';
      asked.push(authorityText);
      const [name = '', toPort] = authorityText.split(':');
      const key = toPort === '443' ? name : authorityText;
      if (hosts[key] === undefined) return socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      const there = toPort === '8080' || toPort === '3000' ? plainPort : port;
      const host = connect(there, '127.0.0.2', () => socket.write('HTTP/1.1 200 Connection established\r\n\r\n'));
      sockets.add(host);
      host.on('error', () => socket.destroy());
      host.pipe(socket);
      socket.pipe(host);
    });
  });
  const proxyPort = await hold(proxy, '127.0.0.3');
  return {
    caFile,
    proxy: `http://127.0.0.3:${proxyPort}`,
    asked,
    arrived,
    close() {
      for (const socket of sockets) socket.destroy();
      origin.close();
      plain.close();
      proxy.close();
    },
  };
}

/** A registry with one package, and the lock file that asks for it. */
export function npmRegistry(folder: string, host: string): { readonly serve: Serve; readonly lock: string } {
  const dir = join(folder, 'tiny', 'package');
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'package.json'), '{"name": "tiny", "version": "1.0.0", "main": "index.js"}');
  writeFileSync(join(dir, 'index.js'), "module.exports = 'tiny works';\n");
  const file = join(folder, 'tiny-1.0.0.tgz');
  execFileSync('tar', ['-czf', file, '-C', join(folder, 'tiny'), 'package']);
  const archive = readFileSync(file);
  const integrity = `sha512-${createHash('sha512').update(archive).digest('base64')}`;
  const resolved = `https://${host}/tiny/-/tiny-1.0.0.tgz`;
  const lock = JSON.stringify({
    name: 'app',
    lockfileVersion: 3,
    requires: true,
    packages: {
      '': { name: 'app', dependencies: { tiny: '1.0.0' } },
      'node_modules/tiny': { version: '1.0.0', resolved, integrity },
    },
  });
  const version = { name: 'tiny', version: '1.0.0', dist: { tarball: resolved, integrity } };
  const document = { name: 'tiny', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': version } };
  const serve: Serve = (request, response) => {
    if (request.url === '/tiny') response.end(JSON.stringify(document));
    else if (request.url === '/tiny/-/tiny-1.0.0.tgz') response.end(archive);
    else response.writeHead(404).end('{}');
  };
  return { serve, lock };
}

/** A package index (PEP 503) with one wheel. */
export function packageIndex(folder: string): Serve {
  const name = 'tiny-1.0-py3-none-any.whl';
  const file = join(folder, name);
  const script = `import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('tiny.py', 'print("tiny works")')
    wheel.writestr('tiny-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n')
    wheel.writestr('tiny-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('tiny-1.0.dist-info/RECORD', '')
`;
  execFileSync('/usr/bin/python3', ['-c', script, file]);
  const wheel = readFileSync(file);
  const digest = createHash('sha256').update(wheel).digest('hex');
  return (request, response) => {
    if (request.url === '/simple/tiny/') {
      response.setHeader('Content-Type', 'text/html');
      response.end(`<!DOCTYPE html><a href="/files/${name}#sha256=${digest}">${name}</a>`);
    } else if (request.url === `/files/${name}`) response.end(wheel);
    else response.writeHead(404).end();
  };
}

/** git's own server of smart HTTP over the repositories of a folder, as CGI (RFC 3875). */
export function gitServer(root: string): Serve {
  return (request, response) => {
    const { pathname, search } = new URL(request.url ?? '/', 'http://x');
    const child = spawn('git', ['http-backend'], {
      env: {
        PATH: process.env.PATH ?? '',
        GIT_PROJECT_ROOT: root,
        GIT_HTTP_EXPORT_ALL: '1',
        GIT_CONFIG_COUNT: '1',
        GIT_CONFIG_KEY_0: 'safe.directory',
        GIT_CONFIG_VALUE_0: '*',
        REQUEST_METHOD: request.method ?? '',
        PATH_INFO: pathname,
        QUERY_STRING: search.slice(1),
        CONTENT_TYPE: request.headers['content-type'] ?? '',
        HTTP_CONTENT_ENCODING: String(request.headers['content-encoding'] ?? ''),
        GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    child.stdin.on('error', () => {}); // it may have its answer before it has read all
    request.pipe(child.stdin);
    let head = Buffer.alloc(0);
    const start = (chunk: Buffer) => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end === -1) return;
      child.stdout.off('data', start);
      const lines = head.toString('latin1', 0, end).split('\r\n');
      for (const line of lines) {
        const [, name = '', value = ''] = /^([^:]+): (.*)$/.exec(line) ?? [];
        if (name === 'Status') response.statusCode = Number.parseInt(value, 10);
        else response.setHeader(name, value);
      }
      response.write(head.subarray(end + 4));
      child.stdout.pipe(response);
    };
    child.stdout.on('data', start);
  };
}
