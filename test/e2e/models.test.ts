import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Heard, ModelServer } from '../fakes/models/server.ts';
import { Installation, Project } from '../fakes/project.ts';

const KEY = 'sk-the-real-key-of-the-provider-99';
const SECRET = 'a-database-password-4481';
const _cordon = join(import.meta.dirname, '../../cordon');
const site = new Installation();
let upstream: ModelServer;
let project: Project;

/** What an answer waits for. */
let held: (heard: Heard) => unknown = () => {};

/** Asks with nothing but Perl's core, and prints the answer. */
const ASK = `use strict; use IO::Socket::INET;
my ($path, $body) = @ARGV;
my ($host, $port) = $ENV{OPENAI_BASE_URL} =~ m{^http://([^:/]+):(\\d+)/};
my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die $!;
printf $socket "POST %s HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer %s\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s", $path, $ENV{TOKEN} || $ENV{OPENAI_API_KEY}, length $body, $body;
undef $/; print scalar <$socket>, "\\n";
`;

beforeAll(async () => {
  const answer = { text: 'the answer is 42', usage: { input: 1000, output: 100 } };
  upstream = await new ModelServer(async (heard) => {
    await held(heard);
    return answer;
  }).start();
  project = new Project(join(site.root, 'repository'));
  project.write('ask.pl', ASK).write(
    '.cordon/policy.yaml',
    `version: 1
secrets: [{name: DB_PASSWORD, use: {env: DB_PASSWORD}}]
llm_policy: {allowed_providers: [acme], models: ["small-*"], budget: {usd: 1, requests: 3}}
`,
  );
  project.commit('first');
  for (const [name, value] of Object.entries({ ACME_KEY: KEY, DB_PASSWORD: SECRET })) {
    site.keep(name, value);
  }
  const url = `${upstream.url}/v1`;
  const models = ['--model', 'small-1=upstream-small', '--model', 'large-1', '--price', '2/8', '--max-output', '1000'];
  const add = site.cordon(
    'providers',
    'add',
    'acme',
    '--driver',
    'openai-compatible',
    '--base-url',
    url,
    '--key',
    'ACME_KEY',
    ...models,
  );
  expect(add.status, add.stderr).toBe(0);
});
afterAll(async () => {
  await upstream.close();
  site.dispose();
});

const run = (script: string, ...options: string[]) => site.start(project, script, ...options).done;
const chat = (content: string, model = 'small-1') => JSON.stringify({ model, messages: [{ role: 'user', content }] });
test('an agent asks, the provider sees its own key, the run sees neither', async () => {
  upstream.heard.length = 0;
  const { status, stderr, result } = await run(
    `perl ask.pl /v1/chat/completions '${chat('what is it? ')}'; env; grep -rs ${KEY} /proc/self/environ /run /tmp /workspace; true`,
    '--model',
    'acme/small-1',
  );
  expect(status, stderr).toBe(0);
  expect(stderr).toContain('the answer is 42');
  expect(stderr).toContain('CORDON_MODEL=small-1');
  expect(stderr).not.toContain(KEY);
  expect(upstream.heard).toMatchObject([{ model: 'upstream-small', headers: { authorization: `Bearer ${KEY}` } }]);
  expect(result.usage.models).toEqual({ requests: 1, inputTokens: 1000, outputTokens: 100, usd: 0.0028 });
  const types = site.events(result.runId).map((event) => event.type);
  expect(types).toEqual(expect.arrayContaining(['llm.request', 'llm.response', 'secret.granted']));
  expect(site.verify()).toEqual([]);
}, 60_000);

test('a secret of the run does not leave in a prompt', async () => {
  upstream.heard.length = 0;
  const { status } = await run(
    `perl ask.pl /v1/chat/completions "{\\"model\\":\\"small-1\\",\\"messages\\":[{\\"role\\":\\"user\\",\\"content\\":\\"it is $DB_PASSWORD or $(printf %s "$DB_PASSWORD" | base64)\\"}]}"`,
  );
  expect(status).toBe(0);
  const sent = upstream.heard[0]?.bytes.toString() ?? '';
  expect(sent).toContain('[secret:DB_PASSWORD]');
  expect(sent).not.toContain(SECRET);
  expect(sent).not.toContain(Buffer.from(SECRET).toString('base64').slice(0, 16));
}, 60_000);

