/** The way out of a run as it is typed: real runs, and servers of the test outside that say what arrived. */
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Finished, Installation, Project } from '../fakes/project.ts';
import { processesWith, wake } from '../fakes/sandbox-scene.ts';

const site = new Installation();
const servers: Server[] = [];
const sockets = new Set<Socket>();
afterAll(() => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers) server.close();
  site.dispose();
});

/** Of this machine; inside a run the same address is its own loopback, where nothing listens on these ports. */
const HOST = '127.0.0.2';

async function listen(server: Server): Promise<number> {
  servers.push(server);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Requests that arrived where a rule leads, and connections where none does. */
const arrived: string[] = [];
const leaked: string[] = [];
const COMMIT = 'd3ee0183c6d5d3ee0183c6d5d3ee0183c6d5d3ee';
beforeEach(() => void arrived.splice(0));
let open: number;
let closed: number;
let reading: Project;
let nothing: Project;

beforeAll(async () => {
  open = await listen(
    createServer((request, response) => {
      arrived.push(`${request.method} ${request.url}`);
      if (request.url === '/endless') return;
      response.end(request.url?.startsWith('/r.git/info/refs') ? `${COMMIT}\trefs/heads/main\n` : 'welcome\n');
    }),
  );
  closed = await listen(createTcp(() => leaked.push('a connection')));
  reading = project(`version: 1
security:
  allowed_network_hosts:
    - {host: ${HOST}, port: ${open}, private: true, methods: [GET, HEAD]}
    - {host: named.example, port: 80, methods: [GET]}
`);
  nothing = project('version: 1\n');
});

/** Sends what it reads to an address, and says what came back or why nothing could. */
const TALK = `use strict; use IO::Socket::INET; use Errno;
my ($host, $port) = @ARGV;
my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Proto => 'tcp');
if (!$socket) { print 'failed: ', (join ' ', grep { $!{$_} } qw(ENETUNREACH ECONNREFUSED ETIMEDOUT)), "\\n"; exit }
undef $/; print $socket scalar <STDIN>; $socket->flush; print scalar <$socket>; print "\\n";
`;

/** Asks the resolver of the run for a name's address, over UDP and over TCP, byte by byte. */
const ASK = `use strict; use IO::Socket::INET;
for my $name (@ARGV) {
  my $query = pack('n6', 7, 0x100, 1, 0, 0, 0) . join('', map { pack('C/a', $_) } split /\\./, $name) . pack('Cnn', 0, 1, 1);
  my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 53, Proto => 'udp') or die $!;
  $socket->send($query);
  $socket->recv(my $answer, 512);
  my $stream = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 53, Proto => 'tcp') or die $!;
  print $stream pack('n/a', $query); $stream->flush; $stream->shutdown(1);
  my $whole = do { local $/; <$stream> };
  die 'another answer over TCP' if $whole ne pack('n/a', $answer);
  my (undef, $flags, undef, $count) = unpack('n4', $answer);
  print "$name rcode ", $flags & 15, ' ', ($count ? join('.', unpack('C4', substr($answer, -4))) : 'none'), "\\n";
}
`;

let count = 0;
function project(policy: string): Project {
  const made = new Project(join(site.root, `repository-${++count}`));
  return made.write('.cordon/policy.yaml', policy).write('talk.pl', TALK).write('ask.pl', ASK).commit('first');
}

/** What the agent's script wrote; the servers answer meanwhile. */
async function said(where: Project, script: string, ...options: string[]): Promise<Finished & { said: string }> {
  const finished = await site.start(where, script, ...options).done;
  const lines = finished.stderr.split('\n').filter((line) => line.startsWith('│ '));
  return { ...finished, said: lines.map((line) => line.slice(2).replace(/\r$/, '')).join('\n') };
}

/** A request to the run's proxy, from a program that is told nothing. */
const proxied = (line: string, host: string) =>
  `printf '${line}\\r\\nHost: ${host}\\r\\nConnection: close\\r\\n\\r\\n' | perl talk.pl 127.0.0.1 3128`;

interface Shown {
  readonly type: string;
  readonly seq: number;
  readonly cause: number | null;
  readonly resource: Record<string, unknown>;
  readonly decision?: { readonly effect: string; readonly rules: readonly unknown[] };
  readonly outcome?: Record<string, unknown>;
}

/** The record of a run's crossings, in their order. */
function crossings(run: string): Shown[] {
  return site.events(run).filter(({ type }) => type.startsWith('network.'));
}

test('what is permitted arrives: by hand, with curl, with git; the environment says where', async () => {
  const has = (program: string) => existsSync(`/usr/bin/${program}`);
  const url = `http://${HOST}:${open}`;
  const {
    status,
    result,
    said: text,
    stderr,
  } = await said(
    reading,
    `env | grep -i _proxy= | sort -f; test -s "$SSL_CERT_FILE" && grep -c BEGIN "$NODE_EXTRA_CA_CERTS"
    ${proxied(`GET ${url}/by-hand?token=1 HTTP/1.1`, `${HOST}:${open}`)}
    ${has('curl') ? `curl -sS ${url}/curl` : 'true'}
    git ls-remote ${url}/r.git`,
  );
  expect({ status, stderr }).toMatchObject({ status: 0 });
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'all_proxy'])
    expect(text).toContain(`${name}=http://127.0.0.1:3128\n`);
  expect(text).toMatch(/^\d+$/m);
  expect(text).toMatch(/^HTTP\/1\.1 200 OK$/m);
  expect(text.match(/^welcome$/gm)).toHaveLength(has('curl') ? 2 : 1);
  expect(text).toContain(`${COMMIT}\\trefs/heads/main`);
  const expected = ['GET /by-hand?token=1', ...(has('curl') ? ['GET /curl'] : [])];
  expect(arrived.splice(0)).toEqual(expect.arrayContaining([...expected, expect.stringMatching(/^GET \/r\.git\//)]));

  const events = crossings(result.runId);
  expect(events[0]).toMatchObject({
    type: 'network.decided',
    resource: { host: HOST, port: open, method: 'GET', path: '/by-hand' }, // what a query holds is not recorded
    decision: { effect: 'permit', rules: [expect.stringContaining('.cordon/policy.yaml:4')] },
  });
  const [first] = events.filter(({ type, cause }) => type === 'network.closed' && cause === events[0]?.seq);
  expect(first).toMatchObject({
    resource: { host: HOST, port: open, address: HOST },
    outcome: { result: 'completed', status: 200, bytesIn: expect.any(Number) },
  });
});

test('what no rule permits is answered with the rule to add or the rule it met, and nobody outside hears of it', async () => {
  const { result, said: text } = await said(
    reading,
    `${proxied(`GET http://${HOST}:${closed}/ HTTP/1.1`, `${HOST}:${closed}`)}
    ${proxied('CONNECT evil.example:443 HTTP/1.1', 'evil.example:443')}
    ${proxied(`DELETE http://${HOST}:${open}/ HTTP/1.1`, `${HOST}:${open}`)}`,
  );
  const problems = text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  expect(text.match(/^HTTP\/1\.1 403 Forbidden$/gm)).toHaveLength(3);
  const remedy = (host: string) => `add to .cordon/policy.yaml: security: {allowed_network_hosts: ["${host}"]}`;
  expect(problems).toMatchObject([
    { status: 403, host: `${HOST}:${closed}`, remedy: remedy(`${HOST}:${closed}`) },
    { status: 403, host: 'evil.example:443', remedy: remedy('evil.example:443') },
    { status: 403, host: `${HOST}:${open}`, detail: expect.stringContaining('DELETE') },
  ]);
  expect({ arrived, leaked }).toEqual({ arrived: [], leaked: [] });

  const decided = crossings(result.runId).filter(({ type }) => type === 'network.decided');
  expect(decided.map(({ decision }) => decision?.effect)).toEqual(['deny', 'deny', 'deny']);
  const shown = site.cordon('runs', 'show', result.runId);
  expect(shown.stdout).toContain(`${HOST}:${closed}`);
  expect(shown.stdout).toContain('evil.example:443');
});

test('where no host is permitted: refused by the proxy, no way of its own, no name', async () => {
  const { status, said: text } = await said(
    nothing,
    `${proxied(`GET http://${HOST}:${closed}/ HTTP/1.1`, `${HOST}:${closed}`)}
    for address in 192.0.2.1 169.254.169.254 10.0.0.1; do perl talk.pl $address 80 < /dev/null; done
    perl talk.pl ${HOST} ${closed} < /dev/null
    perl ask.pl evil.example localhost.evil.example; echo "\${SSL_CERT_FILE-none}"`,
  );
  expect(status).toBe(0);
  expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden$/m);
  expect(text.match(/^failed: \w+$/gm)).toEqual([
    ...Array(3).fill('failed: ENETUNREACH'),
    'failed: ECONNREFUSED', // the run's own loopback, not the machine's
  ]);
  expect(text).toContain('evil.example rcode 3 none\nlocalhost.evil.example rcode 3 none\nnone');
  expect({ arrived, leaked }).toEqual({ arrived: [], leaked: [] });
});

test('a program that knows no proxy: a permitted name has an address that stands for it, and what goes there is judged', async () => {
  const request = (method: string, host: string) =>
    `printf '${method} /x HTTP/1.1\\r\\nHost: ${host}\\r\\nConnection: close\\r\\n\\r\\n'`;
  const { result, said: text } = await said(
    reading,
    `perl ask.pl named.example evil.example
    ${request('POST', 'named.example')} | perl talk.pl named.example 80
    ${request('GET', 'evil.example')} | perl talk.pl named.example 80
    ${request('GET', 'named.example')} | perl talk.pl 198.19.255.254 80
    ${request('GET', 'evil.example')} | perl talk.pl evil.example 80`,
  );
  expect(text).toMatch(/^named\.example rcode 0 198\.18\.\d+\.\d+\nevil\.example rcode 3 none$/m);
  expect(text.match(/^(?:HTTP\/1\.1 .*|failed:.*)$/gm)).toEqual([
    'HTTP/1.1 403 Forbidden',
    'HTTP/1.1 400 Bad Request',
    'HTTP/1.1 403 Forbidden', // an address that stands for no name
    'failed: ', // a name that is not permitted has no address to try
  ]);
  const events = crossings(result.runId);
  expect(events).toContainEqual(
    expect.objectContaining({
      type: 'network.decided',
      resource: { host: 'named.example', port: 80, method: 'POST', path: '/x' },
      decision: expect.objectContaining({ effect: 'deny' }),
    }),
  );
  expect(events).toContainEqual(
    expect.objectContaining({
      type: 'network.unjudged',
      resource: expect.objectContaining({ via: 'dns', host: 'evil.example' }),
    }),
  );
});

test('a request may open a host, but never this machine: that takes `private: true` in a document', async () => {
  const { result, said: text } = await said(
    nothing,
    proxied(`GET http://${HOST}:${closed}/ HTTP/1.1`, `${HOST}:${closed}`),
    '--allow-net',
    `${HOST}:${closed}`,
  );
  expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden$/m);
  expect(crossings(result.runId)).toMatchObject([
    { type: 'network.decided', decision: { effect: 'permit' } },
    { type: 'network.closed', outcome: { result: 'address_refused' } },
  ]);
  expect(leaked).toEqual([]);
});

test('a run that ends in the middle of a crossing closes it in the record, delivers, and leaves nothing', async () => {
  const nap = `71${process.pid}`;
  const running = site.start(
    reading,
    `${proxied(`GET http://${HOST}:${open}/endless HTTP/1.1`, `${HOST}:${open}`)} & sleep ${nap}; echo two > new.txt`,
  );
  await expect.poll(() => arrived).toEqual(['GET /endless']);
  await wake(nap);
  const { status, result } = await running.done;
  expect({ status, arrived }).toEqual({ status: 0, arrived: ['GET /endless'] });
  expect(reading.git('show', `${result.branch}:new.txt`)).toBe('two');
  const [decided, ended, ...more] = crossings(result.runId);
  expect(more).toEqual([]);
  expect(ended).toMatchObject({ type: 'network.closed', cause: decided?.seq, outcome: { status: null } });
  expect(site.leftovers()).toEqual([]);
});

test('killed in the middle of a crossing: the host sees the end, nothing goes on, and the next run says what was lost', async () => {
  const started = site.start(
    reading,
    `${proxied(`GET http://${HOST}:${open}/endless HTTP/1.1`, `${HOST}:${open}`)} & sleep 600`,
  );
  await expect.poll(() => arrived).toEqual(['GET /endless']);
  arrived.splice(0);
  const held = () => [...sockets].filter((socket) => !socket.destroyed);
  await expect.poll(() => held().length).toBe(1);
  const gone = once(held()[0] as Socket, 'close');
  started.child.kill('SIGKILL');
  await gone;
  await started.done;
  expect(site.run(nothing, 'true').status).toBe(0); // it closes what the killed one left
  expect(arrived).toEqual([]);
});

test('a log that is taken away while a run goes on: nothing crosses any more, and the run fails', async () => {
  const own = new Installation();
  const request = (path: string) => proxied(`GET http://${HOST}:${open}/${path} HTTP/1.1`, `${HOST}:${open}`);
  const nap = `72${process.pid}`;
  const script = `${request('before')}; sleep ${nap}; ${request('after')}; echo two > new.txt`;
  const started = own.start(reading, script);
  await expect.poll(() => processesWith(`sleep\0${nap}`)).toHaveLength(1);
  rmSync(join(own.home, 'audit', 'journal'), { recursive: true });
  for (const pid of processesWith(`sleep\0${nap}`)) process.kill(pid);
  const { status, stderr } = await started.done;
  expect(status).not.toBe(0);
  expect(stderr).not.toContain('new.txt');
  expect(arrived).toEqual(['GET /before']);
  own.dispose();
});

test('the log of all of this holds', () => {
  expect(site.verify()).toEqual([]);
});
