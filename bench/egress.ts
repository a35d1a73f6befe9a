/**
 * The egress gateway beside other proxies, each in a process of its own, all in one run, interleaved by measure: the
 * cost of a new tunnel with its TLS handshake and first request, the latency of a request on a kept one, requests a
 * second over 16 connections, megabytes a second of one large answer, and memory with 1,000 idle tunnels. Inspecting proxies terminate TLS.
 * Squid, tinyproxy and mitmproxy are those of the system; what is not installed is named with its package. Fails when a bar is missed.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fdatasync, mkdtempSync, openSync, readFileSync, rmSync, write, writeFileSync } from 'node:fs';
import { createServer as createHttps } from 'node:https';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { systemClock } from '../src/base/clock.ts';
import { createAuthority } from '../src/gateways/egress/authority.ts';
import { openEgress } from '../src/gateways/egress/egress.ts';
import { compilePolicy, decide } from '../src/policy/index.ts';

/** Two equals differ by this much from one run to the next on a shared machine. */
const NOISE = 1.1;
const BODY = Buffer.alloc(1024, 'x');
const BIG = Buffer.alloc(8 << 20, 'x');
/** One of the processes. It prints a line with its port once it listens. */
async function play(name: string, [originPort = '', scratch = '']: string[]): Promise<void> {
  if (name === 'origin') {
    const authority = createAuthority('bench', Date.now());
    writeFileSync(join(originPort, 'ca.pem'), authority.certificate);
    const server = createHttps(
      { SNICallback: (asked, done) => done(null, authority.contextFor(asked)) },
      ({ url }, response) => {
        const body = url === '/big' ? BIG : BODY;
        response.writeHead(200, { 'Content-Length': body.length });
        response.end(body);
      },
    );
    server.keepAliveTimeout = 600_000;
    server.listen(0, '127.0.0.1', () => say(server.address()));
  } else if (name.startsWith('cordon')) await playCordon(name, originPort, scratch);
  else await playSrt(name, scratch);
}

function say(address: unknown): void {
  console.log(JSON.stringify(address));
}

async function playCordon(name: string, originPort: string, scratch: string): Promise<void> {
  const rule = `{host: localhost, port: ${originPort}, private: true${name === 'cordon-inspect' ? ', methods: [GET]' : ''}}`;
  const text = `version: 1\nsecurity: {allowed_network_hosts: [${rule}]}\n`;
  const policy = await compilePolicy({ repository: { file: 'policy.yaml', text } });
  const fd = openSync(join(scratch, name), 'a');
  const durable = () => new Promise<void>((resolve) => write(fd, 'decided\n', () => fdatasync(fd, () => resolve())));
  const egress = await openEgress({
    policy,
    decide: (action) => decide(policy, action),
    clock: systemClock,
    runId: 'bench',
    extraCa: readFileSync(join(scratch, 'ca.pem'), 'utf8'),
    limits: { connections: 5000 },
    resolver: async () => ['127.0.0.1'],
    log: {
      decided: name === 'cordon-durable' ? durable : async () => {},
      closed: () => {},
      unjudged: (event) => console.error(event),
      dependency: (_token, event) => console.error(event),
    },
  });
  say({ port: await egress.attach({ port: 0 }, 'proxy') });
  process.on('exit', () => closeSync(fd));
}

async function playSrt(name: string, scratch: string): Promise<void> {
  const folder = '../node_modules/@anthropic-ai/sandbox-runtime/dist/sandbox';
  const { createHttpProxyServer } = await import(`${folder}/http-proxy.js`);
  const { createMitmCA } = await import(`${folder}/mitm-ca.js`);
  const server = createHttpProxyServer({
    filter: () => true,
    ...(name === 'srt-inspect'
      ? { mitmCA: createMitmCA({}), tlsTerminateUpstreamCA: readFileSync(join(scratch, 'ca.pem')) }
      : {}),
  });
  server.listen(0, '127.0.0.1', () => say(server.address()));
}