test('another model, another token, one request too many: refused, said and recorded', async () => {
  upstream.heard.length = 0;
  const { stderr, result } = await run(
    [
      `perl ask.pl /v1/chat/completions '${chat('x', 'large-1')}'`,
      `TOKEN=cordon-run-of-another perl ask.pl /v1/chat/completions '${chat('x')}'`,
      `perl ask.pl /v1/files '{}'`,
      ...Array.from({ length: 4 }, () => `perl ask.pl /v1/chat/completions '${chat('x')}'`),
    ].join('\n'),
  );
  expect(stderr).toContain('HTTP/1.1 403');
  expect(stderr).toContain('HTTP/1.1 401');
  expect(stderr).toContain('HTTP/1.1 404');
  expect(stderr).toContain('HTTP/1.1 429');
  expect(stderr).toContain('the budget of this run is 3 requests');
  expect(upstream.heard).toHaveLength(3);
  const told = site.events(result.runId);
  expect(told.filter(({ type }) => type === 'llm.unjudged')).toHaveLength(2);
  expect(told.filter(({ type }) => type === 'llm.response').map(({ outcome }) => outcome.result)).toEqual([
    'denied',
    'completed',
    'completed',
    'completed',
    'budget',
  ]);
  expect(site.verify()).toEqual([]);
}, 60_000);

/** Asks for an upgrade, and resets the connection: before the answer is there, or with the answer unread. */
const RESET = `use strict; use IO::Socket::INET;
my ($host, $port) = $ENV{OPENAI_BASE_URL} =~ m{^http://([^:/]+):(\\d+)/};
for my $wait (0, 1) {
  my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die $!;
  setsockopt($socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)) or die $!;
  syswrite $socket, "GET /v1/responses HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n";
  if ($wait) { my $bits = ''; vec($bits, fileno($socket), 1) = 1; select($bits, undef, undef, undef); }
  close $socket;
}
`;

test('a program that asks for an upgrade and resets the connection ends nothing but that', async () => {
  const upgrades = new Project(join(site.root, 'upgrades'));
  const policy = 'version: 1\nllm_policy: {allowed_providers: [acme], models: ["small-*"]}\n';
  upgrades.write('ask.pl', ASK).write('reset.pl', RESET).write('.cordon/policy.yaml', policy).commit('first');
  const script = `perl reset.pl && perl ask.pl /v1/chat/completions '${chat('still there?')}'`;
  const { status, stderr } = await site.start(upgrades, script).done;
  expect(status, stderr).toBe(0);
  expect(stderr).toContain('the answer is 42');
});

