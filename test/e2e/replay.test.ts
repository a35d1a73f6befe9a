/** Runs are run again from their recordings: nothing goes online, and what differs is said. */
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Replayed } from '../../src/runs/replay.ts';
import { ModelServer } from '../fakes/models/server.ts';
import { Installation, Project } from '../fakes/project.ts';

const HOST = '127.0.0.2';
const site = new Installation();
const hits: string[] = [];
const server = createServer((request, response) => {
  hits.push(`${request.method} ${request.url}`);
  response.setHeader('x-count', hits.length);
  const number = hits.length;
  request.resume().on('end', () => response.end(`page ${request.url} number ${number}\n`));
});
let upstream: ModelServer;
let project: Project;
let port: number;

/** A small agent: asks a model over its own socket, and a host through the proxy. */
const AGENT = `use strict; use IO::Socket::INET;
sub ask { my ($port, $text) = @_;
  my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die $!;
  print $socket $text; local $/; my $answer = <$socket>; $answer =~ s/^.*?\\r\\n\\r\\n//s; return $answer; }
sub model { my ($content) = @_; my $body = qq({"model":"m-1","stream":true,"messages":[{"role":"user","content":"$content"}]});
  return ask(4141, "POST /v1/chat/completions HTTP/1.0\\r\\nHost: x\\r\\nAuthorization: Bearer $ENV{OPENAI_API_KEY}\\r\\nContent-Length: @{[length $body]}\\r\\nConnection: close\\r\\n\\r\\n$body"); }
sub page { my ($url) = @_; my ($host) = $url =~ m{//([^/]+)};
  return ask(3128, "GET $url HTTP/1.1\\r\\nHost: $host\\r\\nConnection: close\\r\\n\\r\\n"); }
sub post { my ($url, $body) = @_; my ($host) = $url =~ m{//([^/]+)};
  return ask(3128, "POST $url HTTP/1.1\\r\\nHost: $host\\r\\nContent-Length: @{[length $body]}\\r\\nConnection: close\\r\\n\\r\\n$body"); }
1;
`;

beforeAll(async () => {
  server.listen(0, HOST);
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
  upstream = await new ModelServer((_, index) => ({ text: `answer ${index}`, pieces: 3 })).start();
  project = new Project(join(site.root, 'repository'));
  project.write('agent.pl', AGENT).write(
    '.cordon/policy.yaml',
    `version: 1
security: {allowed_network_hosts: [{host: ${HOST}, port: ${port}, private: true}]}
llm_policy: {allowed_providers: [acme], models: ["m-*"]}
`,
  );
  project.commit('first');
  const add = site.cordon(
    ...[
      'providers',
      'add',
      'acme',
      '--driver',
      'openai-compatible',
      '--base-url',
      `${upstream.url}/v1`,
      '--model',
      'm-1',
    ],
  );
  expect(add.status, add.stderr).toBe(0);
});
afterAll(async () => {
  server.close();
  await upstream.close();
  site.dispose();
});
beforeEach(() => {
  hits.length = 0;
  upstream.heard.length = 0;
});

const perl = (code: string) => `perl -I. -e 'require "./agent.pl"; ${code}'`;

async function replayed(run: string, ...options: string[]) {
  const before = [hits.length, upstream.heard.length];
  const finished = await site.type('runs', 'replay', run, '--json', ...options).done;
  expect([hits.length, upstream.heard.length], 'a replay goes nowhere').toEqual(before);
  return { ...finished, verdict: JSON.parse(finished.stdout || '{}') as Replayed };
}

test('exact: the same answers of models and hosts, the same commands, the same tree', async () => {
  const script = `${perl('print model("what is it?")')} > model.txt; ${perl(`print page("http://${HOST}:${port}/a?q=1")`)} > page.txt; ls > list.txt; echo "$CORDON_SEED $SOURCE_DATE_EPOCH" > offered.txt`;
  const { result, status, stderr } = await site.start(project, script).done;
  expect(status, stderr).toBe(0);
  expect(hits).toEqual(['GET /a?q=1']);
  const { verdict, status: code } = await replayed(result.runId);
  expect(verdict).toMatchObject({ verdict: 'exact', divergences: [], steps: { asked: 1, exact: 1, like: 0 } });
  expect(code).toBe(0);
  const events = site.cordon('audit', 'show', '--run', verdict.replay, '--json').stdout;
  expect(events).toContain('"replayOf":');
  expect(events).toContain('"llm.replayed"');
  expect(site.verify()).toEqual([]);
}, 120_000);

test('what changes from run to run does not make a question another one', async () => {
  const script = `${perl('print model("it is $ENV{NOW}")')} > model.txt`;
  const { result } = await site.start(project, `NOW=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ); export NOW; ${script}`).done;
  const { verdict } = await replayed(result.runId);
  expect(verdict.steps).toEqual({ asked: 1, exact: 0, like: 1 });
  expect(verdict.verdict).not.toBe('diverged');
}, 120_000);

test('diverged: another file, another question, with what was expected and what came', async () => {
  const script = `${perl('print model("random $ENV{R}")')} > /dev/null; echo $R > random.txt`;
  const random = 'R=$(tr -dc a-z < /dev/urandom | head -c 12); export R;';
  const { result } = await site.start(project, `${random} ${script}`).done;
  const { verdict, status } = await replayed(result.runId);
  expect(status).toBe(1);
  expect(verdict.verdict).toBe('diverged');
  const places = verdict.divergences.map(({ at, class: kind }) => `${kind}: ${at}`);
  expect(places).toContain('agent: request 1 to the model, message 1, content');
  expect(places).toContain('agent: file random.txt');
  const told = site.cordon('runs', 'replay', result.runId);
  expect(told.stdout).toContain('diverged: another tree');
  expect(told.stdout).toContain('random.txt');
}, 120_000);

