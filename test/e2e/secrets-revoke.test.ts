import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { FileLock } from '../../src/base/file-lock.ts';
import { statusField } from '../attack/host.ts';
import { Installation, Project, type Running } from '../fakes/project.ts';
import { processesWith } from '../fakes/sandbox-scene.ts';

const HOST = '127.0.0.2';
const site = new Installation();
const values = { API_TOKEN: 'a-token-for-a-long-download-6650', OPEN_TOKEN: 'a-value-that-is-inside-a-run-1123' };
/** Authorization headers of requests that arrived. */
const arrived: (string | undefined)[] = [];
let cut: () => void = () => {};
let port: number;
let header: Project;
let open: Project;

/** An answer without an end: a piece every few milliseconds until somebody closes it. */
const server = createServer((request, response) => {
  arrived.push(request.headers.authorization);
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  const timer = setInterval(() => response.write('piece\n'), 20);
  response.on('close', () => {
    clearInterval(timer);
    cut();
  });
});

const ASK = `use strict; use IO::Socket::INET; $| = 1;
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 3128) or die $!;
print $socket "GET http://$ARGV[0]/ HTTP/1.1\\r\\nHost: $ARGV[0]\\r\\nAuthorization: Bearer $ENV{API_TOKEN}\\r\\nConnection: close\\r\\n\\r\\n";
while (<$socket>) { print if /^(HTTP|piece)|title/ }
print "over\\n";
`;

function project(name: string, policy: string): Project {
  const made = new Project(join(site.root, name));
  made.write('ask.pl', ASK).write('.cordon/policy.yaml', `version: 1\n${policy}`);
  return made.commit('first');
}

beforeAll(async () => {
  server.listen(0, HOST);
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
  header = project(
    'header',
    `security: {allowed_network_hosts: [{host: ${HOST}, port: ${port}, private: true}]}
secrets: [{name: API_TOKEN, use: {host: ${HOST}, header: "Authorization: Bearer {}"}}]
`,
  );
  open = project('open', 'secrets: [{name: OPEN_TOKEN, use: {env: OPEN}}]\n');
  for (const [name, input] of Object.entries(values)) {
    site.keep(name, input);
  }
});
beforeEach(() => {
  arrived.length = 0;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  site.dispose();
});

interface Revoked {
  readonly revoked: string;
  readonly runs: string[];
  readonly unanswered: string[];
}

function revoke(name: string): { status: number | null; answer: Revoked } {
  const { status, stdout } = site.cordon('secrets', 'revoke', name, '--json');
  return { status, answer: JSON.parse(stdout) as Revoked };
}

test('a download under way is cut, the run is named, and its placeholder is worth nothing any more', async () => {
  const closed = new Promise<void>((resolve) => {
    cut = resolve;
  });
  const ask = `perl ask.pl ${HOST}:${port}`;
  const running = site.start(header, `${ask}; ${ask}; echo "went on"`);
  await running.says('│ piece');
  expect(arrived).toEqual([`Bearer ${values.API_TOKEN}`]);
  const { status, answer } = revoke('API_TOKEN');
  await closed; // what the server sees: the test's own time is the bound
  const { result, stderr } = await running.done;
  expect(status).toBe(0);
  expect(answer).toEqual({ revoked: 'API_TOKEN', runs: [result.runId], unanswered: [] });
  expect(arrived).toHaveLength(1); // the second request went nowhere
  expect(stderr).toMatch(/over[\s\S]*403[\s\S]*went on/);
  expect(result.status).toBe('succeeded');
  const shown = site.cordon('runs', 'show', result.runId).stdout;
  expect(shown).toMatch(/API_TOKEN for 127\.0\.0\.2 .* used 1 time/);
  expect(shown).toMatch(/revoked \d\d:\d\d:\d\d UTC/);
  expect(site.verify()).toEqual([]);
}, 60_000);

test('later runs may have it again', async () => {
  cut = () => {};
  const running = site.start(header, `perl ask.pl ${HOST}:${port}`);
  await running.says('│ piece');
  expect(arrived).toEqual([`Bearer ${values.API_TOKEN}`]);
  expect(revoke('API_TOKEN').answer.runs).toHaveLength(1);
  await running.done;
}, 60_000);

test('a run that has the value itself is ended', async () => {
  const running = site.start(open, 'echo ready; sleep 600');
  await running.says('│ ready');
  const { answer } = revoke('OPEN_TOKEN');
  const { status, result } = await running.done;
  expect(status).toBe(3);
  expect(result.status).toBe('denied');
  expect(result.stopReason).toBe('the secret OPEN_TOKEN, whose value was in the sandbox as $OPEN, was revoked');
  expect(answer.runs).toEqual([result.runId]);
}, 60_000);

/** Stopped while it writes to the log it would hold the log's lock, and nobody could record a revocation. */
async function stopBetweenRecords({ child }: Running): Promise<void> {
  const lock = new FileLock(join(site.home, 'audit/lock'), systemClock, 'existing');
  const stands = () => /^T/.test(statusField(child.pid ?? 0, 'State'));
  do {
    child.kill('SIGCONT');
    child.kill('SIGSTOP');
    await expect.poll(stands).toBe(true);
  } while (!lock.tryAcquire());
  lock.close();
}

test('a run whose process is stopped is named, and the use that it tries afterwards is refused', async () => {
  cut = () => {};
  const nap = `9${process.pid}`;
  const running = site.start(header, `sleep ${nap}; perl ask.pl ${HOST}:${port}`);
  await expect.poll(() => processesWith(`sleep\0${nap}`)).toHaveLength(1);
  await stopBetweenRecords(running);
  const { status, answer } = revoke('API_TOKEN');
  for (const pid of processesWith(`sleep\0${nap}`)) process.kill(pid);
  running.child.kill('SIGCONT');
  const { result, stderr } = await running.done;
  expect(status).toBe(7);
  expect(answer).toEqual({ revoked: 'API_TOKEN', runs: [], unanswered: [result.runId] });
  expect(stderr).toContain('403');
  expect(arrived).toEqual([]);
}, 60_000);

test('with several runs, all that have it, and no other', async () => {
  let open = 0;
  const allCut = new Promise<void>((resolve) => {
    cut = () => {
      open++;
      if (open === 2) resolve();
    };
  });
  const users = [1, 2].map(() => site.start(header, `perl ask.pl ${HOST}:${port}`));
  await Promise.all(users.map((run) => run.says('│ piece')));
  const { answer } = revoke('API_TOKEN');
  await allCut;
  const ids = (await Promise.all(users.map((run) => run.done))).map(({ result }) => result.runId);
  expect(answer.runs).toEqual(ids.sort());
}, 60_000);