test('a budget that runs share holds across them', async () => {
  const policy = join(site.root, 'shared.yaml');
  const budgets = '[{scope: requester, period: month, requests: 2}]';
  writeFileSync(
    policy,
    `version: 1\nllm_policy: {allowed_providers: [acme], models: ["small-*"], budgets: ${budgets}}\n`,
  );
  const ask = `perl ask.pl /v1/chat/completions '${chat('x')}'`;
  const first = await run(ask, '--policy', policy);
  expect(first.stderr).toContain('HTTP/1.1 200');
  const second = await run(`${ask}; ${ask}`, '--policy', policy);
  expect(second.stderr.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 429']);
  expect(second.stderr).toMatch(/the budget of user:\S+ for this month is 2 requests/);
}, 60_000);

test('two processes at once never spend more of it than there is, and each is told when it is used up', async () => {
  const policy = join(site.root, 'at-once.yaml');
  const budgets = '[{scope: organisation, period: month, usd: 0.1}]'; // an answer may cost $0.0080 and its prompt, and costs $0.0028
  const llm = `{allowed_providers: [acme], models: ["small-*"], max_request: 2kb, budgets: ${budgets}}`;
  writeFileSync(policy, `version: 1\nllm_policy: ${llm}\n`);
  upstream.heard.length = 0;
  // Each asks until nothing of a wave is answered, and so ends with a refusal. Nobody is answered before both have asked: what the one
  // has reserved is there for the other to run into.
  const asked = { one: Promise.withResolvers<void>(), two: Promise.withResolvers<void>() };
  held = ({ bytes }) => {
    asked[String(bytes).includes('from one') ? 'one' : 'two'].resolve();
    return Promise.all([asked.one.promise, asked.two.promise]);
  };
  const ask = (who: string) => `perl ask.pl /v1/chat/completions '${chat(`from ${who}`)}' > /tmp/$i &`;
  const script = (who: string) =>
    `while :; do for i in 1 2 3 4 5 6 7 8; do ${ask(who)} done; wait; cat /tmp/?; grep -q '^HTTP/1.1 200' /tmp/? || break; done`;
  const runs = await Promise.all([run(script('one'), '--policy', policy), run(script('two'), '--policy', policy)]);
  held = () => {};
  const told = runs.map(({ stderr }) => stderr);
  const answers = told.map((text) => text.match(/HTTP\/1.1 \d+/g) ?? []);
  for (const lines of answers) expect([lines.length % 8, lines.length > 0]).toEqual([0, true]);
  expect(new Set(answers.flat())).toEqual(new Set(['HTTP/1.1 200', 'HTTP/1.1 429']));
  const answered = answers.flat().filter((line) => line.endsWith(' 200')).length;
  expect(answered).toBe(upstream.heard.length);
  // While no more is reserved than used, there is room for 35; the last ones do not fit as long as the dearest answer does not.
  expect(answered).toBeLessThanOrEqual(35);
  expect(answered).toBeGreaterThan(20);
  for (const text of told) {
    expect(text).toContain('the budget of the organisation for this month is $0.10');
    expect(text).toContain('note: a language model was asked for more than there is');
    expect(text).toContain('wait for the next month (of UTC)');
  }
  expect(site.verify()).toEqual([]);
}, 120_000);

test('providers are listed, tested, and never show a key', async () => {
  const list = site.cordon('providers', 'list');
  expect(list.stdout).toContain('acme/small-1');
  expect(list.stdout).toContain('ACME_KEY');
  const tried = await site.type('providers', 'test', 'acme').done;
  expect(tried.status, tried.stderr).toBe(0);
  expect(tried.stdout).toContain('ok acme/small-1 answered in');
  const failing = await new ModelServer([{ error: { status: 401, message: `wrong key: ${KEY}` } }]).start();
  const url = `${failing.url}/v1`;
  site.cordon(
    'providers',
    'add',
    'broken',
    '--driver',
    'openai-compatible',
    '--base-url',
    url,
    '--key',
    'ACME_KEY',
    '--model',
    'm',
  );
  const refused = await site.type('providers', 'test', 'broken').done;
  await failing.close();
  expect(refused.status).toBe(7);
  expect(refused.stdout).toContain('wrong key: [secret:ACME_KEY]');
}, 60_000);

test('a model that is not set up, or whose provider the policy does not name, ends before anything starts', () => {
  const asked = (model: string) => site.cordon('run', '-w', project.dir, '--model', model, 'do it');
  expect(asked('amce/small-1')).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/no provider amce.*\n.*acme\/small-1\?/),
  });
  expect(asked('acme/smoll-1')).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/acme has no model smoll-1/),
  });
  const add = ['x', '--driver', 'openai', '--key', 'ACME_KEY', '--model', 'm'];
  expect(site.cordon('providers', 'add', ...add).status).toBe(0);
  expect(asked('x/m')).toMatchObject({ status: 3, stderr: expect.stringContaining('does not name the provider x') });
  expect(asked('x/m').stdout).toBe('');
  // A command may know the name otherwise.
  expect(site.run(project, 'echo $CORDON_MODEL >&2', '--model', 'x/m')).toMatchObject({
    status: 0,
    stderr: expect.stringMatching(/note: --model: the policy does not name the provider x[\s\S]*│ m$/m),
  });
}, 60_000);

test('a provider that cannot be is refused, and nothing is changed', () => {
  const before = site.cordon('providers', 'list').stdout;
  for (const wrong of [
    ['x', '--driver', 'opanai', '--model', 'm'],
    ['x', '--driver', 'openai', '--model', 'm'],
    ['x', '--driver', 'openai-compatible', '--base-url', '127.0.0.1:11434', '--model', 'm'],
    ['x', '--driver', 'openai-compatible', '--base-url', 'http://acme.example/v1', '--key', 'K', '--model', 'm'],
    ['x', '--driver', 'gemini', '--key', 'sk-a-real-key', '--model', 'm'],
    ['x', '--driver', 'gemini', '--key', 'K', '--model', 'm', '--price', '3'],
  ]) {
    const { status, stderr } = site.cordon('providers', 'add', ...wrong);
    expect(status, stderr).toBe(2);
    expect(stderr).not.toContain('providers.yaml'); // nothing is wrong with what lies there
  }
  expect(site.cordon('providers', 'list').stdout).toBe(before);
}, 60_000);