test('what is not in the recording is refused, and said', async () => {
  const more = perl(`print page("http://${HOST}:${port}/$ENV{CORDON_RUN_ID}")`);
  const { result } = await site.start(project, `${more} > /dev/null`).done;
  const { verdict } = await replayed(result.runId);
  expect(verdict.divergences).toContainEqual(
    expect.objectContaining({ class: 'recording missing', at: `GET http://${HOST}:${port}/${verdict.replay}` }),
  );
}, 120_000);

test('answers of hosts belong to the body they were asked with; another one is a difference', async () => {
  const url = `http://${HOST}:${port}/jobs`;
  const same = perl(`print post("${url}", "made " . time()); print post("${url}", "second")`);
  const { result } = await site.start(project, `${same} > jobs.txt`).done;
  expect((await replayed(result.runId)).verdict).toMatchObject({ verdict: 'exact', divergences: [] });
  const other = `R=$(head -c 9 /dev/urandom | od -An -tx1 | tr -d " \\n"); export R; ${perl(`print post("${url}", $ENV{R})`)} > jobs.txt`;
  const drawn = await site.start(project, other).done;
  expect((await replayed(drawn.result.runId)).verdict).toMatchObject({
    verdict: 'tree-equal',
    divergences: [{ class: 'agent', at: `POST ${url}, body`, expected: expect.stringContaining('18 bytes') }],
  });
}, 120_000);

test('a run that heard nothing needs no recording; one that kept none says so', async () => {
  const silent = await site.start(project, 'echo same > same.txt').done;
  expect((await replayed(silent.result.runId)).verdict).toMatchObject({ verdict: 'exact' });
  const unkept = await site.start(project, perl('print model("x")'), '--no-record').done;
  const { status, stderr } = await replayed(unkept.result.runId);
  expect(status).toBe(2);
  expect(stderr).toContain('kept no recording');
}, 120_000);

test('a recording under a policy file plays under the policy of then', async () => {
  const file = join(site.root, 'other.yaml');
  writeFileSync(file, 'version: 1\nlimits: {pids: 77}\n');
  const { result } = await site.start(project, 'echo x > x.txt', '--policy', file).done;
  rmSync(file);
  expect((await replayed(result.runId)).verdict).toMatchObject({ verdict: 'exact' });
}, 120_000);

test('a policy that keeps nothing of what is said to models keeps no answers either', async () => {
  const file = join(site.root, 'quiet.yaml');
  writeFileSync(
    file,
    'version: 1\nllm_policy: {allowed_providers: [acme], models: ["m-*"], logging: {prompt_content: none}}\n',
  );
  const { result } = await site.start(project, `${perl('print model("hush")')} > said.txt`, '--policy', file).done;
  const { verdict } = await replayed(result.runId);
  expect(verdict.divergences).toContainEqual(
    expect.objectContaining({ class: 'recording missing', at: 'request 1 to the model' }),
  );
}, 120_000);

test('--policy decides again what was decided, and runs nothing', async () => {
  const { result } = await site.start(project, perl(`print page("http://${HOST}:${port}/b")`)).done;
  const strict = join(site.root, 'strict.yaml');
  writeFileSync(strict, 'version: 1\n');
  const { status, stdout } = site.cordon('runs', 'replay', result.runId, '--policy', strict);
  expect(status).toBe(1);
  expect(stdout).toContain('permit → deny');
}, 120_000);

test('when the retention is over the answers are gone, and the log and the replay say so', async () => {
  const file = join(site.root, 'short.yaml');
  const llm = 'allowed_providers: [acme], models: ["m-*"], logging: {metadata: retained_3_days}';
  writeFileSync(file, `version: 1\nllm_policy: {${llm}}\n`);
  const [old, fresh] = [
    await site.start(project, `${perl('print model("old")')} > said.txt`, '--policy', file).done,
    await site.start(project, `${perl('print model("new")')} > said.txt`, '--policy', file).done,
  ];
  const run = old.result.runId;
  expect((await replayed(run)).verdict).toMatchObject({ verdict: 'exact' });
  const database = new DatabaseSync(join(site.home, 'cordon.db'));
  const row = database.prepare('select created, keep_until from runs where id = ?').get(run);
  expect(row?.keep_until).toBe(Number(row?.created) + 3 * 86_400_000);
  // Three days pass for that run.
  database.prepare('update runs set keep_until = ? where id = ?').run(Date.now(), run);
  database.close();
  expect(site.cordon('runs', 'prune', '--dry-run').stdout).toContain(run);
  const { stdout, status } = site.cordon('runs', 'prune', '--json');
  expect([status, JSON.parse(stdout)]).toEqual([0, { dryRun: false, deleted: [run], failed: [] }]);
  const again = await replayed(run);
  expect([again.status, again.stderr]).toEqual([2, expect.stringContaining('content deleted')]);
  expect((await replayed(fresh.result.runId)).verdict).toMatchObject({ verdict: 'exact' });
  expect(site.cordon('audit', 'tail', '--no-follow', '--type', 'content.deleted').stdout).toContain('content.deleted');
  expect(site.cordon('audit', 'verify').status).toBe(0);
}, 120_000);