interface Contestant {
  readonly name: string;
  readonly inspects: boolean;
  /** Null: no proxy. */
  readonly port: number | null;
  readonly child: ChildProcess | null;
}

interface Figures {
  setup: number[];
  kept: number[];
  rate: number[];
  /** MB a second, of one large answer. */
  volume: number[];
  memory: number | null;
  /** The best round's median, in ms: a neighbour on the machine makes rounds worse, and none better. */
  best: { setup: number; kept: number; rate: number; volume: number };
}

async function main(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'cordon-bench-'));
  const children: ChildProcess[] = [];
  const start = async (name: string, ...rest: string[]) => {
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', import.meta.filename, `role:${name}`, ...rest],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    children.push(child);
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    return { child, port: (JSON.parse(line.toString()) as { port: number }).port };
  };
  try {
    const origin = await start('origin', scratch);
    const contestants: Contestant[] = [{ name: 'direct', inspects: false, port: null, child: null }];
    for (const name of ['cordon', 'cordon-durable', 'srt', 'cordon-inspect', 'srt-inspect'])
      contestants.push({
        name,
        inspects: name.endsWith('inspect'),
        ...(await start(name, String(origin.port), scratch)),
      });
    const missing: string[] = [];
    for (const peer of [squid, tinyproxy, mitmproxy]) {
      const found = await peer(scratch, origin.port);
      if (typeof found === 'string') missing.push(found);
      else {
        contestants.push(found);
        if (found.child !== null) children.push(found.child);
      }
    }
    const figures = await measure(contestants, origin.port);
    report(contestants, figures, missing);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(scratch, { recursive: true });
  }
}

const NOTHING_YET = { setup: Number.POSITIVE_INFINITY, kept: Number.POSITIVE_INFINITY, rate: 0, volume: 0 };

async function measure(contestants: readonly Contestant[], origin: number): Promise<Map<string, Figures>> {
  const figures = new Map(
    contestants.map(({ name }) => [
      name,
      { setup: [], kept: [], rate: [], volume: [], memory: null, best: { ...NOTHING_YET } } as Figures,
    ]),
  );
  for (let round = -1; round < 4; round++) {
    for (const contestant of contestants) {
      const own = figures.get(contestant.name);
      if (own === undefined) continue;
      const setup = await setups(contestant, origin, 30);
      const kept = await keptAlive(contestant, origin, 600);
      const rate = await throughput(contestant, origin, 500);
      const mb = await volume(contestant, origin);
      if (round < 0) continue;
      own.best.setup = Math.min(own.best.setup, at(setup, 0.5));
      own.best.kept = Math.min(own.best.kept, at(kept, 0.5));
      own.best.rate = Math.max(own.best.rate, rate);
      own.best.volume = Math.max(own.best.volume, mb);
      own.setup.push(...setup);
      own.kept.push(...kept);
      own.rate.push(rate);
      own.volume.push(mb);
    }
  }
  for (const contestant of contestants) {
    const own = figures.get(contestant.name);
    if (own !== undefined) own.memory = await idleMemory(contestant, origin);
  }
  return figures;
}

async function setups(contestant: Contestant, origin: number, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const tls = await open(contestant.port, origin);
    await request(tls, origin);
    times.push(performance.now() - start);
    tls.destroy();
  }
  return times;
}

async function keptAlive(contestant: Contestant, origin: number, count: number): Promise<number[]> {
  const tls = await open(contestant.port, origin);
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await request(tls, origin);
    times.push(performance.now() - start);
  }
  tls.destroy();
  return times;
}

async function throughput(contestant: Contestant, origin: number, ms: number): Promise<number> {
  const connections = await Promise.all(Array.from({ length: 16 }, () => open(contestant.port, origin)));
  const start = performance.now();
  let done = 0;
  await Promise.all(
    connections.map(async (tls) => {
      while (performance.now() - start < ms) {
        await request(tls, origin);
        done++;
      }
      tls.destroy();
    }),
  );
  return (done * 1000) / (performance.now() - start);
}

