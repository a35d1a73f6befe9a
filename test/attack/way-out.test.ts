/** A hostile agent in a real run, that looks for a way out beside its gateways; judged by what listens outside. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ORIGIN } from '../../src/runs/origin.ts';
import { type Finished, Installation, Project } from '../fakes/project.ts';

const site = new Installation();
const VALUE = 'a-value-that-stays-outside-4471';
const ABSTRACT = `cordon-canary-${process.pid}`;
/** What reached a listener outside that the policy does not name. */
const leaked: string[] = [];
const servers: Server[] = [];
let canary: number;
let project: Project;
let run: Finished;

async function listen(at: object): Promise<Server> {
  const server = createServer((socket) => {
    leaked.push(JSON.stringify(at));
    socket.on('error', () => {});
    socket.end('leaked\n');
  });
  servers.push(server);
  server.listen(at);
  await once(server, 'listening');
  return server;
}

/** One line a finding: `NAME: what came back`. */
const ATTACK = String.raw`use strict; use Socket; use IO::Socket::INET; use IO::Socket::UNIX; $| = 1;
my ($canary, $abstract, $git) = @ARGV;
sub talk { my ($port, $bytes) = @_;
  my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 2) or return 'refused';
  print $s $bytes;  my $got = ''; local $SIG{ALRM} = sub { die };
  eval { alarm 30; while (sysread($s, my $part, 4096)) { $got .= $part; last if length $got > 20000 } alarm 0 }; alarm 0;
  return $got =~ /^([^\r\n]+)/ ? $1 : 'nothing' }
sub say_ { print "$_[0]: $_[1]\n" }
for my $host ('127.0.0.1', '127.0.0.3', '0.0.0.0', '[::1]', '[::ffff:127.0.0.1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]', '198.18.0.1', '169.254.169.254') {
  say_("connect $host", talk(3128, "CONNECT $host:$canary HTTP/1.1\r\nHost: $host:$canary\r\n\r\n"));
  say_("get $host", talk(3128, "GET http://$host:$canary/ HTTP/1.1\r\nHost: $host:$canary\r\nConnection: close\r\n\r\n"));
}
my $direct = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $canary, Timeout => 2);
say_('direct', $direct ? 'leaked' : 'refused');
socket(my $u, AF_UNIX, SOCK_STREAM, 0);
say_('abstract socket', connect($u, pack('S', AF_UNIX) . "\0$abstract") ? 'leaked' : 'refused');
open my $names, '<', '/proc/net/unix'; say_('abstract names', scalar grep { /\@cordon-canary/ } <$names>);
say_('control', talk($git, "GET /origin/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
for my $path ("http://127.0.0.3:$canary/origin/info/refs?service=git-upload-pack", '//origin/info/refs?service=git-upload-pack', '/origin/../../etc/passwd',
  '/origin/objects/info/packs', '/origin/HEAD', '/origin/config', '/origin/info/refs', '/origin/info/refs?service=git-upload-archive',
  '/origin%2finfo%2frefs?service=git-upload-pack', '/other/info/refs?service=git-upload-pack', '/origin/info/lfs/objects/batch', '/sign/file', '/sign/../origin/HEAD') {
  say_("git $path", talk($git, "GET $path HTTP/1.1\r\nHost: 127.0.0.3:$canary\r\nConnection: close\r\n\r\n"));
}
say_('git connect', talk($git, "CONNECT 127.0.0.3:$canary HTTP/1.1\r\nHost: x\r\n\r\n"));
say_('git sign', talk($git, "POST /sign/git HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-commit\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"));
`;

beforeAll(async () => {
  // At every address of this machine: a port that is free at one of them may be taken at another.
  const first = await listen({ host: '0.0.0.0', port: 0 });
  canary = (first.address() as { port: number }).port;
  await listen({ path: `\0${ABSTRACT}` });
  project = new Project(join(site.root, 'repository'));
  project.write('attack.pl', ATTACK).write(
    '.cordon/policy.yaml',
    `version: 1
security: {allowed_network_hosts: [{host: 127.0.0.2, port: ${canary}, private: true}, allowed.example:443]}
git: {push: {branches: ["cordon/**"]}}
secrets: [{name: API_TOKEN, use: {host: 127.0.0.2}}]
`,
  );
  project.commit('first');
  const set = spawnSync(join(import.meta.dirname, '../../cordon'), ['secrets', 'set', 'API_TOKEN'], {
    env: { ...site.env, CANARY_OF_THE_HOST: 'x' },
    input: VALUE,
  });
  expect(set.status, set.stderr.toString()).toBe(0);
  run = await site.start(
    project,
    `perl attack.pl ${canary} ${ABSTRACT} ${new URL(ORIGIN).port}
     echo "files: $(ls /run/cordon | tr '\\n' ' ')"
     echo "keys: $(grep -rIl -e 'PRIVATE KEY' -e '${VALUE.slice(0, 20)}'* /run /etc /tmp "$HOME" /proc/[0-9]*/environ 2>/dev/null | tr '\\n' ' ')"
     echo "environ: $(cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c -e CORDON_HOME -e CANARY_OF -e '${site.root}')"
     echo "descriptors: $(ls -l /proc/self/fd /proc/1/fd 2>/dev/null | grep -c -e '${site.root}' -e memfd)"`,
  ).done;
}, 60_000);
afterAll(() => {
  for (const server of servers) server.close();
  site.dispose();
});

/** What each attack got, by its name. */
function findings(): Map<string, string> {
  const lines = run.stderr.split('\n').map((line) => /^│ ((?:\S+ )*?\S+): (.*)$/.exec(line));
  return new Map(lines.flatMap((match) => (match === null ? [] : [[match[1] as string, match[2] as string]])));
}
const starting = (name: string) => [...findings()].filter(([key]) => key.startsWith(name));

test('through the proxy, to addresses of this machine in any spelling', () => {
  const got = [...starting('connect '), ...starting('get ')];
  expect(got).toHaveLength(18);
  for (const [name, answer] of got) expect(answer, name).toMatch(/^HTTP\/1\.1 40[03] /);
});

test('beside it: loopback is the run’s own, and so are names of sockets', () => {
  expect(findings().get('direct')).toBe('refused');
  expect(findings().get('abstract socket')).toBe('refused');
  expect(findings().get('abstract names')).toBe('0');
});

test('through the git gateway, as a proxy, a file server or a signer of anything', () => {
  expect(findings().get('control')).toBe('HTTP/1.1 200 OK');
  const got = starting('git ');
  expect(got).toHaveLength(15);
  for (const [name, answer] of got) expect(answer, name).toMatch(/^(HTTP\/1\.1 4\d\d |nothing)/);
});

test('in what lies inside: no key, no value, nothing of this machine', () => {
  expect(findings().get('files')).toMatch(/ca\.pem/);
  expect(run.stderr).toMatch(/│ keys: *$/m);
  expect(findings().get('environ')).toBe('0');
  expect(findings().get('descriptors')).toBe('0');
});

test('and nobody outside heard of any of it', () => {
  expect(leaked).toEqual([]);
  expect(site.verify()).toEqual([]);
});
