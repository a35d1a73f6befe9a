import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Installation, Project } from '../fakes/project.ts';

const VALUE = 'a-token-that-nobody-may-see-7431';
const PLAIN = 'a-value-lent-in-plain-words-0052';
const KEY = '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n';
const HOST = '127.0.0.2';
const site = new Installation();
const arrived: (string | undefined)[] = [];
const server = createServer((request, response) => {
  arrived.push(`${request.method} ${request.url} ${request.headers.authorization}`);
  response.end('welcome\n');
});
let port: number;
let project: Project;

const ASK = `use strict; use IO::Socket::INET;
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 3128) or die $!;
my ($path, $header) = @ARGV;
print $socket "GET http://$path HTTP/1.1\\r\\nHost: ", $path =~ m{^([^/]+)}, "\\r\\n$header\\r\\nConnection: close\\r\\n\\r\\n";
undef $/; print scalar <$socket>, "\\n";
`;

beforeAll(async () => {
  server.listen(0, HOST);
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
  project = new Project(join(site.root, 'repository'));
  project.write('ask.pl', ASK).write(
    '.cordon/policy.yaml',
    `version: 1
security:
  allowed_network_hosts: [{host: ${HOST}, port: ${port}, private: true}]
secrets:
  - {name: API_TOKEN, use: {host: ${HOST}, header: "Authorization: Bearer {}"}}
  - {name: OPEN_TOKEN, use: {env: OPEN}}
  - {name: DEPLOY_KEY, use: {file: /run/secrets/deploy-key}}
`,
  );
  project.commit('first');
  for (const [name, value] of Object.entries({ API_TOKEN: VALUE, OPEN_TOKEN: PLAIN, DEPLOY_KEY: `${KEY}\n` })) {
    site.keep(name, value);
  }
});
afterAll(() => {
  server.close();
  site.dispose();
});

const run = (script: string) => site.start(project, script).done;

test('the value stands in the header at its host, and nowhere inside', async () => {
  const { status, stdout, stderr } = await run(
    `env; perl ask.pl ${HOST}:${port}/ok "Authorization: Bearer $API_TOKEN"; grep -rs ${VALUE} /proc/self/environ /run /tmp /home /workspace; true`,
  );
  expect(status).toBe(0);
  expect(arrived).toEqual([`GET /ok Bearer ${VALUE}`]);
  expect(stderr).toMatch(/API_TOKEN=cordon-secret-API_TOKEN-/);
  expect(stderr + stdout).not.toContain(VALUE);
}, 60_000);

test('a placeholder sent anywhere else goes no further, and is an alarm', async () => {
  arrived.length = 0;
  const { stderr, result } = await run(`perl ask.pl "${HOST}:${port}/leak/$API_TOKEN" "X-Other: 1"`);
  expect(arrived).toEqual([]);
  expect(stderr).toContain('secret_refused');
  const types = site.events(result.runId).map(({ type }) => type);
  expect(types).toContain('secret.alarm');
  expect(types.filter((type) => type === 'secret.granted')).toHaveLength(3);
});

test('what policy lends in plain words is said loudly, and taken out of what the agent writes', async () => {
  const { stderr, result } = await run('test -n "$OPEN" && echo "open is $OPEN"');
  expect(stderr).toContain('the value of OPEN_TOKEN is in the sandbox, as $OPEN');
  expect(stderr).toContain('open is [secret:OPEN_TOKEN]');
  expect(stderr).not.toContain(PLAIN);
  expect(site.cordon('runs', 'logs', result.runId).stdout).not.toContain(PLAIN);
});

test('as a file: for the agent alone, said loudly in every summary', async () => {
  const { status, stderr, result } = await run(
    'stat -c "%a %U" /run/secrets/deploy-key; sha256sum < /run/secrets/deploy-key; cat /run/secrets/deploy-key; rm -f /run/secrets/deploy-key; echo; ls /run/secrets',
  );
  expect(status).toBe(0);
  expect(stderr).toContain('│ 400 agent');
  expect(stderr).toContain(createHash('sha256').update(KEY).digest('hex'));
  expect(stderr).toContain('│ deploy-key');
  expect(stderr).not.toContain('b3BlbnNzaC1rZXktdjEA');
  expect(stderr).toContain('! the value of DEPLOY_KEY is in the sandbox, as /run/secrets/deploy-key: ');
  expect(result.credentials).toContainEqual({ name: 'DEPLOY_KEY', use: 'file', where: '/run/secrets/deploy-key' });
  expect(readdirSync(join(site.home, 'runs', result.runId))).toEqual([]);
  const risks = site.cordon('policy', 'risk', '--policy', join(project.dir, '.cordon/policy.yaml'));
  expect(risks.stdout, risks.stderr).toContain('DEPLOY_KEY is in the sandbox as a file');
});

test('the record names what was lent, by which rule, and how often it was used', async () => {
  arrived.length = 0;
  const { result } = await run(
    `for i in 1 2; do perl ask.pl ${HOST}:${port}/$i "Authorization: Bearer $API_TOKEN"; done; perl ask.pl "${HOST}:${port}/$API_TOKEN" "X: 1"`,
  );
  expect(arrived).toHaveLength(2);
  const shown = site.cordon('runs', 'show', result.runId).stdout;
  expect(shown).toMatch(/credentials +API_TOKEN, OPEN_TOKEN \(in the sandbox\), DEPLOY_KEY \(in the sandbox\)/);
  expect(shown).toMatch(/API_TOKEN for 127\.0\.0\.2 \(authorization\) +granted .* used 2 times, last /);
  expect(shown).toContain('its placeholder was sent elsewhere 1 time, and stopped');
  expect(shown).toContain('OPEN_TOKEN was in the sandbox as $OPEN');
  const { story } = JSON.parse(site.cordon('runs', 'show', result.runId, '--json').stdout) as {
    story: { credentials: { name: string; insideSandbox: boolean; used: number; alarms: number; rules: string[] }[] };
  };
  expect(story.credentials.map(({ name, insideSandbox, used, alarms }) => [name, insideSandbox, used, alarms])).toEqual(
    [
      ['API_TOKEN', false, 2, 1],
      ['OPEN_TOKEN', true, 1, 0],
      ['DEPLOY_KEY', true, 1, 0],
    ],
  );
  expect(story.credentials[0]?.rules[0]).toMatch(/policy\.yaml:\d+ secrets: API_TOKEN for 127\.0\.0\.2/);
  const last = site.cordon('run', '-w', project.dir, '--', 'true').stdout;
  expect(last).toContain('! the value of DEPLOY_KEY was in the sandbox, as /run/secrets/deploy-key');
  expect(last).toContain('API_TOKEN for authorization of 127.0.0.2');
});

test('a secret that nobody has set keeps the run from starting its agent', async () => {
  const removed = site.cordon('secrets', 'remove', 'OPEN_TOKEN');
  expect(removed.status, removed.stderr).toBe(0);
  const { status, stdout, stderr } = await run('echo ran');
  expect(status).not.toBe(0);
  expect(stderr).not.toContain('│ ran');
  expect(stdout + stderr).toContain('OPEN_TOKEN');
  expect(site.cordon('audit', 'verify').status).toBe(0);
});