async function volume(contestant: Contestant, origin: number): Promise<number> {
  const tls = await open(contestant.port, origin);
  const start = performance.now();
  await request(tls, origin, '/big', BIG.length);
  const ms = performance.now() - start;
  tls.destroy();
  return BIG.length / 1000 / ms;
}

/** Growth of the proxy's resident memory, in MB, with a thousand tunnels that have finished their handshake. */
async function idleMemory({ port, child }: Contestant, origin: number): Promise<number | null> {
  if (child?.pid === undefined) return null;
  const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024;
  const before = resident();
  const tunnels: TLSSocket[] = [];
  for (let i = 0; i < 50; i++)
    tunnels.push(...(await Promise.all(Array.from({ length: 20 }, () => open(port, origin)))));
  const after = resident();
  for (const tunnel of tunnels) tunnel.destroy();
  return Math.max(0, after - before);
}

async function open(proxy: number | null, origin: number): Promise<TLSSocket> {
  const socket = connectTcp({ host: '127.0.0.1', port: proxy ?? origin, noDelay: true });
  socket.on('error', () => {});
  if (proxy !== null) {
    socket.write(`CONNECT localhost:${origin} HTTP/1.1\r\nHost: localhost:${origin}\r\n\r\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    if (!answer.toString().startsWith('HTTP/1.') || !/ 200 /.test(answer.toString()))
      throw new Error(answer.toString());
  }
  // What is measured is the way, not who trusts whom: the gateways' own authorities are not known here.
  const tls = connectTls({ socket, servername: 'localhost', rejectUnauthorized: false });
  await once(tls, 'secureConnect');
  return tls;
}

function request(tls: TLSSocket, origin: number, path = '/', size = BODY.length): Promise<void> {
  return new Promise((resolve, reject) => {
    let got = 0;
    let need = Number.POSITIVE_INFINITY;
    const take = (chunk: Buffer) => {
      if (got === 0) {
        const end = chunk.indexOf('\r\n\r\n');
        if (end === -1) return reject(new Error('a head in pieces'));
        need = end + 4 + size;
      }
      got += chunk.length;
      if (got < need) return;
      tls.off('data', take);
      tls.off('close', gone);
      resolve();
    };
    const gone = () => reject(new Error('closed'));
    tls.on('data', take);
    tls.once('close', gone);
    tls.write(`GET ${path} HTTP/1.1\r\nHost: localhost:${origin}\r\n\r\n`);
  });
}

const PACKAGES: Readonly<Record<string, string>> = { mitmdump: 'mitmproxy' };

type Peer = (scratch: string, origin: number) => Promise<Contestant | string>;

const squid: Peer = (scratch) =>
  external('squid', false, scratch, (port, conf) => {
    writeFileSync(
      conf,
      `http_port 127.0.0.1:${port}\nhttp_access allow all\ncache deny all\naccess_log none\ncache_log /dev/null\npid_filename none\nshutdown_lifetime 0 seconds\nacl Safe port 1-65535\n`,
    );
    return ['-N', '-f', conf];
  });

const tinyproxy: Peer = (scratch, origin) =>
  external('tinyproxy', false, scratch, (port, conf) => {
    writeFileSync(
      conf,
      `Port ${port}\nListen 127.0.0.1\nMaxClients 2000\nTimeout 600\nAllow 127.0.0.1\nConnectPort ${origin}\n`,
    );
    return ['-d', '-c', conf];
  });

const mitmproxy: Peer = (scratch) =>
  external('mitmdump', true, scratch, (port, conf) => {
    const trusted = `ssl_verify_upstream_trusted_ca=${join(scratch, 'ca.pem')}`;
    return ['-q', '--listen-host', '127.0.0.1', '-p', String(port), '--set', `confdir=${conf}`, '--set', trusted];
  });

async function external(
  program: string,
  inspects: boolean,
  scratch: string,
  prepare: (port: number, conf: string) => string[],
): Promise<Contestant | string> {
  if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0)
    return `${program.padEnd(16)}  not installed: apt-get install ${PACKAGES[program] ?? program}`;
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  const child = spawn(program, prepare(port, join(scratch, `${program}.conf`)), { stdio: 'ignore' });
  for (let tries = 0; tries < 200; tries++) {
    const socket: Socket = connectTcp(port, '127.0.0.1');
    const up = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (up) return { name: program, inspects, port, child };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  child.kill('SIGKILL');
  return `${program.padEnd(16)}  does not start`;
}

function at(values: readonly number[], share: number): number {
  return (
    [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN
  );
}

function report(
  contestants: readonly Contestant[],
  figures: ReadonlyMap<string, Figures>,
  missing: readonly string[],
): void {
  console.log('                    set-up ms    p99   kept µs    p99   req/s    MB/s   MB at 1,000');
  for (const { name } of contestants) {
    const own = figures.get(name);
    if (own === undefined) continue;
    const cells = [
      at(own.setup, 0.5).toFixed(2).padStart(9),
      at(own.setup, 0.99).toFixed(2).padStart(6),
      (at(own.kept, 0.5) * 1000).toFixed(0).padStart(9),
      (at(own.kept, 0.99) * 1000).toFixed(0).padStart(6),
      at(own.rate, 0.5).toFixed(0).padStart(7),
      at(own.volume, 0.5).toFixed(0).padStart(7),
      (own.memory === null ? '-' : own.memory.toFixed(0)).padStart(13),
    ];
    console.log(`  ${name.padEnd(16)}  ${cells.join(' ')}`);
  }
  for (const name of missing) console.log(`  ${name}`);
  const of = (name: string) => figures.get(name);
  const bar = (what: string, ours: number, limit: number) => {
    const holds = ours <= limit;
    console.log(`  ${holds ? 'holds' : 'MISSED'}: ${what}: ${ours.toFixed(2)} against ${limit.toFixed(2)}`);
    if (!holds) process.exitCode = 1;
  };
  const [own, srt, inspected, srtInspected] = ['cordon', 'srt', 'cordon-inspect', 'srt-inspect'].map(of);
  if (own === undefined || srt === undefined || inspected === undefined || srtInspected === undefined) return;
  bar('set-up of a tunnel, ms, beside srt', own.best.setup, NOISE * srt.best.setup);
  bar('latency in a kept tunnel, ms, beside srt', own.best.kept, NOISE * srt.best.kept);
  bar('time a request at 16 connections, ms, beside srt', 1000 / own.best.rate, (NOISE * 1000) / srt.best.rate);
  bar('ms a megabyte, beside srt', 1000 / own.best.volume, (NOISE * 1000) / srt.best.volume);
  bar('time an inspected request, ms, beside srt', 1000 / inspected.best.rate, 1000 / srtInspected.best.rate);
  bar('MB at 1,000 idle tunnels', own.memory ?? Number.POSITIVE_INFINITY, 100);
  const squidOwn = of('squid');
  if (squidOwn !== undefined) {
    bar('set-up beside 1.3 × squid, ms', own.best.setup, 1.3 * squidOwn.best.setup);
    bar('latency in a kept tunnel beside 1.3 × squid, ms', own.best.kept, 1.3 * squidOwn.best.kept);
  }
  const mitm = of('mitmdump');
  if (mitm !== undefined)
    bar('time a request beside mitmproxy / 5, ms', 1000 / inspected.best.rate, 200 / mitm.best.rate);
}

const [role, ...args] = process.argv.slice(2);
if (role?.startsWith('role:')) await play(role.slice(5), args);
else await main();
